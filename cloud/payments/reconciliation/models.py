"""What the API of providers' statements takes and gives."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Input, ListQuery
from cloud.payments.channels.base import ChannelName
from cloud.payments.reconciliation.records import Difference, DifferenceKind, DifferenceState, Statement, StatementState


class StatementQuery(ListQuery):
    """Which statements are wanted."""

    state: StatementState | None = None
    channel: ChannelName | None = None


class StatementOut(BaseModel):
    """A day of Shanghai at a provider: whether its statement was fetched and compared."""

    id: int
    channel: ChannelName
    day: date
    state: StatementState
    kept_at: datetime | None
    moves: Annotated[int, Field(description="Payments and refunds of our orders, of all projects.")]
    others: Annotated[int, Field(description="Lines of orders that are not ours.")]
    looks: int
    failure: Annotated[str | None, Field(description="Why it could not be read so far.")]

    @classmethod
    def of(cls, one: Statement) -> "StatementOut":
        """From our record."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class DifferenceQuery(ListQuery):
    """Which differences are wanted."""

    state: DifferenceState | None = None
    channel: ChannelName | None = None


class DifferenceSettledIn(Input):
    """What was found out about a difference, or done about it."""

    note: Annotated[
        str, Field(min_length=1, max_length=1000, examples=["Refunded on the provider's page when she moved out"])
    ]


class DifferenceOut(BaseModel):
    """Where a provider and our books disagree; null: nothing is known of it `here` or `there`."""

    id: int
    project_id: int | None
    channel: ChannelName
    day: date
    kind: DifferenceKind
    reference: Annotated[str, Field(description="Of our order.")]
    provider_id: str
    refund_reference: str
    here: MoneyOut | None
    there: MoneyOut | None
    state: DifferenceState
    note: str
    found_at: datetime

    @classmethod
    def of(cls, one: Difference) -> "DifferenceOut":
        """From our record."""
        return cls(
            here=None if one.here is None else MoneyOut.of(one.here, one.currency),
            there=None if one.there is None else MoneyOut.of(one.there, one.currency),
            **{name: getattr(one, name) for name in cls.model_fields.keys() - {"here", "there"}},
        )
