"""Vouchers for accounting software: journals of a month put together, numbered and balanced. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Literal

from cloud.billing.ledger.chart import ExternalAccount

Grouping = Literal["day", "journal"]


@dataclass(frozen=True, slots=True)
class Booked:
    """Postings of one day and kind to one ledger account, added up side by side: debit and credit are at least 0.

    `journal`: the id of the journal where each is a voucher of its own, else 0. `documents`: so many journals.
    """

    day: date
    kind: str
    journal: int
    ledger_account: str
    debit: Decimal
    credit: Decimal
    documents: int
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a voucher: either `debit` or `credit` is 0."""

    ledger_account: str
    account: ExternalAccount
    debit: Decimal
    credit: Decimal


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher (凭证): its number within the month, its day, what it says, and lines that balance."""

    number: int
    day: date
    kind: str
    summary: str
    documents: int
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        """Debit, which is also the credit."""
        return sum((line.debit for line in self.lines), Decimal(0))


SUMMARIES: Mapping[str, str] = {
    "bill": "应收费用",
    "credit_note": "冲减应收费用",
    "debit_note": "补收费用",
    "credit_held": "冲减余额转预存款",
    "payment": "收款",
    "parking": "停车收费",
    "deposit": "收押金",
    "set-off": "预存款或押金抵扣",
    "refund": "退款",
    "refund_due": "应退停车费",
    "refund_kept": "无人认领款项转收入",
    "late_fee_returned": "退回违约金转预存款",
    "tax_adjusted": "调整税额",
}
"""What a voucher says of a kind of journal; other kinds are said by their code."""


class Unbalanced(ValueError):
    """Debit and credit of a voucher differ: the ledger itself forbids that."""


def vouchers(booked: Iterable[Booked], accounts: Mapping[str, ExternalAccount]) -> list[Voucher]:
    """Vouchers in the order of day, kind and journal, numbered from 1; the same input gives the same vouchers.

    `accounts` names the account of the software for every ledger account. Raises Unbalanced, KeyError.
    """
    rows = sorted(booked, key=lambda row: (row.day, row.kind, row.journal, row.ledger_account))
    made = []
    for number, ((day, kind, _), group) in enumerate(
        groupby(rows, key=lambda row: (row.day, row.kind, row.journal)), start=1
    ):
        parts = list(group)
        documents = max(row.documents for row in parts)
        summary = " ".join(filter(None, (SUMMARIES.get(kind, kind), parts[0].reference)))
        if parts[0].journal == 0 and documents > 1:
            summary += f"({documents}笔)"
        lines = tuple(line for side in ("debit", "credit") for line in _lines(parts, side, accounts))
        voucher = Voucher(number, day, kind, summary, documents, lines)
        if voucher.total != sum((line.credit for line in lines), Decimal(0)):
            raise Unbalanced(f"voucher {number} of {day}")
        made.append(voucher)
    return made


def _lines(parts: Iterable[Booked], side: str, accounts: Mapping[str, ExternalAccount]) -> Iterator[Line]:
    for row in parts:
        debit, credit = (row.debit, Decimal(0)) if side == "debit" else (Decimal(0), row.credit)
        if debit or credit:
            yield Line(row.ledger_account, accounts[row.ledger_account], debit, credit)
