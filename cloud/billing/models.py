"""What the API of billing takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from cloud.billing.estimates.estimating import MissingReadings, OpenExceptions
from cloud.billing.records import (
    Bill,
    BillFilter,
    BillKind,
    BillLine,
    BillRow,
    BillRun,
    BillState,
    Charge,
    EstimateKind,
    RunFailure,
    RunStep,
)
from cloud.billing.runs.service import RunOptions
from cloud.kit.amounts import MoneyOut, QuantityOut, plain
from cloud.kit.inputs import Day, Id, Input, ListQuery, PageQuery
from cloud.kit.periods import Period
from gateway.contract.quantities import BY_NUMBER


class BillQuery(ListQuery):
    """Which bills are wanted."""

    account_id: Id | None = None
    run_id: Id | None = None
    state: BillState | None = None
    kind: BillKind | None = None
    estimated: Annotated[bool | None, Field(description="Whether some charge was billed by estimate.")] = None
    search: Annotated[
        str | None,
        Field(
            min_length=1, max_length=100, description="Part of the number of bill or account, the unit, or the name."
        ),
    ] = None

    def wanted(self) -> BillFilter:
        """The same as the services know it."""
        kinds = None if self.kind is None else (self.kind,)
        return BillFilter(
            self.project_id, self.account_id, self.run_id, self.state, kinds=kinds, estimated=self.estimated,
            search=self.search,
        )  # fmt: skip


class PeriodOut(BaseModel):
    """Local days from `start` up to, not including, `end`."""

    start: date
    end: date

    @classmethod
    def of(cls, period: Period) -> "PeriodOut":
        """From our records."""
        return cls(start=period.start, end=period.end)


class BillOut(BaseModel):
    """A bill. `open` is unpaid principal, `late_fee_open` the unpaid late fee as of last night."""

    id: int
    project_id: int
    account_id: int
    kind: BillKind
    number: str | None
    period: PeriodOut
    state: BillState
    total: MoneyOut
    open: MoneyOut
    late_fee_open: MoneyOut
    issued_on: date | None
    due_on: date | None
    settled_on: date | None
    estimated: Annotated[bool, Field(description="Whether some charge was billed by estimate.")]

    @classmethod
    def of(cls, bill: BillRow) -> "BillOut":
        """From our records."""
        return cls(
            id=bill.id,
            project_id=bill.project_id,
            account_id=bill.account_id,
            kind=bill.kind,
            number=bill.number,
            period=PeriodOut.of(bill.period),
            state=bill.state,
            total=MoneyOut.of(bill.total, bill.currency),
            open=MoneyOut.of(bill.open, bill.currency),
            late_fee_open=MoneyOut.of(bill.late_fee_open, bill.currency),
            issued_on=bill.issued_on,
            due_on=bill.due_on,
            settled_on=bill.settled_on,
            estimated=bill.estimated,
        )


class LineOut(BaseModel):
    """quantity × price = amount; tier and period where the tariff has them."""

    position: int
    kind: str
    component: str
    tier: int | None
    time_period: str | None
    season: str | None
    quantity: QuantityOut | None
    price: Annotated[str | None, Field(examples=["0.4883"])]
    amount: MoneyOut
    detail: Annotated[
        dict[str, Any],
        Field(
            description="Of a discount the concession it follows from; what a one-off charge is for; how far usage "
            "is estimated."
        ),
    ]

    @classmethod
    def of(cls, line: BillLine, currency: str) -> "LineOut":
        """From our records."""
        return cls(
            position=line.position,
            kind=line.kind,
            component=line.component,
            tier=line.tier,
            time_period=line.time_period,
            season=line.season,
            quantity=None if line.quantity is None else QuantityOut.of(line.quantity, line.unit or ""),
            price=None if line.price is None else plain(line.price),
            amount=MoneyOut.of(line.amount, currency),
            detail=line.detail,
        )


class ReadingOut(BaseModel):
    """A boundary reading as the bill cites it, before the multiplier."""

    taken_at: datetime
    reading: QuantityOut

    @classmethod
    def of(cls, channel: int | None, taken_at: datetime | None, value: int | None) -> "ReadingOut | None":
        """In the display unit of the channel; None where nothing was metered."""
        if channel is None or taken_at is None or value is None:
            return None
        quantity = BY_NUMBER[channel]
        return cls(
            taken_at=taken_at,
            reading=QuantityOut.of(Decimal(value).scaleb(quantity.display_exponent), quantity.display_unit),
        )


class ChargeOut(BaseModel):
    """One service over one period, the readings it rests on, and its lines, which add up to it."""

    id: int
    agreement_id: int
    service: str
    period: PeriodOut
    tariff_version_id: int | None
    meter_id: int | None
    opening: ReadingOut | None
    closing: ReadingOut | None
    estimate: Annotated[
        EstimateKind | None,
        Field(description="`open`: estimated; `between`: a share of what two readings tell; null: read at both ends."),
    ]
    estimated_days: int | None
    amount: MoneyOut
    lines: list[LineOut]

    @classmethod
    def of(cls, charge: Charge, currency: str) -> "ChargeOut":
        """From our records."""
        return cls(
            id=charge.id,
            agreement_id=charge.agreement_id,
            service=charge.service,
            period=PeriodOut.of(charge.period),
            tariff_version_id=charge.tariff_version_id,
            meter_id=charge.meter_id,
            opening=ReadingOut.of(charge.channel, charge.opening_at, charge.opening_value),
            closing=ReadingOut.of(charge.channel, charge.closing_at, charge.closing_value),
            estimate=charge.estimate,
            estimated_days=charge.estimated_days,
            amount=MoneyOut.of(charge.amount, currency),
            lines=[LineOut.of(line, currency) for line in charge.lines],
        )


class CorrectionOut(LineOut):
    """A line that corrects an earlier bill: its number, the position of the line there, the local days it charged."""

    service: str
    charge_id: int
    original_bill_id: int
    original_number: str
    original_line: int | None
    original_period: Annotated[str, Field(examples=["2026-01-01/2026-02-01"])]
    reason: str | None

    @classmethod
    def correcting(cls, line: BillLine, currency: str) -> "CorrectionOut":
        """From our records."""
        return cls(
            **dict(LineOut.of(line, currency)),
            service=line.service,
            charge_id=line.charge_id,
            original_bill_id=line.detail["bill_id"],
            original_number=line.detail["bill"],
            original_line=line.detail["line"],
            original_period=line.detail["period"],
            reason=line.detail.get("reason"),
        )


class BillDetailOut(BillOut):
    """A bill with its charges and lines, and the lines that correct charges of earlier bills."""

    final: Annotated[bool, Field(description="The bill with which an account ends.")]
    reason: Annotated[str | None, Field(description="Why somebody made this note.")]
    corrects_bill_id: Annotated[int | None, Field(description="The bill that a note is of; null: of adjustments.")]
    charges: list[ChargeOut]
    corrections: list[CorrectionOut]

    @classmethod
    def whole(cls, bill: Bill) -> "BillDetailOut":
        """From our records."""
        currency = bill.summary.currency
        charges = [ChargeOut.of(charge, currency) for charge in bill.charges]
        corrections = [CorrectionOut.correcting(line, currency) for line in bill.corrections]
        return cls(
            **dict(BillOut.of(bill.summary)),
            final=bill.final,
            reason=bill.note.get("reason"),
            corrects_bill_id=bill.note.get("bill"),
            charges=charges,
            corrections=corrections,
        )


class RunIn(Input):
    """The local days to charge, `end` exclusive: a calendar month in most cases."""

    project_id: Id
    start: Annotated[Day, Field(examples=["2026-01-01"])]
    end: Annotated[Day, Field(examples=["2026-02-01"])]
    issue_at_once: Annotated[
        bool, Field(description="Without a preview; needs the permission to approve.", examples=[False])
    ] = False
    open_exceptions: Annotated[
        OpenExceptions,
        Field(
            description="Accounts whose readings have open findings: left out with that reason, billed all the same, "
            "or billed with an estimate of what is in doubt."
        ),
    ] = "ask"
    mail_bills: Annotated[
        bool | None,
        Field(
            description="Whether the bills are sent by e-mail when they are issued; null: as the project has set it."
        ),
    ] = None
    missing_readings: Annotated[
        MissingReadings,
        Field(description="Accounts without readings at both ends: left out with that reason, or billed by estimate."),
    ] = "ask"
    estimate_limit: Annotated[
        int | None,
        Field(ge=0, le=120, description="So many bills in a row may be estimated; null: as many as the terms say."),
    ] = None

    @model_validator(mode="after")
    def _in_order(self) -> "RunIn":
        if self.end <= self.start:
            raise ValueError("end: expected a day after start")
        return self

    def options(self) -> RunOptions:
        """The same as the services know it."""
        return RunOptions(
            self.issue_at_once,
            self.open_exceptions,
            self.missing_readings,
            self.estimate_limit,
            mail_bills=self.mail_bills,
        )


class RunStartedOut(BaseModel):
    """The job does the run and says how far it is; `run` says what came of it."""

    run_id: int
    job_id: int
    run: Annotated[str, Field(examples=["/api/v1/bill-runs/17"])]
    job: Annotated[str, Field(examples=["/api/v1/jobs/40"])]


class RunFailureOut(BaseModel):
    """An account that could not be billed, and why."""

    account_id: int
    account_number: str
    code: Annotated[str, Field(examples=["missing-reading"])]
    detail: str

    @classmethod
    def of(cls, failure: RunFailure) -> "RunFailureOut":
        """From our record."""
        return cls(
            account_id=failure.account_id,
            account_number=failure.account_number,
            code=failure.code,
            detail=failure.detail,
        )


class RunFailureQuery(PageQuery):
    """Which page is wanted, and of which reason."""

    code: Annotated[str | None, Field(max_length=100, examples=["missing-reading"])] = None


class RunOut(BaseModel):
    """A bill run."""

    id: int
    project_id: int
    period: PeriodOut
    state: str
    accounts: int
    billed: int
    failed: int
    total: MoneyOut
    job_id: int | None
    created_at: datetime
    finished_at: datetime | None
    issue_at_once: bool
    open_exceptions: OpenExceptions
    missing_readings: MissingReadings
    estimate_limit: int | None
    estimate_reason: Annotated[str, Field(description="Why a final bill is estimated.")]
    estimated: Annotated[int, Field(description="Of `billed`, by estimate: `GET /bills?run_id=…&estimated=true`.")]
    approved_by: int | None
    approved_at: datetime | None
    issue_job_id: int | None
    mail_bills: bool | None
    account_id: Annotated[int | None, Field(description="The run is the final bill of this account.")]
    repeats_id: Annotated[
        int | None, Field(description="The run bills only whom this issued one could not: `POST …/repetitions`.")
    ]
    step: Annotated[
        RunStep,
        Field(
            description="While it is running: `checking`, the months of its meters are judged and the progress of its "
            "job counts meters; or `billing`, drafts are made and it counts accounts."
        ),
    ]
    broke_off: Annotated[
        str | None, Field(description="Why the last attempt of its job broke off: `POST …/repetitions` goes on.")
    ]

    @classmethod
    def of(cls, run: BillRun) -> "RunOut":
        """From our records."""
        return cls(
            id=run.id,
            project_id=run.project_id,
            period=PeriodOut.of(run.period),
            state=run.state,
            accounts=run.accounts,
            billed=run.billed,
            failed=run.failed,
            total=MoneyOut.of(run.total, run.currency),
            job_id=run.job_id,
            created_at=run.created_at,
            finished_at=run.finished_at,
            issue_at_once=run.issue_at_once,
            open_exceptions=run.open_exceptions,
            missing_readings=run.missing_readings,
            estimate_limit=run.estimate_limit,
            estimate_reason=run.estimate_reason,
            estimated=run.estimated,
            approved_by=run.approved_by,
            approved_at=run.approved_at,
            issue_job_id=run.issue_job_id,
            mail_bills=run.mail_bills,
            account_id=run.account_id,
            repeats_id=run.repeats_id,
            step=run.step,
            broke_off=run.broke_off,
        )


class LeftOutIn(Input):
    """An account to take out of a preview, and why."""

    account_id: Id
    reason: Annotated[str, Field(min_length=1, max_length=300, examples=["moved out, final reading missing"])]
