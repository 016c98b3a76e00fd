"""The double-entry ledger: journals that sum to zero, written once, on a day whose month is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal, LiteralString, get_args

from psycopg.types.json import Jsonb

from cloud.billing.ledger.months import open_from
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.money import minor_digits, round_half_up

RECEIVABLE = "receivable"
PREPAID = "liability:prepaid"
DEPOSIT = "liability:deposit"
LATE_FEE_REVENUE = "revenue:late_fee"

JournalKind = Literal[
    "bill",
    "credit_note",
    "debit_note",
    "credit_held",
    "payment",
    "parking",
    "deposit",
    "set-off",
    "refund",
    "refund_due",
    "refund_kept",
    "late_fee_returned",
    "tax_adjusted",
]
KINDS: Final[tuple[JournalKind, ...]] = get_args(JournalKind)
"""Why something is booked: each has a name for people (words) and a summary on vouchers."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a journal: positive is debit, negative credit. `account_id`: whose, where it is somebody's."""

    ledger_account: str
    amount: Decimal
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """What happened, on which day, because of which row of which table. Its postings sum to zero.

    `booked_on` is the day of the event; `book` moves it to the first open day where its month is closed.
    """

    project_id: int
    kind: JournalKind
    booked_on: date
    source: str
    source_id: int
    currency: str
    postings: tuple[Posting, ...]


_INSERT: LiteralString = """
    INSERT INTO journal (project_id, kind, booked_on, occurred_on, source, source_id, currency)
    SELECT project_id, kind, booked_on, occurred_on, source, source_id, currency
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, kind text, booked_on date, occurred_on date, source text,
                                        source_id bigint, currency text)
    RETURNING id, project_id, kind, source, source_id
"""
_INSERT_POSTINGS: LiteralString = """
    INSERT INTO posting (project_id, journal_id, ledger_account, account_id, amount)
    SELECT project_id, journal_id, ledger_account, account_id, amount
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, journal_id bigint, ledger_account text, account_id bigint,
                                        amount numeric)
"""
_BALANCE: LiteralString = """
    SELECT coalesce(sum(amount), 0) AS balance FROM posting WHERE account_id = %s AND ledger_account = %s
"""


async def book(conn: Conn, journals: Sequence[Journal]) -> None:
    """Writes journals and their postings; nothing is booked twice for the same source (psycopg UniqueViolation).

    Postings of 0 are left out, and so are journals without postings. What happened in a closed month is booked on the
    first open day and keeps its own day beside. Raises InvalidInput for an amount finer than its currency; what does
    not balance the database refuses when the transaction commits (psycopg IntegrityConstraintViolation).
    """
    for journal in journals:
        _check_decimals(journal)
    first = await open_from(conn, {journal.project_id for journal in journals})
    wanted = {
        (journal.project_id, journal.kind, journal.source, journal.source_id): journal
        for journal in journals
        if any(posting.amount for posting in journal.postings)
    }
    heads = [
        {
            "project_id": journal.project_id,
            "kind": journal.kind,
            "booked_on": max(journal.booked_on, first.get(journal.project_id, journal.booked_on)),
            "occurred_on": journal.booked_on,
            "source": journal.source,
            "source_id": journal.source_id,
            "currency": journal.currency,
        }
        for journal in wanted.values()
    ]
    rows = await (await conn.execute(_INSERT, (Jsonb(heads),))).fetchall()
    postings = [
        {
            "project_id": row["project_id"],
            "journal_id": row["id"],
            "ledger_account": posting.ledger_account,
            "account_id": posting.account_id,
            "amount": posting.amount,
        }
        for row in rows
        for posting in wanted[row["project_id"], row["kind"], row["source"], row["source_id"]].postings
        if posting.amount
    ]
    await conn.execute(_INSERT_POSTINGS, (Jsonb(postings),))


def _check_decimals(journal: Journal) -> None:
    digits = minor_digits(journal.currency)
    for posting in journal.postings:
        if posting.amount != round_half_up(posting.amount, digits):
            raise InvalidInput(
                "bad-decimals",
                f"{posting.ledger_account}: {journal.currency} has {digits} decimals, got {posting.amount}",
                field="amount",
            )


async def balance(conn: Conn, account_id: int, ledger_account: str) -> Decimal:
    """Debit minus credit of one account in one ledger account."""
    row = await (await conn.execute(_BALANCE, (account_id, ledger_account))).fetchone()
    assert row is not None
    amount: Decimal = row["balance"]
    return amount
