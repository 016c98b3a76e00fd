"""The generic JSON dialect: what a barrier with a plate camera says over MQTT, and what it is told.

The device publishes JSON objects under `<prefix>/<sn>/event`, told apart by `type`; times are Unix milliseconds:

- `{"type": "recognised", "id", "plate", "score", "class", "taken_at", "image", "offline"}`: a vehicle stands at
  the barrier. `score` in 1/1000, `class` is `small`, `large` or `new-energy`; `offline` marks what happened while
  the device was cut off and is told afterwards: such an event never opens anything.
- `{"type": "passed", "id", "taken_at", "offline"}`: the loop behind the barrier saw the vehicle go through.
- `{"type": "turned_back", "id", "taken_at", "offline"}`: it left the way it had come.
- `{"type": "keep_alive", "taken_at"}`

`id` is the recognition's own. Whoever tells a recognition again, while the vehicle stands there or after he was cut
off, tells it with the `id` and the `taken_at` of the first time, and it is the same passage. In `passed` and
`turned_back` it may be empty when the device cannot tell.
The gateway publishes `{"type": "open" | "close", "id", "expires_at"}` under `<prefix>/<sn>/command`; the device
carries it out once, not after `expires_at`, and answers `{"id", "code", "detail"}` under `<prefix>/<sn>/reply`,
code 0 meaning done. Unknown fields are ignored.
"""

from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from gateway.contract.messages import Code, Plate, Text, TimeMs
from gateway.errors import GatewayError

T = TypeVar("T")
EventId = Annotated[str, Meta(max_length=64)]


class MalformedMessage(GatewayError):
    """A message of a barrier that breaks its dialect. Counted, never acted upon."""


class Recognised(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="recognised"):
    """A vehicle stands before the barrier."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    plate: Plate
    taken_at: TimeMs
    score: Annotated[int, Meta(ge=0, le=1000)] = 0
    vehicle_class: Code = msgspec.field(default="small", name="class")
    image: Text = ""
    offline: bool = False


class Passed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="passed"):
    """The loop behind the barrier saw a vehicle go through."""

    taken_at: TimeMs
    id: EventId = ""
    offline: bool = False


class TurnedBack(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="turned_back"):
    """The vehicle left without passing."""

    taken_at: TimeMs
    id: EventId = ""
    offline: bool = False


class KeepAlive(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="keep_alive"):
    """The device lives."""

    taken_at: TimeMs


Event = Recognised | Passed | TurnedBack | KeepAlive


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a command; code 0 is done."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    code: int
    detail: Text = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a barrier is told."""

    type: Literal["open", "close"]
    id: str
    expires_at: int


class Topics(NamedTuple):
    """Topics of one device."""

    event: str
    command: str
    reply: str


_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_reply = msgspec.json.Decoder(Reply)
_order = msgspec.json.Decoder(Order)


def topics_of(prefix: str, sn: str) -> Topics:
    """The three topics of the device with serial number `sn`."""
    return Topics(f"{prefix}/{sn}/event", f"{prefix}/{sn}/command", f"{prefix}/{sn}/reply")


def decode_event(payload: bytes) -> Event:
    """Raises MalformedMessage."""
    return _decode(_event, payload)


def decode_reply(payload: bytes) -> Reply:
    """Raises MalformedMessage."""
    return _decode(_reply, payload)


def decode_order(payload: bytes) -> Order:
    """The device's side, for simulators. Raises MalformedMessage."""
    return _decode(_order, payload)


def encode(message: Event | Reply | Order) -> bytes:
    """JSON of a message, either way."""
    return msgspec.json.encode(message)


def _decode(decoder: "msgspec.json.Decoder[T]", payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(str(error)) from error
