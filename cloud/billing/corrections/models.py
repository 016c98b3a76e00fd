"""What the API of adjustments, credit notes and debit notes takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from cloud.billing.arrears.models import Reason
from cloud.billing.corrections.adjustments import Cause, Difference
from cloud.billing.corrections.counting import NoteCause
from cloud.billing.corrections.crediting import Given
from cloud.billing.corrections.history import History
from cloud.billing.corrections.notes import NoteKind, Part
from cloud.billing.corrections.refusals import Refusal
from cloud.billing.corrections.repository import Adjustment, AdjustmentFilter, AdjustmentState
from cloud.billing.estimates.estimating import MissingReadings, OpenExceptions
from cloud.billing.models import PeriodOut, ReadingOut
from cloud.billing.runs.service import RunOptions
from cloud.billing.terms.models import Amount
from cloud.kit.amounts import MoneyOut, QuantityOut, plain
from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.kit.periods import Period
from gateway.contract.quantities import BY_NUMBER


class AdjustmentQuery(ListQuery):
    """Which adjustments are wanted."""

    account_id: Id | None = None
    service: Annotated[str | None, Field(max_length=100, examples=["electricity"])] = None
    start: Annotated[Day | None, Field(description="Of charges of days from here on.")] = None
    end: Annotated[Day | None, Field(description="Of charges of days before this one.")] = None
    state: AdjustmentState | None = None
    open: Annotated[bool, Field(description="The same as state=open: what no bill or note has taken up yet.")] = False

    @model_validator(mode="after")
    def _in_order(self) -> "AdjustmentQuery":
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end: expected a day after start")
        return self

    def wanted(self) -> AdjustmentFilter:
        """The same as the services know it."""
        days = Period(self.start or date(1970, 1, 1), self.end or date(9999, 12, 31))
        return AdjustmentFilter(
            self.project_id,
            self.account_id,
            self.service,
            days if self.start or self.end else None,
            "open" if self.open else self.state,
        )


class DifferenceOut(BaseModel):
    """By how much one line of a charge changed. `line`: its position on the original bill; null where it is new."""

    kind: str
    component: str
    tier: int | None
    time_period: str | None
    season: str | None
    line: int | None
    quantity: QuantityOut | None
    price: str | None
    amount: MoneyOut

    @classmethod
    def of(cls, row: dict[str, Any], currency: str) -> "DifferenceOut":
        """From our records."""
        quantity, price = row["quantity"], row["price"]
        return cls(
            kind=row["detail"]["of"],
            component=row["component"],
            tier=row["tier"],
            time_period=row["time_period"],
            season=row["season"],
            line=row["detail"]["line"],
            quantity=None if quantity is None else QuantityOut.of(Decimal(quantity), row["unit"] or ""),
            price=None if price is None else plain(Decimal(price)),
            amount=MoneyOut.of(Decimal(row["amount"]), currency),
        )


class AdjustmentOut(BaseModel):
    """A charge that should have been another. `bill_id` is the bill or note that takes `difference` up."""

    id: int
    project_id: int
    account_id: int
    charge_id: int
    original_bill_id: int
    original_number: str
    service: str
    period: PeriodOut
    cause: Cause
    state: AdjustmentState
    old_quantity: QuantityOut | None
    quantity: QuantityOut | None
    old_amount: MoneyOut
    amount: MoneyOut
    counted: Annotated[
        MoneyOut, Field(description="What it takes back of what notes by hand gave already; part of `difference`.")
    ]
    difference: MoneyOut
    differences: list[DifferenceOut]
    bill_id: int | None
    created_at: datetime

    @classmethod
    def of(cls, one: Adjustment) -> "AdjustmentOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            account_id=one.account_id,
            charge_id=one.charge_id,
            original_bill_id=one.original_bill_id,
            original_number=one.original_number,
            service=one.service,
            period=PeriodOut.of(one.period),
            cause=one.cause,
            state=one.state,
            old_quantity=_used(one.channel, one.old_quantity),
            quantity=_used(one.channel, one.quantity),
            old_amount=MoneyOut.of(one.old_amount, one.currency),
            amount=MoneyOut.of(one.amount, one.currency),
            counted=MoneyOut.of(one.counted, one.currency),
            difference=MoneyOut.of(one.difference, one.currency),
            differences=[DifferenceOut.of(row, one.currency) for row in one.differences],
            bill_id=one.bill_id,
            created_at=one.created_at,
        )


def _used(channel: int | None, quantity: int | None) -> QuantityOut | None:
    """In the display unit of the channel."""
    if channel is None or quantity is None:
        return None
    known = BY_NUMBER[channel]
    return QuantityOut.of(Decimal(quantity).scaleb(known.display_exponent), known.display_unit)


class ComparedLineOut(BaseModel):
    """A line of the charge as it was and as it is; `changed` where it is another one."""

    kind: str
    component: str
    tier: int | None
    time_period: str | None
    season: str | None
    price: str | None
    old_quantity: QuantityOut | None
    quantity: QuantityOut | None
    old_amount: MoneyOut
    amount: MoneyOut
    changed: bool

    @classmethod
    def of(cls, one: Difference, currency: str) -> "ComparedLineOut":
        """From our records."""
        named = one.named
        before, after = (None if each is None else QuantityOut.of(each, named["unit"] or "") for each in one.quantity)
        return cls(
            kind=named["kind"],
            component=named["component"],
            tier=named["tier"],
            time_period=named["time_period"],
            season=named["season"],
            price=named["price"],
            old_quantity=before,
            quantity=after,
            old_amount=MoneyOut.of(one.amount[0], currency),
            amount=MoneyOut.of(one.amount[1], currency),
            changed=one.changed,
        )


class AdjustmentHistoryOut(AdjustmentOut):
    """An adjustment with all lines of the charge, and the boundary readings that it cited and cites."""

    lines: list[ComparedLineOut]
    old_opening: ReadingOut | None
    opening: ReadingOut | None
    old_closing: ReadingOut | None
    closing: ReadingOut | None

    @classmethod
    def whole(cls, one: History) -> "AdjustmentHistoryOut":
        """From our records."""
        known = one.adjustment
        before, after = (
            [ReadingOut.of(known.channel, boundary.taken_at, boundary.value) for boundary in of_end]
            for of_end in zip(one.opening, one.closing, strict=True)
        )
        return cls(
            **dict(AdjustmentOut.of(known)),
            lines=[ComparedLineOut.of(line, known.currency) for line in one.lines],
            old_opening=before[0],
            opening=after[0],
            old_closing=before[1],
            closing=after[1],
        )


class ReRatingIn(Input):
    """What is rated again, and by what; without either it is by what the meters counted."""

    since: Annotated[Day, Field(description="Charges of days from here on.", examples=[date(2026, 1, 1)])]
    corrected_facts: Annotated[
        bool, Field(description="By the persons, areas, dates and rents that are filed now.")
    ] = False
    concessions: Annotated[
        bool, Field(description="By the concessions that are granted now, instead of those that the bills knew.")
    ] = False
    open_exceptions: Annotated[
        Literal["ask", "bill"], Field(description="Whether readings with open findings stop it.")
    ] = "ask"

    @model_validator(mode="after")
    def _one_of_them(self) -> "ReRatingIn":
        if self.corrected_facts and self.concessions:
            raise ValueError("expected corrected_facts or concessions, one after the other")
        return self

    def cause(self) -> Cause:
        """The same as the services know it."""
        return "concession" if self.concessions else "facts" if self.corrected_facts else "usage"


class ReRatingOut(BaseModel):
    """The job that does it; its result tells how many charges were adjusted."""

    job_id: int
    job: Annotated[str, Field(examples=["/api/v1/jobs/40"])]


class AdjustmentNoteIn(Input):
    """Why the open adjustments of an account do not wait for its next bill."""

    reason: Reason


class PartIn(Input):
    """What is taken off, or put on, the line at this position of the bill."""

    position: Annotated[int, Field(ge=1, examples=[1])]
    amount: Amount


class NoteIn(Input):
    """A credit or debit note on lines of an issued bill."""

    kind: NoteKind
    lines: Annotated[list[PartIn], Field(min_length=1, max_length=200)]
    reason: Reason
    cause: Annotated[
        NoteCause,
        Field(
            description="`error`: the bill was wrong, and the next re-rating of the charge replaces the note by what "
            "is right. `goodwill`: a gift that stays beside it; only a credit note can be one."
        ),
    ] = "error"

    def parts(self) -> list[Part]:
        """The same as the services know it."""
        return [Part(one.position, Decimal(one.amount)) for one in self.lines]


class RefusalIn(Input):
    """Why a note is not issued."""

    reason: Reason


class RefusalQuery(ListQuery):
    """Which refused notes are wanted."""

    account_id: Id | None = None


class RefusalOut(BaseModel):
    """A note that was thrown away. `asked_for` and `reason`: why somebody asked for it, and why it was refused."""

    id: int
    project_id: int
    note_id: int
    account_id: int
    kind: NoteKind
    total: MoneyOut
    asked_by: int | None
    asked_for: str
    refused_by: int | None
    refused_at: datetime
    reason: str

    @classmethod
    def of(cls, one: Refusal) -> "RefusalOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            note_id=one.note_id,
            account_id=one.account_id,
            kind=one.kind,
            total=MoneyOut.of(one.total, one.currency),
            asked_by=one.asked_by,
            asked_for=one.asked_for,
            refused_by=one.refused_by,
            refused_at=one.refused_at,
            reason=one.reason,
        )


class SettledPartOut(BaseModel):
    """By how much a credit note lowers a bill."""

    bill_id: int
    number: str
    amount: MoneyOut


class SettlementOut(BaseModel):
    """What becomes of a credit note: parts and `kept`, the prepaid balance, are together what it gives."""

    issued: Annotated[bool, Field(description="Whether it is done; else what would be done today.")]
    parts: list[SettledPartOut]
    kept: MoneyOut

    @classmethod
    def of(cls, given: Given, currency: str, *, issued: bool) -> "SettlementOut":
        """From our records."""
        parts = [
            SettledPartOut(bill_id=one.bill_id, number=one.number, amount=MoneyOut.of(one.amount, currency))
            for one in given.parts
        ]
        return cls(issued=issued, parts=parts, kept=MoneyOut.of(given.kept, currency))


class FinalBillIn(Input):
    """When an account ends: `ends_on` is the first day that is not charged any more."""

    ends_on: Annotated[Day, Field(examples=[date(2026, 3, 16)])]
    charged_beyond: Annotated[
        bool, Field(description="Whether days after the end that are charged already stay charged.")
    ] = False
    open_exceptions: OpenExceptions = "ask"
    missing_readings: Annotated[
        MissingReadings, Field(description="`estimate` where no final reading can be had: needs `estimate_reason`.")
    ] = "ask"
    estimate_reason: Annotated[
        str,
        Field(max_length=300, examples=["meter burnt, no reading can be taken"], description="Why it is estimated."),
    ] = ""

    def options(self) -> RunOptions:
        """How the run goes about it."""
        return RunOptions(
            open_exceptions=self.open_exceptions,
            missing_readings=self.missing_readings,
            estimate_reason=self.estimate_reason,
        )
