"""What the API of the refund queue takes and gives."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Input, ListQuery
from cloud.payments.refunds import Refund, RefundDecision, RefundReason, RefundState


class RefundQuery(ListQuery):
    """Which refunds are wanted."""

    state: RefundState | None = None


class RefundDecisionIn(Input):
    """What becomes of money that came beyond what was due, and why."""

    decision: RefundDecision
    note: Annotated[str, Field(min_length=1, max_length=1000, examples=["Paid twice; given back"])]
    method: Annotated[
        str | None,
        Field(max_length=32, examples=["cash"], description="How it goes out; null: the provider gives it back."),
    ] = None


class RefundOut(BaseModel):
    """Part of a payment that is to go back, or was given back or kept."""

    id: int
    project_id: int
    payment_id: int
    paid_by: str
    amount: MoneyOut
    reason: RefundReason
    subject: Annotated[str, Field(description="What had been paid for: a plate.")]
    state: RefundState
    method: str | None
    provider_id: str | None
    failure: str | None
    note: str
    decided_at: datetime | None
    done_on: date | None
    created_at: datetime

    @classmethod
    def of(cls, one: Refund) -> "RefundOut":
        """From our record."""
        names = cls.model_fields.keys() - {"amount"}
        return cls(amount=MoneyOut.of(one.amount, one.currency), **{name: getattr(one, name) for name in names})
