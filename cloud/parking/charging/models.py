"""What the API of quotes and payments takes and gives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Id, Input
from cloud.parking.fees.models import Amount
from cloud.parking.fees.steps import step_as_json
from cloud.parking.records import CoverKind, Debt, Paid, Quote
from cloud.parking.stays.models import StepOut


class MoneyIn(Input):
    """An amount as a string, and its currency."""

    amount: Annotated[Amount, Field(examples=["8.00"])]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])]


class DebtOut(BaseModel):
    """A stay that is over and was not paid: `due` is what is left of its fee."""

    session_id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    entered_at: datetime
    left_at: datetime
    fee: MoneyOut
    paid: MoneyOut
    waived: MoneyOut
    due: MoneyOut

    @classmethod
    def of(cls, debt: Debt) -> "DebtOut":
        """From our record."""
        amounts = {name: MoneyOut.of(getattr(debt, name), debt.currency) for name in ("fee", "paid", "waived", "due")}
        plain = cls.model_fields.keys() - amounts.keys()
        return cls(**amounts, **{name: getattr(debt, name) for name in plain})


class CoverOut(BaseModel):
    """What covers time of a stay; `id` is null for another lot, whose stay prices that time."""

    kind: CoverKind
    id: Annotated[int | None, Field(description="Of the permit, the visitor pass, the entry of the white list.")]


class QuoteOut(BaseModel):
    """What a stay costs when it ends at `until`: `due` is `fee` less `paid`."""

    session_id: int
    until: datetime
    fee: MoneyOut
    paid: MoneyOut
    due: MoneyOut
    waived: MoneyOut
    leave_by: datetime | None
    steps: list[StepOut]
    covered_by: Annotated[list[CoverOut], Field(description="Why it costs nothing, or less; in order of time.")]
    debts: Annotated[list[DebtOut], Field(description="Earlier stays of the plate that are unpaid, oldest first.")]
    total: Annotated[MoneyOut, Field(description="What is due for this stay and the earlier ones.")]
    collected: Annotated[bool, Field(description="The vehicle is let out by itself only once the debts are paid.")]

    @classmethod
    def of(cls, quote: Quote) -> "QuoteOut":
        """From our record."""
        return cls(
            session_id=quote.session_id,
            until=quote.until,
            fee=MoneyOut.of(quote.fee, quote.currency),
            paid=MoneyOut.of(quote.paid, quote.currency),
            due=MoneyOut.of(quote.due, quote.currency),
            waived=MoneyOut.of(quote.waived, quote.currency),
            leave_by=quote.leave_by,
            debts=[DebtOut.of(debt) for debt in quote.debts],
            total=MoneyOut.of(quote.total, quote.currency),
            collected=quote.collected,
            covered_by=[CoverOut(kind=one.kind, id=one.id) for one in quote.covered_by],
            steps=[StepOut.model_validate(step_as_json(step)) for step in quote.steps],
        )


class ParkingPaymentIn(Input):
    """A payment of exactly what the session's quote says is due: for the stay, or (`total`) with the debts."""

    session_id: Id
    amount: MoneyIn
    method: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9-]*$", examples=["cash"])]
    reference: Annotated[str, Field(max_length=100, description="Number at the payment provider.")] = ""


class ParkingPaymentOut(BaseModel):
    """A payment taken. `command_id`: the order that lets the waiting vehicle out."""

    id: int
    session_id: int
    amount: MoneyOut
    paid_until: datetime
    command_id: UUID | None

    @classmethod
    def of(cls, paid: Paid) -> "ParkingPaymentOut":
        """From our record."""
        return cls(
            id=paid.payment_id,
            session_id=paid.session_id,
            amount=MoneyOut.of(paid.amount, paid.currency),
            paid_until=paid.paid_until,
            command_id=paid.command_id,
        )
