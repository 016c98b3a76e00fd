"""What the API of the ledger takes and gives."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from cloud.billing.ledger.accounts import LedgerAccount
from cloud.billing.ledger.balances import AccountBalance, Aged, Entry, TrialBalance
from cloud.billing.ledger.chart import Class, ExternalAccount
from cloud.billing.ledger.months import AccountingMonth
from cloud.billing.ledger.proof import Discrepancy, Proof
from cloud.billing.vouchers.exports import VoucherExport
from cloud.billing.vouchers.files import FileType
from cloud.billing.vouchers.layouts import Layout
from cloud.billing.vouchers.making import Grouping
from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Input, PageQuery
from cloud.kit.periods import Period

MonthText = Annotated[str, Field(pattern=r"^(19[7-9]\d|20\d\d|21\d\d)-(0[1-9]|1[0-2])$", examples=["2026-01"])]
Code = Annotated[str, Field(min_length=1, max_length=100, examples=["revenue:electricity"])]


def first_day(month: str) -> date:
    """First day of a month such as 2026-01."""
    return date.fromisoformat(f"{month}-01")


class RangeQuery(Input):
    """Accounting days from `from` up to, not including, `to`."""

    start: Annotated[Day, Field(alias="from")]
    to: Day

    @model_validator(mode="after")
    def _in_order(self) -> "RangeQuery":
        if self.to <= self.start:
            raise ValueError("expected `to` after `from`")
        return self

    def period(self) -> Period:
        """The same as the services know it."""
        return Period(self.start, self.to)


class BalanceOut(BaseModel):
    """One ledger account: positive balances are debit. `number` and `name`: of the accounting software, where known."""

    ledger_account: Annotated[str, Field(examples=["receivable"])]
    number: Annotated[str | None, Field(examples=["1122"])]
    name: Annotated[str | None, Field(examples=["应收账款"])]
    opening: MoneyOut
    debit: MoneyOut
    credit: MoneyOut
    closing: MoneyOut

    @classmethod
    def of(cls, one: AccountBalance, external: ExternalAccount | None, currency: str) -> "BalanceOut":
        """From our records."""
        return cls(
            ledger_account=one.ledger_account,
            number=None if external is None else external.code,
            name=None if external is None else external.name,
            opening=MoneyOut.of(one.opening, currency),
            debit=MoneyOut.of(one.debit, currency),
            credit=MoneyOut.of(one.credit, currency),
            closing=MoneyOut.of(one.closing, currency),
        )


class TrialBalanceOut(BaseModel):
    """All ledger accounts of a project; the total's opening and closing are 0, its debit equals its credit."""

    project_id: int
    start: date
    end: date
    items: list[BalanceOut]
    total: BalanceOut

    @classmethod
    def of(
        cls, project_id: int, found: TrialBalance, known: dict[str, ExternalAccount | None], currency: str
    ) -> "TrialBalanceOut":
        """From our records."""
        return cls(
            project_id=project_id,
            start=found.period.start,
            end=found.period.end,
            items=[BalanceOut.of(one, known[one.ledger_account], currency) for one in found.accounts],
            total=BalanceOut.of(found.total, None, currency),
        )


class StatementQuery(PageQuery):
    """Which postings of an account: of one ledger account or all, from a day up to, not including, another."""

    ledger_account: Code | None = None
    start: Annotated[Day | None, Field(alias="from")] = None
    to: Day | None = None


class EntryOut(BaseModel):
    """One posting and the balance after it. `occurred_on` differs from `booked_on` where its month was closed."""

    id: int
    journal_id: int
    booked_on: date
    occurred_on: date
    kind: Annotated[str, Field(examples=["bill"])]
    source: Annotated[str, Field(examples=["bill"])]
    source_id: int
    number: Annotated[str | None, Field(examples=["2026-000001"])]
    ledger_account: Code
    amount: MoneyOut
    balance: MoneyOut

    @classmethod
    def of(cls, one: Entry, currency: str) -> "EntryOut":
        """From our records."""
        return cls(
            amount=MoneyOut.of(one.amount, currency),
            balance=MoneyOut.of(one.balance, currency),
            **{
                name: getattr(one, name)
                for name in (
                    "id", "journal_id", "booked_on", "occurred_on", "kind", "source", "source_id", "number",
                    "ledger_account",
                )
            },
        )  # fmt: skip


class AgedQuery(PageQuery):
    """As of the end of which day; today unless given."""

    as_of: Day | None = None


