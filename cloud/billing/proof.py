"""The proof that ledger, bills and payments agree, sum by sum, and the history of its results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.metering import apportioning

_KEPT = 50
"""So many discrepancies a stored proof names; it counts them all."""

# Each part lists what should be equal and is not. `payment` and its allocations are read here as evidence only:
# a proof that asked the code that booked them would prove nothing.
_PROOF: LiteralString = """
    WITH parts AS (
        SELECT bill_id, sum(principal) AS principal
        FROM payment_allocation WHERE project_id = %(project_id)s GROUP BY bill_id
    ), booked AS (
        SELECT account_id, ledger_account, sum(amount) AS amount
        FROM posting WHERE project_id = %(project_id)s AND ledger_account IN ('receivable', 'liability:prepaid')
        GROUP BY account_id, ledger_account
    )
    SELECT 'journal' AS what, journal_id AS id, 0::numeric AS expected, sum(amount) AS found
    FROM posting WHERE project_id = %(project_id)s GROUP BY journal_id HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'empty-journal', j.id, 1, 0 FROM journal j
    WHERE j.project_id = %(project_id)s AND NOT EXISTS (SELECT FROM posting p WHERE p.journal_id = j.id)
    UNION ALL
    SELECT 'ledger', %(project_id)s, 0, sum(amount) FROM posting WHERE project_id = %(project_id)s
    HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'bill', b.id, b.total, coalesce(l.amount, 0)
    FROM bill b LEFT JOIN (SELECT bill_id, sum(amount) AS amount FROM bill_line
                           WHERE project_id = %(project_id)s GROUP BY bill_id) l ON l.bill_id = b.id
    WHERE b.project_id = %(project_id)s AND b.total <> coalesce(l.amount, 0)
    UNION ALL
    SELECT 'bill-journal', b.id, b.total, coalesce(p.amount, 0)
    FROM bill b LEFT JOIN (
        SELECT j.source_id, sum(p.amount) AS amount FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s AND j.kind IN ('bill', 'credit_note', 'debit_note') AND j.source = 'bill'
          AND p.ledger_account = 'receivable'
        GROUP BY j.source_id) p ON p.source_id = b.id
    WHERE b.project_id = %(project_id)s AND b.state <> 'draft' AND b.total <> coalesce(p.amount, 0)
    UNION ALL
    SELECT 'receivable', coalesce(open.account_id, booked.account_id), coalesce(open.amount, 0),
           coalesce(booked.amount, 0)
    FROM (SELECT b.account_id, sum(b.total - coalesce(parts.principal, 0)) AS amount
          FROM bill b LEFT JOIN parts ON parts.bill_id = b.id
          WHERE b.project_id = %(project_id)s AND b.state NOT IN ('draft', 'void')
          GROUP BY b.account_id) AS open
    FULL JOIN (SELECT * FROM booked WHERE ledger_account = 'receivable') AS booked
      ON booked.account_id = open.account_id
    WHERE coalesce(open.amount, 0) <> coalesce(booked.amount, 0)
    UNION ALL
    SELECT 'payment', p.id, p.amount - coalesce(a.amount, 0), coalesce(k.amount, 0)
    FROM payment p
    LEFT JOIN (SELECT payment_id, sum(principal + late_fee) AS amount FROM payment_allocation
               WHERE project_id = %(project_id)s GROUP BY payment_id) a ON a.payment_id = p.id
    LEFT JOIN (SELECT j.source_id, -sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'payment' AND o.ledger_account = 'liability:prepaid'
               GROUP BY j.source_id) k ON k.source_id = p.id
    WHERE p.project_id = %(project_id)s AND p.purpose IN ('bill', 'balance') AND p.state = 'settled'
      AND p.amount - coalesce(a.amount, 0) <> coalesce(k.amount, 0)
    UNION ALL
    SELECT 'late-fee', w.id, w.returned, coalesce(k.amount, 0)
    FROM late_fee_waiver w
    LEFT JOIN (SELECT j.source_id, -sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'late_fee_waiver'
                 AND o.ledger_account = 'liability:prepaid'
               GROUP BY j.source_id) k ON k.source_id = w.id
    WHERE w.project_id = %(project_id)s AND w.state = 'approved' AND w.returned <> coalesce(k.amount, 0)
    UNION ALL
    SELECT 'prepaid', account_id, 0, -amount FROM booked WHERE ledger_account = 'liability:prepaid' AND amount > 0
    UNION ALL
    SELECT 'series', s.id, s.next - 1, (SELECT count(*) FROM bill b WHERE b.project_id = s.project_id
                                        AND b.number ~ ('^' || substr(s.series, 6) || '-\\d{6,}$'))
    FROM number_series s
    WHERE s.project_id = %(project_id)s AND s.series ~ '^bill-\\d{4}$'
      AND s.next - 1 <> (SELECT count(*) FROM bill b WHERE b.project_id = s.project_id
                         AND b.number ~ ('^' || substr(s.series, 6) || '-\\d{6,}$'))
