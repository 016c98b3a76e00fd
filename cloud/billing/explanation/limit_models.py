"""What the API says of a minimum or a cap, and of how charges of a bill share it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloud.billing.explanation.shared_limits import SharedLimitTold
from cloud.kit.amounts import MoneyOut
from cloud.tariffs.model.tariff import Limit


class LimitTermOut(BaseModel):
    """What a tariff version says of a limit, for so many days of the bill."""

    amount: MoneyOut
    days: int


class SharedLimitOut(BaseModel):
    """Sum of amount × days of `terms` ÷ days = amount, of `charges` together.

    Of a minimum the last charge bears max(amount − before − its cost, 0). Of a cap each bears
    min(amount − before − its cost, 0) − min(amount − before, 0), its cost with what the minimum adds.
    """

    amount: MoneyOut
    terms: list[LimitTermOut]
    days: int
    before: Annotated[MoneyOut, Field(description="What earlier ones of `charges` cost, before cap and taxes.")]
    last: bool
    charges: list[int]

    @classmethod
    def of(cls, limit: SharedLimitTold, currency: str) -> "SharedLimitOut":
        """From our records."""
        return cls(
            amount=MoneyOut.of(limit.amount, currency),
            terms=[LimitTermOut(amount=MoneyOut.of(one.amount, currency), days=one.days) for one in limit.terms],
            days=limit.days,
            before=MoneyOut.of(limit.before, currency),
            last=limit.last,
            charges=list(limit.charges),
        )


class LimitOut(BaseModel):
    """A least or highest amount before taxes."""

    amount: MoneyOut
    per: Literal["bill", "day", "month"]
    shared: Annotated[
        SharedLimitOut | None, Field(description="Where one limit is of several charges of the bill together.")
    ]

    @classmethod
    def of(cls, limit: Limit | None, shared: SharedLimitTold | None, currency: str) -> "LimitOut | None":
        """From our records."""
        if limit is None:
            return None
        return cls(
            amount=MoneyOut.of(limit.amount, currency),
            per=limit.per,
            shared=None if shared is None else SharedLimitOut.of(shared, currency),
        )
