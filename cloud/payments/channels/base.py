"""What every provider can do for us: take an order, say what became of it, close it, refund it, tell us by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Protocol

from cloud.kit.errors import Conflict, InvalidInput, Unavailable

ChannelName = Literal["wechat", "alipay"]
Mode = Literal["code", "phone"]
"""How somebody pays: he scans a code that we show, or the browser of his phone opens the provider's app."""
Trade = Literal["waiting", "paid", "closed", "unknown"]
"""What a provider says of an order; unknown: it has none."""
MoveKind = Literal["payment", "refund"]


class ProviderUnavailable(Unavailable):
    """A provider did not answer, or not as it should: try again later."""

    title = "The provider does not answer"


class ProviderRefused(Conflict):
    """A provider refuses what it was asked; asking again does not help."""

    title = "The provider refuses"


class BadCallback(InvalidInput):
    """What came is not from the provider, or not for us."""

    title = "Not a callback of the provider"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be paid. `reference` is ours and unique; the amount is in units of the currency."""

    reference: str
    description: str
    amount: Decimal
    currency: str
    expires_at: datetime
    mode: Mode = "code"
    payer_ip: str | None = None


@dataclass(frozen=True, slots=True)
class Paid:
    """Money that a provider says was paid. `provider_id` is its number for it."""

    reference: str
    provider_id: str
    amount: Decimal
    currency: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """What a provider says of an order; `paid` where it is paid."""

    trade: Trade
    paid: Paid | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """What a provider told us. `event_id` is the same when it tells it again; `paid` None: nothing to book."""

    event_id: str
    paid: Paid | None


@dataclass(frozen=True, slots=True)
class Move:
    """A line of a provider's statement of a day: money that it took, or gave back.

    `reference`: of our order. `refund_reference`: ours of the refund, empty for a payment. `failed`: a refund that did
    not reach the payer.
    """

    kind: MoveKind
    reference: str
    provider_id: str
    refund_reference: str
    amount: Decimal
    currency: str
    at: datetime
    failed: bool = False


class Channel(Protocol):
    """A provider. Calls raise ProviderUnavailable (try again) or ProviderRefused (never)."""

    name: ChannelName

    async def place(self, order: Order) -> str:
        """Makes the order, or the same again, and returns what the code says or where a phone goes."""

    async def query(self, reference: str) -> Seen:
        """What became of an order."""

    async def close(self, reference: str) -> None:
        """Nobody can pay the order any more; an order that is unknown or closed already is no error."""

    async def refund(self, paid: Paid, refund_reference: str, amount: Decimal, reason: str) -> str:
        """Gives money back and returns the provider's number for it. The same reference is refunded once."""

    async def statement(self, day: date) -> tuple[Move, ...] | None:
        """What moved on a day of Shanghai that is over; None: the provider has no statement of it, or none yet."""

    def read_callback(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        """Verifies what came. Raises BadCallback."""

    def callback_answer(self) -> tuple[str, str]:
        """Text and media type that tell the provider that we have it."""
