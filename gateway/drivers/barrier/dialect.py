"""The generic JSON dialect: what a barrier with a plate camera says over MQTT, and what it is told.

The device publishes JSON objects under `<prefix>/<sn>/event`, told apart by `type`; times are Unix milliseconds:

- `{"type": "recognised", "id", "plate", "score", "class", "taken_at", "image", "picture", "offline"}`: a vehicle
  stands at the barrier. `score` in 1/1000, `class` is `small`, `large` or `new-energy`, `image` names a picture that
  is kept elsewhere, `picture` is a JPEG in base64; `offline` marks what happened while the device was cut off and is
  told afterwards: such an event never opens anything.
- `{"type": "passed", "id", "taken_at", "offline"}`: the loop behind the barrier saw the vehicle go through.
- `{"type": "turned_back", "id", "taken_at", "offline"}`: it left the way it had come.
- `{"type": "keep_alive", "taken_at"}`

`id` is the recognition's own. Whoever tells a recognition again, while the vehicle stands there or after he was cut
off, tells it with the `id` and the `taken_at` of the first time, and it is the same passage. In `passed` and
`turned_back` it may be empty when the device cannot tell.
The gateway publishes `{"type": "open" | "close", "id", "expires_at"}` under `<prefix>/<sn>/command`; the device
carries it out once, not after `expires_at`, and answers `{"id", "code", "detail"}` under `<prefix>/<sn>/reply`,
code 0 meaning done. Unknown fields are ignored.
Under `<prefix>/<sn>/show` it publishes `{"id", "plate", "ticket", "amount", "currency", "minutes", "since", "text",
"until"}` for whoever shows the driver what he has to pay; nobody answers, and what is not known is left out.

A recognition that breaks these rules is still a vehicle before a barrier: what can be used of it is used.
"""

import hashlib
from typing import Final, NamedTuple, TypeVar

import msgspec

from gateway.contract.messages import Code
from gateway.drivers.barrier.events import (
    CannotSay,
    Due,
    Event,
    Heard,
    Listing,
    MalformedMessage,
    Order,
    Recognised,
    Reply,
    Telegram,
)

T = TypeVar("T")

_MAX_BYTES: Final = 1 << 20
_USUAL_CLASS: Final = "small"


class Topics(NamedTuple):
    """Topics of one device."""

    event: str
    command: str
    reply: str
    show: str


class _Any(msgspec.Struct, frozen=True):
    """Of a message that breaks its dialect, whatever there is."""

    type: str = ""
    id: object = None
    plate: object = None
    vehicle_class: object = msgspec.field(default=None, name="class")
    offline: object = None
    taken_at: object = None


_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_any = msgspec.json.Decoder(_Any)
_reply = msgspec.json.Decoder(Reply)
_order = msgspec.json.Decoder(Order)
_due = msgspec.json.Decoder(Due)


def topics_of(prefix: str, sn: str) -> Topics:
    """The topics of the device with serial number `sn`."""
    return Topics(f"{prefix}/{sn}/event", f"{prefix}/{sn}/command", f"{prefix}/{sn}/reply", f"{prefix}/{sn}/show")


class GenericDialect:
    """One device that speaks it."""

    max_bytes = _MAX_BYTES
    queues_orders = True
    """An order carries its expiry: one that waits in a broker opens nothing later."""
    sends_pictures_later = False
    shows_due = True

    def __init__(self, prefix: str, sn: str) -> None:
        self._topics = topics_of(prefix, sn)

    @property
    def listens(self) -> tuple[str, ...]:
        """Topics of the device."""
        return (self._topics.event, self._topics.reply)

    def decode(self, topic: str, payload: bytes) -> Heard | None:
        """One message of the device. Raises MalformedMessage."""
        return decode_event(payload) if topic == self._topics.event else decode_reply(payload)

    def encode(self, order: Order | Listing | Due) -> Telegram:
        """How to tell the device. Raises CannotSay for a list: such a device has none."""
        if isinstance(order, Due):
            return Telegram(self._topics.show, encode(order), 1)
        if isinstance(order, Listing):
            raise CannotSay("this device keeps no list of plates")
        return Telegram(self._topics.command, encode(order), 1)

    def another_way(self, reply: Reply) -> bool:
        """There is only one."""
        del reply
        return False


def decode_event(payload: bytes) -> Event:
    """Raises MalformedMessage."""
    try:
        return _decode(_event, payload)
    except MalformedMessage:
        salvaged = _salvaged(payload)
        if salvaged is None:
            raise
        return salvaged


def _salvaged(payload: bytes) -> Recognised | None:
    """A vehicle of which not everything can be used; None when the message tells of none."""
    try:
        found = _decode(_any, payload.decode("utf-8", "replace").encode())
    except MalformedMessage:
        return None
    if found.type != "recognised":
        return None
    usable_id = isinstance(found.id, str) and 0 < len(found.id) <= 64
    return Recognised(
        id=str(found.id) if usable_id else hashlib.sha256(payload).hexdigest(),
        plate=found.plate if isinstance(found.plate, str) else "",
        taken_at=found.taken_at if isinstance(found.taken_at, int) else 0,
        vehicle_class=_class_of(found.vehicle_class),
        offline=found.offline is True,
    )


def _class_of(value: object) -> str:
    try:
        return msgspec.convert(value, Code)
    except msgspec.ValidationError:
        return _USUAL_CLASS


def decode_reply(payload: bytes) -> Reply:
    """Raises MalformedMessage."""
    return _decode(_reply, payload)


def decode_order(payload: bytes) -> Order:
    """The device's side, for simulators. Raises MalformedMessage."""
    return _decode(_order, payload)


def decode_due(payload: bytes) -> Due:
    """The display's side, for simulators. Raises MalformedMessage."""
    return _decode(_due, payload)


def encode(message: Event | Reply | Order | Due) -> bytes:
    """JSON of a message, either way."""
    return msgspec.json.encode(message)


def _decode(decoder: "msgspec.json.Decoder[T]", payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(str(error)) from error
