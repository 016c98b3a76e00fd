"""What the API of deposits and releases takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.payments.deposits import Deposit
from cloud.payments.models import PaidAmount, PaymentQuery
from cloud.payments.releases import Action, Release, ReleaseState, Wanted


class DepositIn(Input):
    """A deposit that was taken, and for what."""

    account_id: Id
    amount: PaidAmount
    method: Annotated[str, Field(max_length=32, examples=["cash", "transfer"])]
    taken_on: Day
    subject: Annotated[str, Field(min_length=1, max_length=200, examples=["Decoration works"])]
    reference: Annotated[str, Field(max_length=200)] = ""


class DepositOut(BaseModel):
    """A deposit; `held` is what is left of it."""

    id: int
    project_id: int
    account_id: int
    payment_id: int
    method: str
    subject: str
    amount: MoneyOut
    held: MoneyOut
    taken_on: date

    @classmethod
    def of(cls, deposit: Deposit) -> "DepositOut":
        """From our records."""
        return cls(
            id=deposit.id,
            project_id=deposit.project_id,
            account_id=deposit.account_id,
            payment_id=deposit.payment_id,
            method=deposit.method,
            subject=deposit.subject,
            amount=MoneyOut.of(deposit.amount, deposit.currency),
            held=MoneyOut.of(deposit.held, deposit.currency),
            taken_on=deposit.taken_on,
        )


class DepositQuery(PaymentQuery):
    """Which deposits are wanted."""


class ReleaseQuery(ListQuery):
    """Which releases are wanted."""

    account_id: Id | None = None
    state: ReleaseState | None = None


class ReleaseIn(Input):
    """Held money that is to leave: a refund (with `method`), or a deposit that pays bills (without)."""

    account_id: Id
    deposit_id: Annotated[Id | None, Field(description="Null: of the prepaid balance.")] = None
    amount: PaidAmount
    method: Annotated[str | None, Field(max_length=32, examples=["transfer"])] = None
    reason: Annotated[str, Field(min_length=1, max_length=1000, examples=["The works are done"])]

    def wanted(self) -> Wanted:
        """The same as the services know it."""
        return Wanted(Decimal(self.amount), self.reason, self.method, self.deposit_id)


class ReleaseDecisionIn(Input):
    """Approved, or rejected with a note that says why."""

    decision: Literal["approve", "reject"]
    note: Annotated[str, Field(max_length=1000)] = ""


class ReleaseOut(BaseModel):
    """A release of held money, who asked and who decided."""

    id: int
    project_id: int
    account_id: int
    deposit_id: int | None
    action: Action
    amount: MoneyOut
    method: str | None
    reason: str
    state: ReleaseState
    asked_by: int | None
    asked_at: datetime
    decided_by: int | None
    decided_at: datetime | None
    done_on: date | None
    set_off_id: int | None
    note: str

    @classmethod
    def of(cls, release: Release) -> "ReleaseOut":
        """From our records."""
        return cls(
            id=release.id,
            project_id=release.project_id,
            account_id=release.account_id,
            deposit_id=release.deposit_id,
            action=release.action,
            amount=MoneyOut.of(release.amount, release.currency),
            method=release.method,
            reason=release.reason,
            state=release.state,
            asked_by=release.asked_by,
            asked_at=release.asked_at,
            decided_by=release.decided_by,
            decided_at=release.decided_at,
            done_on=release.done_on,
            set_off_id=release.set_off_id,
            note=release.note,
        )
