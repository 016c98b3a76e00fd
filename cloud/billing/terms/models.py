"""What the API of terms of payment takes and gives."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloud.billing.arrears.late_fees import LateFee, LateFeeRule, late_fee
from cloud.billing.explanation.models import LateFeeStepOut
from cloud.billing.records import Policy, PolicyVersion
from cloud.kit.amounts import MoneyOut, plain
from cloud.kit.inputs import Day, Id, Input
from cloud.kit.money import minor_digits

Rate = Annotated[str, Field(pattern=r"^0(\.[0-9]{1,8})?$", examples=["0.001"], description="A share per day.")]
Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$", examples=["120.50"])]
Days = Annotated[int, Field(ge=0, le=365)]


class TermsIn(Input):
    """Terms of payment: when bills are due, what late fees are, and who decides."""

    due_days: Annotated[Days, Field(examples=[15])] = 15
    daily_rate: Rate = "0"
    later_rate: Annotated[
        Rate | None, Field(description="In calendar years after that of the due date; null: the same rate.")
    ] = None
    grace_days: Annotated[Days, Field(description="Free for good.", examples=[5])] = 0
    minimum: Annotated[Amount, Field(examples=["0"])] = "0"
    cap_share: Annotated[
        str | None,
        Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$", examples=["1"], description="Of the principal; null: no cap."),
    ] = None
    plan_days: Annotated[int, Field(ge=0, le=90, description="So late an instalment breaks its plan.")] = 5
    plan_break: Annotated[
        Literal["due-date", "break"],
        Field(description="From when late fees of a broken plan count: the due date of the bills, or the break."),
    ] = "due-date"
    own_approval: Annotated[bool, Field(description="Whether one may approve what he asked for.", examples=[False])] = (
        False
    )
    estimate_bills: Annotated[
        int, Field(ge=0, le=120, description="So many bills of a service in a row may be estimated at most.")
    ] = 3
    estimate_days: Annotated[
        int, Field(ge=1, le=3660, description="More estimated days of a service are shown to staff as too many.")
    ] = 60

    def policy(self) -> Policy:
        """The same as the services know it."""
        return Policy(
            self.due_days,
            self.rule(),
            self.plan_days,
            self.plan_break,
            self.own_approval,
            self.estimate_bills,
            self.estimate_days,
        )

    def rule(self) -> LateFeeRule:
        """The part about late fees."""
        return LateFeeRule(
            Decimal(self.daily_rate),
            self.grace_days,
            Decimal(self.minimum),
            None if self.cap_share is None else Decimal(self.cap_share),
            None if self.later_rate is None else Decimal(self.later_rate),
        )


class NewTermsIn(TermsIn):
    """Terms of payment of a project from a day on; bills issued before keep theirs."""

    project_id: Id
    valid_from: Annotated[Day, Field(description="Today or later.")]


class ExampleIn(TermsIn):
    """Terms, and a bill to try them on: `principal`, due on a day, unpaid until `through`; `paid` of it on a day."""

    principal: Annotated[Amount, Field(examples=["100.00"])] = "100.00"
    due_on: Annotated[Day, Field(examples=["2025-12-20"])]
    through: Annotated[Day, Field(examples=["2026-01-20"])]
    paid: Amount | None = None
    paid_on: Day | None = None

    def fee(self, currency: str) -> LateFee:
        """What the terms make of the bill."""
        paid = [(self.paid_on, Decimal(self.paid))] if self.paid is not None and self.paid_on is not None else []
        principal = Decimal(self.principal)
        return late_fee(principal, self.due_on, paid, self.rule(), self.through, minor_digits(currency))


class TermsOut(BaseModel):
    """Terms of payment and when they hold."""

    id: int
    project_id: int
    valid_from: date
    valid_until: date | None
    due_days: int
    daily_rate: str
    later_rate: str | None
    grace_days: int
    minimum: str
    cap_share: str | None
    plan_days: int
    plan_break: str
    own_approval: bool
    estimate_bills: int
    estimate_days: int

    @classmethod
    def of(cls, version: PolicyVersion) -> "TermsOut":
        """From our records."""
        policy, rule = version.policy, version.policy.late_fee
        return cls(
            id=version.id,
            project_id=version.project_id,
            valid_from=version.valid_from,
            valid_until=version.valid_until,
            due_days=policy.due_days,
            daily_rate=plain(rule.daily_rate),
            later_rate=None if rule.later_rate is None else plain(rule.later_rate),
            grace_days=rule.grace_days,
            minimum=format(rule.minimum, "f"),
            cap_share=None if rule.cap_share is None else plain(rule.cap_share),
            plan_days=policy.plan_days,
            plan_break=policy.plan_break,
            own_approval=policy.own_approval,
            estimate_bills=policy.estimate_bills,
            estimate_days=policy.estimate_days,
        )


class ExampleOut(BaseModel):
    """A late fee, and the steps that explain it."""

    late_fee: MoneyOut
    steps: list[LateFeeStepOut]

    @classmethod
    def of(cls, fee: LateFee, currency: str) -> "ExampleOut":
        """From our records."""
        steps = [
            LateFeeStepOut(
                first=step.first,
                last=step.last,
                days=step.days,
                principal=format(step.principal, "f"),
                rate=plain(step.rate),
                part=plain(step.part),
            )
            for step in fee.steps
        ]
        return cls(late_fee=MoneyOut.of(fee.amount, currency), steps=steps)
