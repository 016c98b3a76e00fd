"""What the billing feature hands out and passes between its rooms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from cloud.billing.arrears.late_fees import LateFeeRule, Step
from cloud.kit.periods import Period
from cloud.tariffs.model.registers import Source

AgreementKind = Literal["tariff", "rent", "one_off", "package"]
BillState = Literal["draft", "issued", "paid", "disputed", "void"]
BillKind = Literal["bill", "credit_note", "debit_note"]
EstimateKind = Literal["open", "between"]
"""`open`: no reading bounds the usage yet; `between`: a share of what was counted between two readings."""
PlanBreak = Literal["due-date", "break"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Terms of payment in force.

    An instalment that is not paid `plan_days` after its date breaks its plan; late fees then count from the due date
    of the bills again, or only from the break (`plan_break`). `own_approval`: whether one person is enough for what
    otherwise takes two.

    At most `estimate_bills` bills of a service in a row may be estimated; more estimated days than `estimate_days` are
    too many.
    """

    due_days: int = 15
    late_fee: LateFeeRule = field(default_factory=LateFeeRule)
    plan_days: int = 5
    plan_break: PlanBreak = "due-date"
    own_approval: bool = False
    estimate_bills: int = 3
    estimate_days: int = 60


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """Terms of payment and when they hold: from `valid_from` up to, not including, `valid_until`."""

    id: int
    project_id: int
    valid_from: date
    valid_until: date | None
    policy: Policy


@dataclass(frozen=True, slots=True)
class Agreement:
    """What an account is charged for; valid from `valid_from` up to, not including, `valid_until`.

    `capacity_va`: contracted capacity; `area`: m² where it is not that of the unit; `single`: billed without tiers.
    Only those of kind `tariff` have one; `amount` is of a one-off charge, `description` is what that or a package is
    called on the bill. `taken_back`: a one-off charge that was charged and is given back. `time_of_use`: where usage
    by price period comes from, and `registers` (a RegisterMap as JSON): which registers count it; None: as the tariff
    says.
    """

    id: int
    project_id: int
    account_id: int
    service: str
    tariff_id: int | None
    meter_id: int | None
    unit_id: int | None
    valid_from: date
    valid_until: date | None
    capacity_va: int | None = None
    area: Decimal | None = None
    single: bool = False
    kind: AgreementKind = "tariff"
    amount: Decimal | None = None
    description: str = ""
    taken_back: bool = False
    time_of_use: Source | None = None
    registers: Mapping[str, Any] | None = None

    @property
    def tariff(self) -> int:
        """Its tariff; only an agreement of kind `tariff` has one."""
        assert self.tariff_id is not None
        return self.tariff_id


@dataclass(frozen=True, slots=True)
class Uncharged:
    """A stretch of an agreement that no bill has charged yet."""

    agreement: Agreement
    period: Period


@dataclass(frozen=True, slots=True)
class Charged:
    """What was charged of an agreement over a period."""

    agreement_id: int
    period: Period
    quantity: int
    exact_amount: Decimal


@dataclass(frozen=True, slots=True)
class Cited:
    """The boundary readings that a charge of a meter cites, whoever was charged; an estimated one may have none.

    `registers`: those of the registers of price periods, as the inputs of the charge keep them; empty unless asked for.
    """

    meter_id: int
    service: str
    period: Period
    opening_at: datetime | None
    opening_value: int | None
    closing_at: datetime | None
    closing_value: int | None
    estimated: bool = False
    registers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class BillRow:
    """A bill and what is open of it.

    `paid` is what payments, held money and credit notes took off, `credited` the part of the notes; `late_fee` is the
    fee until `late_fee_through` without what was waived; `disputed` is what nobody has to pay as
    long as it is in dispute; `in_plan` says that instalments pay it.
    """

    id: int
    project_id: int
    account_id: int
    number: str | None
    period: Period
    currency: str
    total: Decimal
    paid: Decimal
    late_fee: Decimal
    late_fee_paid: Decimal
    issued_on: date | None
    due_on: date | None
    state: BillState
    settled_on: date | None
    late_fee_through: date | None = None
    disputed: Decimal = Decimal(0)
    in_plan: bool = False
    kind: BillKind = "bill"
    credited: Decimal = Decimal(0)
    estimated: bool = False
    """Whether a charge of it was billed by estimate, whatever became known since."""

    @property
    def open(self) -> Decimal:
        """Unpaid principal."""
        return self.total - self.paid

    @property
    def undisputed(self) -> Decimal:
        """Unpaid principal that is not disputed: what payments go into."""
        return max(self.open - self.disputed, Decimal(0))

    @property
    def late_fee_open(self) -> Decimal:
        """Unpaid late fee."""
        return self.late_fee - self.late_fee_paid

    @property
    def payable(self) -> Decimal:
        """What is asked for now: a disputed amount is not, nor the late fee of a bill in dispute."""
        return self.undisputed + (self.late_fee_open if self.state != "disputed" else 0)

    @property
    def owing(self) -> bool:
        """Whether somebody has to pay something of it now."""
        return self.state in ("issued", "disputed", "paid") and self.payable > 0

    def overdue(self, today: date) -> bool:
        """Whether principal is open after the due date; not while it is disputed, or paid by instalments."""
        return self.state == "issued" and self.due_on is not None and self.due_on < today and not self.in_plan


