"""The double-entry ledger: journals that sum to zero, and the proof that it agrees with the bills."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn

RECEIVABLE = "receivable"
PREPAID = "liability:prepaid"
DEPOSIT = "liability:deposit"
LATE_FEE_REVENUE = "revenue:late_fee"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a journal: positive is debit, negative credit. `account_id`: whose, where it is somebody's."""

    ledger_account: str
    amount: Decimal
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """What happened, on which day, because of which row of which table. Its postings sum to zero."""

    project_id: int
    kind: str
    booked_on: date
    source: str
    source_id: int
    currency: str
    postings: tuple[Posting, ...]


_INSERT: LiteralString = """
    INSERT INTO journal (project_id, kind, booked_on, source, source_id, currency)
    SELECT project_id, kind, booked_on, source, source_id, currency
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, kind text, booked_on date, source text, source_id bigint,
                                        currency text)
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
_PROOF: LiteralString = """
    SELECT 'journal' AS what, journal_id AS id, 0::numeric AS expected, sum(amount) AS found
    FROM posting WHERE project_id = %(project_id)s GROUP BY journal_id HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'bill', b.id, b.total, coalesce((SELECT sum(l.amount) FROM bill_line l WHERE l.bill_id = b.id), 0)
    FROM bill b WHERE b.project_id = %(project_id)s
      AND b.total <> coalesce((SELECT sum(l.amount) FROM bill_line l WHERE l.bill_id = b.id), 0)
    UNION ALL
    SELECT 'receivable', coalesce(open.account_id, booked.account_id), coalesce(open.amount, 0),
           coalesce(booked.amount, 0)
    FROM (SELECT b.account_id, sum(b.total - coalesce((SELECT sum(a.principal) FROM payment_allocation a
                                                       WHERE a.bill_id = b.id), 0)) AS amount
          FROM bill b WHERE b.project_id = %(project_id)s AND b.state NOT IN ('draft', 'void')
          GROUP BY b.account_id) AS open
    FULL JOIN (SELECT account_id, sum(amount) AS amount FROM posting
               WHERE project_id = %(project_id)s AND ledger_account = 'receivable' GROUP BY account_id) AS booked
      ON booked.account_id = open.account_id
    WHERE coalesce(open.amount, 0) <> coalesce(booked.amount, 0)
"""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Two sums that should be equal and are not: of a journal, of a bill, of an account's receivable."""

    what: str
    id: int
    expected: Decimal
    found: Decimal

    def __str__(self) -> str:
        return f"{self.what} {self.id}: expected {self.expected}, found {self.found}"


async def book(conn: Conn, journals: Sequence[Journal]) -> None:
    """Writes journals and their postings; nothing is booked twice for the same source (psycopg UniqueViolation).

    Postings of 0 are left out, and so are journals without postings.
    """
    wanted = {
        (journal.project_id, journal.kind, journal.source, journal.source_id): journal
        for journal in journals
        if any(posting.amount for posting in journal.postings)
    }
    heads = [
        {
            "project_id": journal.project_id,
            "kind": journal.kind,
            "booked_on": journal.booked_on,
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


async def balance(conn: Conn, account_id: int, ledger_account: str) -> Decimal:
    """Debit minus credit of one account in one ledger account."""
    row = await (await conn.execute(_BALANCE, (account_id, ledger_account))).fetchone()
    assert row is not None
    amount: Decimal = row["balance"]
    return amount


async def discrepancies(conn: Conn, project_id: int) -> list[Discrepancy]:
    """Everything in a project that does not add up; empty when all is well."""
    rows = await (await conn.execute(_PROOF, {"project_id": project_id})).fetchall()
    return [Discrepancy(**row) for row in rows]
