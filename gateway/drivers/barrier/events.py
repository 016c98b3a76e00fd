"""What happens at a barrier and what it is told, whatever dialect its device speaks."""

from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from gateway.contract.messages import Code, Text
from gateway.errors import GatewayError

EventId = Annotated[str, Meta(max_length=64)]
OwnId = Annotated[str, Meta(min_length=1, max_length=64)]


class MalformedMessage(GatewayError):
    """A message of a barrier that breaks its dialect. Counted, never acted upon."""


class Recognised(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="recognised"):
    """A vehicle stands before the barrier. Plate and time are as the device tells them: the lane judges them."""

    id: OwnId
    plate: str
    taken_at: int
    score: Annotated[int, Meta(ge=0, le=1000)] = 0
    vehicle_class: Code = msgspec.field(default="small", name="class")
    image: Text = ""
    picture: bytes = b""
    offline: bool = False


class Passed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="passed"):
    """The loop behind the barrier saw a vehicle go through."""

    taken_at: int
    id: EventId = ""
    offline: bool = False


class TurnedBack(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="turned_back"):
    """The vehicle left without passing."""

    taken_at: int
    id: EventId = ""
    offline: bool = False


class KeepAlive(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="keep_alive"):
    """The device lives."""

    taken_at: int


class GateMoved(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gate_moved"):
    """The boom is up, down, or nobody knows (None)."""

    taken_at: int
    is_open: bool | None = None


Event = Recognised | Passed | TurnedBack | KeepAlive | GateMoved


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a command; code 0 is done."""

    id: OwnId
    code: int
    detail: Text = ""


Heard = Event | Reply


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a barrier is told."""

    type: Literal["open", "close"]
    id: str
    expires_at: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the list by which a camera opens on its own. Times are local, as its clock shows them."""

    id: str
    expires_at: int
    plate: str
    since: str = ""
    until: str = ""
    """Empty to take the plate off the list."""


class Due(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the driver of the vehicle that stands at the lane is shown: `amount` of `currency` is to be paid."""

    id: str
    """The recognition's own."""
    amount: str
    currency: str
    until: int
    """Not to be shown after it, Unix milliseconds."""
    plate: str = ""
    ticket: str = ""
    """Of a vehicle without a plate."""
    minutes: int | None = None
    """How long it was there; None when nobody saw it come in."""
    since: str = ""
    """Local time, as a clock on the wall shows it."""
    text: str = ""


class Telegram(NamedTuple):
    """One MQTT message to a device."""

    topic: str
    payload: bytes
    qos: int


class CannotSay(GatewayError):
    """The dialect or this device has no word for an order."""


class Dialect(Protocol):
    """How one device is spoken with."""

    @property
    def max_bytes(self) -> int:
        """Largest message of the device."""

    @property
    def queues_orders(self) -> bool:
        """Whether an order may be sent to a device that is not heard: it knows by itself when it has expired."""

    @property
    def sends_pictures_later(self) -> bool:
        """Whether a picture comes with a second telling of the same recognition."""

    @property
    def shows_due(self) -> bool:
        """Whether there is a word for what is to be paid."""

    @property
    def listens(self) -> tuple[str, ...]:
        """Every topic on which the device says something."""

    def decode(self, topic: str, payload: bytes) -> Heard | None:
        """One message of the device; None for what is of no interest. Raises MalformedMessage."""

    def encode(self, order: Order | Listing | Due) -> Telegram:
        """How to tell the device. Raises CannotSay."""

    def another_way(self, reply: Reply) -> bool:
        """Whether the device said with `reply` that it does not know the word, and `encode` has another one now."""