@dataclass(frozen=True, slots=True)
class BillLine:
    """One explained line: quantity × price = amount."""

    position: int
    kind: str
    service: str
    component: str
    tier: int | None
    time_period: str | None
    quantity: Decimal | None
    unit: str | None
    price: Decimal | None
    amount: Decimal
    detail: dict[str, Any]
    charge_id: int
    season: str | None


@dataclass(frozen=True, slots=True)
class Charge:
    """One service over one period, with the boundary readings it cites and its lines.

    Readings are in the base unit of the channel, before the multiplier; `quantity` with it.
    """

    id: int
    agreement_id: int
    service: str
    period: Period
    tariff_version_id: int | None
    meter_id: int | None
    channel: int | None
    opening_at: datetime | None
    opening_value: int | None
    closing_at: datetime | None
    closing_value: int | None
    quantity: int | None
    amount: Decimal
    lines: tuple[BillLine, ...]
    estimate: EstimateKind | None = None
    estimated_days: int | None = None


@dataclass(frozen=True, slots=True)
class LateFeeRow:
    """The late fee of a bill as it stands, and the steps that explain it, dates and numbers as text."""

    through: date
    amount: Decimal
    waived: Decimal
    steps: list[dict[str, Any]]

    @property
    def by_days(self) -> Sequence[Step]:
        """The steps as they were computed."""
        return [
            Step(
                date.fromisoformat(one["first"]),
                date.fromisoformat(one["last"]),
                one["days"],
                *(Decimal(one[name]) for name in ("principal", "rate", "part")),
            )
            for one in self.steps
        ]


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill with everything that explains it."""

    summary: BillRow
    charges: tuple[Charge, ...]
    late_fee: LateFeeRow | None
    engine_version: str
    inputs: dict[str, Any]
    corrections: tuple[BillLine, ...] = ()
    """Lines that correct charges of earlier bills."""

    @property
    def final(self) -> bool:
        """Whether it is the bill with which an account ends."""
        return "final" in self.inputs

    @property
    def note(self) -> dict[str, Any]:
        """What a credit or debit note that somebody made says of itself: `reason`, and `bill` if it is of one."""
        note: dict[str, Any] = self.inputs.get("note", {})
        return note

    @property
    def lines(self) -> tuple[BillLine, ...]:
        """All lines in the order of the bill."""
        return (*(line for charge in self.charges for line in charge.lines), *self.corrections)


@dataclass(frozen=True, slots=True)
class BillFilter:
    """Which bills are wanted; None: any."""

    project_id: int | None = None
    account_id: int | None = None
    run_id: int | None = None
    state: BillState | None = None
    account_ids: tuple[int, ...] | None = None
    kinds: tuple[BillKind, ...] | None = None
    estimated: bool | None = None
    search: str | None = None
    """A part of the bill's number, the account's, the unit or the name of who pays."""


RunStep = Literal["checking", "billing"]
"""What a running run is at: the months of its meters are judged, or drafts are made."""


@dataclass(frozen=True, slots=True)
class BillRun:
    """A run over a period of a project; its job has seen to `done` of `of` accounts, or meters while it is `checking`.

    With an `account_id` it is the final bill of this account alone; with a `repeats_id` it bills only whom that issued
    run could not bill. `estimated` of the billed accounts are billed by estimate, as `missing_readings`,
    `open_exceptions` and `estimate_limit` (None: that of the terms) allow.
    `mail_bills`: whether its bills are sent by e-mail when they are issued; None: as the project has set it.
    `broke_off`: why the last attempt of its job broke off; it is tried again unless the job `gave_up`.
    """

    id: int
    project_id: int
    period: Period
    state: str
    accounts: int
    billed: int
    failed: int
    total: Decimal
    currency: str
    job_id: int | None
    created_at: datetime
    finished_at: datetime | None
    issue_at_once: bool
    open_exceptions: Literal["ask", "bill", "estimate"]
    missing_readings: Literal["ask", "estimate"]
    estimate_limit: int | None
    estimate_reason: str
    approved_by: int | None
    approved_at: datetime | None
    issue_job_id: int | None
    done: int
    of: int
    estimated: int
    account_id: int | None = None
    repeats_id: int | None = None
    mail_bills: bool | None = None
    step: RunStep = "billing"
    gave_up: bool = False
    broke_off: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether its job has drafts to make, or makes them again."""
        return self.state in ("running", "failed")


@dataclass(frozen=True, slots=True)
class RunFailure:
    """An account that a run could not bill, and why."""

    account_id: int
    account_number: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class BillingTotals:
    """Sums of a project for one period; `open` and `overdue` as of today, over all periods."""

    billed: Decimal
    collected: Decimal
    open: Decimal
    overdue: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class TierBand:
    """One tier: its inclusive upper bound (None: none) and price per unit (None: depends on the time of use)."""

    number: int
    upper: Decimal | None
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class TierGauge:
    """How far a household is in its tiers, in the unit of the tariff. `tier` counts from 1."""

    service: str
    meter_id: int
    unit: str
    currency: str
    used: Decimal
    tier: int
    tier_upper: Decimal | None
    remaining: Decimal | None
    tiers: tuple[TierBand, ...]
    price_now: Decimal | None
    window: Period
