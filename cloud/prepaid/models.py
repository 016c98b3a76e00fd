"""What the API of prepaid supply takes and gives."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input, Instant, ListQuery
from cloud.prepaid.disconnection import CaseState, Rules
from cloud.prepaid.positions import Thresholds
from cloud.prepaid.quiet_times import Hours, seasons_of, written
from cloud.prepaid.records import (
    AccountTerms,
    Policy,
    PositionRow,
    PrepaidAgreement,
    Protection,
    Shown,
    SupplyCase,
    SupplyStep,
)

Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$", examples=["20.00"])]
Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["talked to the resident"])]


class PolicyIn(Input):
    """Warnings of a low balance, and whether and how supplies are switched off. The defaults switch nobody off."""

    warn_amount: Annotated[Amount | None, Field(description="Warn below this balance; null: not by amount.")] = None
    warn_days: Annotated[
        int | None, Field(ge=1, le=365, examples=[5], description="Warn when it lasts for fewer days; null: not.")
    ] = None
    disconnects: Annotated[bool, Field(description="Whether supplies may be switched off at all.")] = False
    automatic: Annotated[bool, Field(description="Without a person who confirms each case.")] = False
    credit: Annotated[Amount, Field(description="How far below zero a balance may go.", examples=["0"])] = "0"
    arrears_days: Annotated[int, Field(ge=0, le=365, description="Below it so long before the notice.")] = 30
    notice_days: Annotated[int, Field(ge=1, le=90, description="From the written notice to the cut.")] = 7
    second_notice_minutes: Annotated[int, Field(ge=1, le=10080, description="Announced again so long before.")] = 30
    from_hour: Annotated[int, Field(ge=6, le=20, description="Not before this hour of a working day.")] = 9
    until_hour: Annotated[int, Field(ge=7, le=21, description="Not from this hour on.")] = 16
    before_rest: Annotated[bool, Field(description="Also on the day before days of rest.")] = False
    seasons: Annotated[
        str,
        Field(max_length=200, examples=["11-15/03-15, 07-01/08-31"], description="Days of every year without a cut."),
    ] = ""
    order_minutes: Annotated[int, Field(ge=1, le=60, description="An order nobody took so long is void.")] = 10

    @model_validator(mode="after")
    def _sound(self) -> "PolicyIn":
        if self.until_hour <= self.from_hour:
            raise ValueError("until_hour must be after from_hour")
        seasons_of(self.seasons)
        return self

    def policy(self) -> Policy:
        """The same as the services know it."""
        return Policy(
            Thresholds(None if self.warn_amount is None else Decimal(self.warn_amount), self.warn_days),
            Rules(
                self.disconnects,
                self.automatic,
                Decimal(self.credit),
                self.arrears_days,
                timedelta(days=self.notice_days),
                timedelta(minutes=self.second_notice_minutes),
                timedelta(minutes=self.order_minutes),
                Hours(self.from_hour, self.until_hour, self.before_rest, seasons_of(self.seasons)),
            ),
        )


class PolicyOut(PolicyIn):
    """The settings of a project."""

    @classmethod
    def of(cls, policy: Policy) -> "PolicyOut":
        """From our records."""
        rules, hours, amount = policy.rules, policy.rules.hours, policy.thresholds.amount
        return cls(
            warn_amount=None if amount is None else format(amount, "f"),
            warn_days=policy.thresholds.days,
            disconnects=rules.disconnects,
            automatic=rules.automatic,
            credit=format(rules.credit, "f"),
            arrears_days=rules.arrears_days,
            notice_days=rules.notice.days,
            second_notice_minutes=rules.second_notice // timedelta(minutes=1),
            from_hour=hours.start,
            until_hour=hours.end,
            before_rest=hours.before_rest,
            seasons=written(hours.seasons),
            order_minutes=rules.order_for // timedelta(minutes=1),
        )


class PrepaidAgreementIn(Input):
    """An agreement with a tariff whose usage is paid in advance from now on."""

    agreement_id: Id


class PrepaidAgreementOut(BaseModel):
    """A prepaid agreement."""

    agreement_id: int
    account_id: int
    service: Annotated[str, Field(examples=["electricity"])]
    meter_id: int | None

    @classmethod
    def of(cls, one: PrepaidAgreement) -> "PrepaidAgreementOut":
        """From our records."""
        return cls(agreement_id=one.agreement_id, account_id=one.account_id, service=one.service, meter_id=one.meter_id)


class TermsIn(Input):
    """What holds for one account: nobody switches it off for a while, or it may go further below zero for a while."""

    kind: Annotated[Protection | None, Field(description="Null: not protected.")] = None
    reason: Annotated[str, Field(max_length=500)] = ""
    protected_until: Annotated[Day | None, Field(description="The last day.")] = None
    credit: Annotated[Amount, Field(description="Emergency credit beyond that of the project.", examples=["0"])] = "0"
    credit_until: Annotated[Day | None, Field(description="The last day.")] = None

    def terms(self, account_id: int) -> AccountTerms:
        """The same as the services know it; the project is that of the account."""
        return AccountTerms(
            account_id, 0, self.kind, self.reason, self.protected_until, Decimal(self.credit), self.credit_until
        )


class TermsOut(TermsIn):
    """What holds for an account."""

    @classmethod
    def of(cls, terms: AccountTerms) -> "TermsOut":
        """From our records."""
        return cls(
            kind=terms.kind,
            reason=terms.reason,
            protected_until=terms.protected_until,
            credit=format(terms.credit, "f"),
            credit_until=terms.credit_until,
        )


class PositionQuery(ListQuery):
    """Which accounts are wanted: all, `low` (warned), `below` (beyond their credit), `unknown` (not valued whole)."""

    account_id: Id | None = None
    show: Shown = "all"


class PositionOut(BaseModel):
    """What is left: `held` − `owed` (issued bills) − `accrued` (used since, without a bill, up to `through`).

    `days_left` at the present rate, null when nothing is used; `flaw`: why later usage could not be valued.
    """

    account_id: int
    available: MoneyOut
    held: MoneyOut
    owed: MoneyOut
    accrued: MoneyOut
    allowance: Annotated[MoneyOut, Field(description="How far below zero it may go.")]
    days_left: int | None
    through: date
    flaw: str
    low_since: datetime | None
    valued_at: datetime

    @classmethod
    def of(cls, row: PositionRow) -> "PositionOut":
        """From our records."""
        return cls(
            account_id=row.account_id,
            available=MoneyOut.of(row.available, row.currency),
            held=MoneyOut.of(row.held, row.currency),
            owed=MoneyOut.of(row.owed, row.currency),
            accrued=MoneyOut.of(row.accrued, row.currency),
            allowance=MoneyOut.of(row.allowance, row.currency),
            days_left=row.days_left,
            through=row.through,
            flaw=row.flaw,
            low_since=row.warned_at,
            valued_at=row.valued_at,
        )


class CaseQuery(ListQuery):
    """Which cases are wanted."""

    account_id: Id | None = None
    state: CaseState | None = None
    only_open: bool = False


class CaseOut(BaseModel):
    """A case of switching a supply off. `hold`: why it waits; `ending`: why it ended."""

    id: int
    account_id: int
    agreement_id: int
    service: str
    state: CaseState
    hold: str
    ending: str
    opened_on: date
    notified_at: datetime | None
    second_notice_at: datetime | None
    confirmed_at: datetime | None
    off_at: datetime | None
    alarmed_at: datetime | None
    closed_at: datetime | None

    @classmethod
    def of(cls, case: SupplyCase) -> "CaseOut":
        """From our records."""
        return cls(**{name: getattr(case, name) for name in cls.model_fields})


class StepOut(BaseModel):
    """Something that happened in a case."""

    at: datetime
    step: Annotated[str, Field(examples=["notice"])]
    reason: str
    detail: str
    command_id: str | None
    made_by: int | None

    @classmethod
    def of(cls, step: SupplyStep) -> "StepOut":
        """From our records."""
        command_id = None if step.command_id is None else str(step.command_id)
        return cls(
            at=step.at, step=step.step, reason=step.reason, detail=step.detail, command_id=command_id,
            made_by=step.made_by,
        )  # fmt: skip


class WholeCaseOut(BaseModel):
    """A case with its steps."""

    case: CaseOut
    steps: list[StepOut]


class DecisionIn(Input):
    """What staff decide about a case.

    `delivered`: the notice that is wanted now was handed over at `at`, how is said as the reason; `end`: nothing is
    switched off, and what is off is switched on.
    """

    decision: Literal["delivered", "end"]
    reason: Reason
    at: Annotated[Instant | None, Field(description="When it was handed over; null: now.")] = None