class AgedOut(BaseModel):
    """Open principal of an account by days since it was due."""

    account_id: int
    total: MoneyOut
    not_due: MoneyOut
    to_30: MoneyOut
    to_60: MoneyOut
    to_90: MoneyOut
    over_90: MoneyOut

    @classmethod
    def of(cls, one: Aged, currency: str) -> "AgedOut":
        """From our records."""
        return cls(
            account_id=one.account_id,
            total=MoneyOut.of(one.total, currency),
            not_due=MoneyOut.of(one.not_due, currency),
            to_30=MoneyOut.of(one.to_30, currency),
            to_60=MoneyOut.of(one.to_60, currency),
            to_90=MoneyOut.of(one.to_90, currency),
            over_90=MoneyOut.of(one.over_90, currency),
        )


class LedgerAccountIn(Input):
    """Number and name of an account in the accounting software."""

    number: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,30}$", examples=["600101"])]
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["电费收入"])]


class LedgerAccountOut(BaseModel):
    """One of our accounts. `own`: the project set its number; `used`: something is booked on it."""

    project_id: int
    code: Code
    kind: Class
    number: str | None
    name: str | None
    own: bool
    used: bool

    @classmethod
    def of(cls, one: LedgerAccount) -> "LedgerAccountOut":
        """From our records."""
        return cls(
            project_id=one.project_id,
            code=one.code,
            kind=one.kind,
            number=None if one.external is None else one.external.code,
            name=None if one.external is None else one.external.name,
            own=one.own,
            used=one.used,
        )


class MonthIn(Input):
    """The month to close."""

    month: MonthText


class ReopeningIn(Input):
    """Why a closed month is opened again."""

    reason: Annotated[str, Field(min_length=1, max_length=500, examples=["The auditor asked for a correction"])]


class MonthOut(BaseModel):
    """One closing of a month, and its reopening."""

    id: int
    project_id: int
    month: MonthText
    closed_by: int | None
    closed_at: datetime
    reopened_by: int | None
    reopened_at: datetime | None
    reopening_reason: str | None

    @classmethod
    def of(cls, one: AccountingMonth) -> "MonthOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            month=f"{one.month:%Y-%m}",
            closed_by=one.closed_by,
            closed_at=one.closed_at,
            reopened_by=one.reopened_by,
            reopened_at=one.reopened_at,
            reopening_reason=one.reopening_reason,
        )


class DiscrepancyOut(BaseModel):
    """Two sums that should be equal and are not."""

    what: Annotated[str, Field(examples=["receivable"])]
    id: int
    expected: Annotated[str, Field(examples=["12.30"])]
    found: Annotated[str, Field(examples=["0"])]

    @classmethod
    def of(cls, one: Discrepancy) -> "DiscrepancyOut":
        """From our records."""
        return cls(what=one.what, id=one.id, expected=format(one.expected, "f"), found=format(one.found, "f"))


class ProofOut(BaseModel):
    """One proof: how much was looked at, how many sums disagree, and the first 50 of them."""

    id: int
    project_id: int
    proved_at: datetime
    journals: int
    bills: int
    accounts: int
    discrepancies: int
    found: list[DiscrepancyOut]

    @classmethod
    def of(cls, one: Proof) -> "ProofOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            proved_at=one.proved_at,
            journals=one.journals,
            bills=one.bills,
            accounts=one.accounts,
            discrepancies=one.discrepancies,
            found=[DiscrepancyOut.of(wrong) for wrong in one.found],
        )


class ExportIn(Input):
    """The vouchers of which month, for which software. `file_type` is the usual one of the layout unless given."""

    month: MonthText
    layout: Layout = "plain"
    file_type: FileType | None = None
    grouping: Annotated[Grouping, Field(description="A voucher for each day and kind, or for each journal.")] = "day"


class ExportOut(BaseModel):
    """A file that was made; `same_as` names the first of a closed month, which it repeats byte by byte."""

    id: int
    project_id: int
    month: MonthText
    layout: Layout
    file_type: FileType
    grouping: Grouping
    month_state: Literal["open", "closed"]
    vouchers: int
    lines: int
    total: MoneyOut
    sha256: Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])]
    same_as: int | None
    exported_by: int | None
    exported_at: datetime
    file: Annotated[str, Field(examples=["/api/v1/voucher-exports/1/file"])]

    @classmethod
    def of(cls, one: VoucherExport, currency: str) -> "ExportOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            month=f"{one.month:%Y-%m}",
            layout=one.layout,
            file_type=one.file_type,
            grouping=one.grouping,
            month_state="open" if one.closing_id is None else "closed",
            vouchers=one.vouchers,
            lines=one.lines,
            total=MoneyOut.of(one.total, currency),
            sha256=one.sha256,
            same_as=one.same_as,
            exported_by=one.exported_by,
            exported_at=one.exported_at,
            file=f"/api/v1/voucher-exports/{one.id}/file",
        )
