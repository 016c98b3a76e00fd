"""The proof that ledger, bills and payments agree, sum by sum, and the history of its results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.ledger import proof_sql
from cloud.kit.db import Conn
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.metering.apportionment import service as apportioning

_KEPT = 50
"""So many discrepancies a stored proof names; it counts them all."""

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


_QUERIES = (
    proof_sql.BILLS_AND_PAYMENTS,
    proof_sql.HELD_MONEY,
    proof_sql.TAXES,
    proof_sql.PARKING,
    proof_sql.CARDS,
    proof_sql.MONTHS,
)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Two sums that should be equal and are not.

    `what`: journal (sums to zero), empty-journal, ledger (all together), bill (its lines), bill-journal (what was
    booked of it), receivable (of an account, against its open bills), payment (what it left over after bills, against
    what was booked as paid in advance), prepaid (of an account: never less than nothing), series (bills numbered in
    it, against numbers given); held-balance and held-deposit (of an account: what came in and went out, against the
    ledger), cash (of a payment: what was booked as received), deposit (its payment), set-off (what it paid of bills),
    set-off-journal, refund (what was booked as paid out), release (its set-off), late-fee (given back, against what
    was booked of it), late-fees (all that were paid and not given back); bill-tax (what its charges, corrections and
    lines say is tax, by component, against what was booked as that), correction-tax (the same of a correction that came
    to nothing and is on no bill), tax (booked as such because of anything else: nothing); parking-payment (what it paid
    of stays and what is to go back of it), parking-revenue and parking-tax (of all that stays were paid, against what
    was booked), due-back (the refund queue, against the ledger), given-back (of a refund: what was booked as paid out),
    parking-unpaid (of a stay: its fee less payments and waivers); card-months (what a period of a parking card cost,
    against its months), card-refund (what was booked of it), card-given-back (months of a permit that were paid and
    given back, against its refunds);
    month-balance (what was stored of a closed month, against its journals); shares (of an apportionment run, in its
    base unit, against what was to be shared out).
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
    values = {"project_id": project_id}
    found = [Discrepancy(**row) for query in _QUERIES for row in await (await conn.execute(query, values)).fetchall()]
    return [*found, *await _shares(conn, project_id)]


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
