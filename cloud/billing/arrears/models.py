"""What the API of disputes, waivers and instalment plans takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from cloud.billing.arrears.plans import Monthly, Parts
from cloud.billing.arrears.rules import AskedState, Dispute, DisputeState, Plan, PlanState, Waiver
from cloud.billing.terms.models import Amount
from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input, ListQuery

Reason = Annotated[str, Field(min_length=1, max_length=1000, examples=["the reading is not ours"])]
Note = Annotated[str, Field(max_length=1000)]


def decimal(amount: str | None) -> Decimal | None:
    """An amount that may be missing."""
    return None if amount is None else Decimal(amount)


class DecisionIn(Input):
    """What was asked for is approved, or rejected with a note that says why."""

    decision: Literal["approve", "reject"]
    note: Note = ""


class DisputeQuery(ListQuery):
    """Which disputes are wanted."""

    bill_id: Id | None = None
    state: DisputeState | None = None


class DisputeIn(Input):
    """What is wrong with the bill. Without `amount` all of it is disputed."""

    reason: Reason
    amount: Amount | None = None


class DisputeDecisionIn(Input):
    """Whether the bill was wrong, and by how much (without `amount`: by all that is disputed)."""

    decision: Literal["upheld", "rejected"]
    note: Annotated[str, Field(min_length=1, max_length=1000, examples=["the meter was read on the wrong floor"])]
    amount: Amount | None = None


class DisputeOut(BaseModel):
    """A dispute. `amount` null: all of the bill; `upheld` waits until credit notes have taken all of it off.

    `credited` is what they have so far; `credited_on` the day on which nothing was left.
    """

    id: int
    project_id: int
    bill_id: int
    account_id: int
    amount: MoneyOut | None
    reason: str
    state: DisputeState
    opened_on: date
    by_resident: bool
    closed_on: date | None
    note: str
    upheld: MoneyOut | None
    credited: MoneyOut
    credited_on: date | None

    @classmethod
    def of(cls, one: Dispute) -> "DisputeOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            bill_id=one.bill_id,
            account_id=one.account_id,
            amount=None if one.amount is None else MoneyOut.of(one.amount, one.currency),
            reason=one.reason,
            state=one.state,
            opened_on=one.opened_on,
            by_resident=one.by_resident,
            closed_on=one.closed_on,
            note=one.note,
            upheld=None if one.upheld is None else MoneyOut.of(one.upheld, one.currency),
            credited=MoneyOut.of(one.credited, one.currency),
            credited_on=one.credited_on,
        )


class WaiverQuery(ListQuery):
    """Which waivers are wanted."""

    bill_id: Id | None = None
    state: AskedState | None = None


class WaiverIn(Input):
    """How much of the late fee is not to be collected, and why."""

    amount: Amount
    reason: Reason


class WaiverOut(BaseModel):
    """A waiver of a late fee, who asked and who decided."""

    id: int
    project_id: int
    bill_id: int
    account_id: int
    amount: MoneyOut
    returned: Annotated[MoneyOut, Field(description="The part of it that is paid, and given back as prepaid balance.")]
    reason: str
    state: AskedState
    asked_by: int | None
    asked_at: datetime
    decided_by: int | None
    decided_at: datetime | None
    note: str

    @classmethod
    def of(cls, one: Waiver) -> "WaiverOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            bill_id=one.bill_id,
            account_id=one.account_id,
            amount=MoneyOut.of(one.amount, one.currency),
            returned=MoneyOut.of(one.returned, one.currency),
            reason=one.reason,
            state=one.state,
            asked_by=one.asked_by,
            asked_at=one.asked_at,
            decided_by=one.decided_by,
            decided_at=one.decided_at,
            note=one.note,
        )


class PlanQuery(ListQuery):
    """Which plans are wanted."""

    account_id: Id | None = None
    state: PlanState | None = None


class InstalmentIn(Input):
    """A part and its day."""

    due_on: Day
    amount: Amount


class MonthlyIn(Input):
    """Equal parts, one a month; what does not divide goes to the first ones."""

    first: Day
    count: Annotated[int, Field(ge=1, le=60, examples=[6])]


class PlanIn(Input):
    """Bills of an account to be paid in parts: equal ones by month, or by dates and amounts that add up exactly."""

    account_id: Id
    bill_ids: Annotated[list[Id], Field(min_length=1, max_length=100)]
    reason: Reason
    monthly: MonthlyIn | None = None
    instalments: Annotated[
        list[InstalmentIn] | None,
        Field(min_length=1, max_length=60, description="Instead of `monthly`.", examples=[None]),
    ] = None

    @model_validator(mode="after")
    def _one_way(self) -> "PlanIn":
        if (self.monthly is None) == (self.instalments is None):
            raise ValueError("expected either monthly or instalments")
        return self

    def parts(self) -> Parts:
        """The same as the services know it."""
        if self.monthly is not None:
            return Monthly(self.monthly.first, self.monthly.count)
        return [(one.due_on, Decimal(one.amount)) for one in self.instalments or []]


class CancellationIn(Input):
    """Why a plan ends."""

    note: Annotated[str, Field(min_length=1, max_length=1000, examples=["paid in full by another way"])]


class InstalmentOut(BaseModel):
    """A part of a plan and what is paid of it."""

    number: int
    due_on: date
    amount: MoneyOut
    paid: MoneyOut
    settled_on: date | None


class PlanBillOut(BaseModel):
    """A bill of a plan and what was open of it when the plan was made."""

    bill_id: int
    number: str
    principal: MoneyOut


class PlanOut(BaseModel):
    """An instalment plan: `active` while it is kept; no late fee accrues meanwhile."""

    id: int
    project_id: int
    account_id: int
    state: PlanState
    reason: str
    total: MoneyOut
    paid: MoneyOut
    late_days: int
    on_break: str
    starts_on: date | None
    ended_on: date | None
    reinstated_on: Annotated[date | None, Field(description="It was broken, and holds again since.")]
    asked_by: int | None
    decided_by: int | None
    note: str
    bills: list[PlanBillOut]
    instalments: list[InstalmentOut]

    @classmethod
    def of(cls, plan: Plan) -> "PlanOut":
        """From our records."""
        currency = plan.currency
        return cls(
            id=plan.id,
            project_id=plan.project_id,
            account_id=plan.account_id,
            state=plan.state,
            reason=plan.reason,
            total=MoneyOut.of(plan.total, currency),
            paid=MoneyOut.of(plan.paid_total, currency),
            late_days=plan.late_days,
            on_break=plan.on_break,
            starts_on=plan.starts_on,
            ended_on=plan.ended_on,
            reinstated_on=plan.reinstated_on,
            asked_by=plan.asked_by,
            decided_by=plan.decided_by,
            note=plan.note,
            bills=[
                PlanBillOut(bill_id=one.bill_id, number=one.number, principal=MoneyOut.of(one.principal, currency))
                for one in plan.bills
            ],
            instalments=[
                InstalmentOut(
                    number=one.instalment.number,
                    due_on=one.instalment.due_on,
                    amount=MoneyOut.of(one.instalment.amount, currency),
                    paid=MoneyOut.of(one.paid, currency),
                    settled_on=one.settled_on,
                )
                for one in plan.progress
            ],
        )