"""
_SIZES: LiteralString = """
    SELECT (SELECT count(*) FROM journal WHERE project_id = %(project_id)s) AS journals,
           (SELECT count(*) FROM bill WHERE project_id = %(project_id)s AND state <> 'draft') AS bills,
           (SELECT count(DISTINCT account_id) FROM posting WHERE project_id = %(project_id)s) AS accounts
"""
_INSERT: LiteralString = """
    INSERT INTO ledger_proof (project_id, journals, bills, accounts, discrepancies, found)
    VALUES (%(project_id)s, %(journals)s, %(bills)s, %(accounts)s, %(discrepancies)s, %(found)s)
    RETURNING id, project_id, proved_at, journals, bills, accounts, discrepancies, found
"""
_LIST: LiteralString = """
    SELECT id, project_id, proved_at, journals, bills, accounts, discrepancies, found
    FROM ledger_proof WHERE project_id = %s AND id < %s ORDER BY id DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Two sums that should be equal and are not.

    `what`: journal (sums to zero), empty-journal, ledger (all together), bill (its lines), bill-journal (what was
    booked of it), receivable (of an account, against its open bills), payment (what it left over after bills, against
    what was booked as paid in advance), late-fee (given back, against what was booked of it), prepaid (of an account:
    never less than nothing), series (bills numbered in it, against numbers given), shares (of an apportionment run, in
    its base unit, against what was to be shared out).
    """

    what: str
    id: int
    expected: Decimal
    found: Decimal

    def __str__(self) -> str:
        return f"{self.what} {self.id}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof: how much was looked at, how many sums disagree, and the first of them."""

    id: int
    project_id: int
    proved_at: datetime
    journals: int
    bills: int
    accounts: int
    discrepancies: int
    found: tuple[Discrepancy, ...]


async def discrepancies(conn: Conn, project_id: int) -> list[Discrepancy]:
    """Everything in a project that does not add up; empty when all is well."""
    rows = await (await conn.execute(_PROOF, {"project_id": project_id})).fetchall()
    return [*(Discrepancy(**row) for row in rows), *await _shares(conn, project_id)]


async def _shares(conn: Conn, project_id: int) -> list[Discrepancy]:
    """What is shared out among units is charged to them: the shares of a loss are the loss."""
    return [
        Discrepancy("shares", one.run_id, Decimal(one.expected), Decimal(one.shared))
        for one in await apportioning.unshared(conn, project_id)
    ]


async def prove(conn: Conn, project_id: int) -> tuple[Proof, list[Discrepancy]]:
    """Proves the ledger of a project and keeps the result; gives also all that disagrees."""
    wrong = await discrepancies(conn, project_id)
    sizes = await (await conn.execute(_SIZES, {"project_id": project_id})).fetchone()
    assert sizes is not None
    values = {
        **sizes,
        "project_id": project_id,
        "discrepancies": len(wrong),
        "found": Jsonb([asdict(one) for one in wrong[:_KEPT]]),
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return _proof(row), wrong


async def list_proofs(conn: Conn, page: PageRequest, project_id: int) -> Page[Proof]:
    """Proofs of a project, newest first."""
    rows = await (await conn.execute(_LIST, (project_id, after_id(page, MAX_ID), page.limit + 1))).fetchall()
    return cut([_proof(row) for row in rows], page, lambda one: (one.id,))


def _proof(row: dict[str, Any]) -> Proof:
    kept: Sequence[dict[str, Any]] = row.pop("found")
    found = tuple(Discrepancy(one["what"], one["id"], Decimal(one["expected"]), Decimal(one["found"])) for one in kept)
    return Proof(found=found, **row)
