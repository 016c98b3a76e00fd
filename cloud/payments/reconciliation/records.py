"""Statements of providers and where they disagree with our books, as records."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, get_args

from cloud.payments.channels.base import ChannelName

DifferenceKind = Literal[
    "payment-missing-there",
    "payment-differs",
    "refund-missing-there",
    "refund-missing-here",
    "refund-differs",
    "refund-failed",
]
StatementState = Literal["wanted", "kept"]
DifferenceState = Literal["open", "gone", "settled"]
DIFFERENCE_STATES: Final[tuple[DifferenceState, ...]] = get_args(DifferenceState)


@dataclass(frozen=True, slots=True)
class Statement:
    """A day of Shanghai at a provider. `moves`: lines of our orders; `others`: of orders that are not ours.

    `failure`: why it could not be read so far, while it is wanted.
    """

    id: int
    channel: ChannelName
    day: date
    state: StatementState
    looks: int
    failure: str | None
    kept_at: datetime | None
    moves: int
    others: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a provider and we disagree about money; `here` and `there` None: nothing is known of it.

    `gone`: a later statement showed that they agree. `project_id` None: nobody knows whose it is.
    """

    id: int
    project_id: int | None
    channel: ChannelName
    day: date
    kind: DifferenceKind
    reference: str
    provider_id: str
    refund_reference: str
    here: Decimal | None
    there: Decimal | None
    currency: str
    state: DifferenceState
    note: str
    found_at: datetime
