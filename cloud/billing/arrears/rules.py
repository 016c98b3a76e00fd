"""What arrears consist of: disputes, waivers, instalment plans, and the rule that two people decide."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from cloud.billing.arrears.instalments import Progress, progress
from cloud.billing.records import PlanBreak, Policy
from cloud.billing.settlement.claims import Instalment
from cloud.kit.errors import Conflict, InvalidInput

DisputeState = Literal["open", "upheld", "rejected", "withdrawn"]
AskedState = Literal["asked", "approved", "rejected"]
PlanState = Literal["asked", "active", "kept", "broken", "rejected", "cancelled"]

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Dispute:
    """A bill that somebody says is wrong; `amount` of None: all of it. `bill_number` is for people."""

    id: int
    project_id: int
    bill_id: int
    bill_number: str
    account_id: int
    currency: str
    amount: Decimal | None
    reason: str
    state: DisputeState
    opened_on: date
    opened_by: int | None
    by_resident: bool
    closed_on: date | None
    closed_by: int | None
    note: str
    upheld: Decimal | None
    credited_on: date | None
    credited: Decimal
    created_at: datetime

    @property
    def uncredited(self) -> Decimal:
        """What was upheld and still waits for a credit note."""
        return Decimal(0) if self.upheld is None or self.credited_on is not None else self.upheld - self.credited


@dataclass(frozen=True, slots=True)
class Waiver:
    """Late fee that somebody asks not to be collected; `returned` is the part of it that is paid, and given back."""

    id: int
    project_id: int
    bill_id: int
    bill_number: str
    account_id: int
    currency: str
    amount: Decimal
    returned: Decimal
    reason: str
    state: AskedState
    asked_by: int | None
    asked_at: datetime
    decided_by: int | None
    decided_at: datetime | None
    note: str


@dataclass(frozen=True, slots=True)
class PlanBill:
    """A bill of a plan: what was open of it, and what had been paid, when the plan was made."""

    bill_id: int
    number: str
    principal: Decimal
    paid_before: Decimal


@dataclass(frozen=True, slots=True)
class Plan:
    """An instalment plan. `paid` are payments of its bills since it was made, by day."""

    id: int
    project_id: int
    account_id: int
    currency: str
    state: PlanState
    reason: str
    total: Decimal
    late_days: int
    on_break: PlanBreak
    starts_on: date | None
    ended_on: date | None
    asked_by: int | None
    asked_at: datetime
    decided_by: int | None
    decided_at: datetime | None
    note: str
    reinstated_on: date | None
    bills: tuple[PlanBill, ...]
    instalments: tuple[Instalment, ...]
    paid: tuple[tuple[date, Decimal], ...]

    @property
    def paid_total(self) -> Decimal:
        """What was paid of its bills so far."""
        return sum((amount for _, amount in self.paid), Decimal(0))

    @property
    def progress(self) -> list[Progress]:
        """What is paid of each instalment."""
        return progress(self.instalments, self.paid)


def stated(reason: str) -> str:
    """A reason as it is kept. Raises InvalidInput when there is none."""
    text = reason.strip()[:_LONGEST]
    if not text:
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    return text


def takes_another(asked_by: int | None, by: int | None, policy: Policy) -> bool:
    """Whether somebody else has to approve: two people decide, unless the terms of the project let one do it."""
    return not policy.own_approval and (by is None or by == asked_by)


def must_be_another(asked_by: int | None, by: int | None, policy: Policy) -> None:
    """Raises Conflict where somebody else has to approve."""
    if takes_another(asked_by, by, policy):
        raise Conflict("own-request", "somebody else has to approve what one asked for")


def must_wait(state: str) -> None:
    """Only what was not decided yet can be decided. Raises Conflict."""
    if state != "asked":
        raise Conflict("already-decided", f"it is {state} already")
