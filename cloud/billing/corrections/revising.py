"""Keeps revisions of charges: notes by hand are counted, and tax that moves without an amount is booked at once."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, LiteralString

from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.adjustments import ChargeState
from cloud.billing.corrections.counting import Counted, Taxes, counted
from cloud.billing.corrections.standings import standings
from cloud.billing.ledger import journals as ledger
from cloud.billing.ledger.journals import Journal, Posting
from cloud.billing.terms.service import terms_today
from cloud.estate.records import Project
from cloud.kit.db import Conn

# Nobody owes or gets anything, so that no bill takes it up: only the ledger is told.
_TAX_ALONE: LiteralString = """
    SELECT a.id, c.service, t.key AS component, sum(t.value::numeric * t.sign) AS amount
    FROM adjustment a JOIN charge c ON c.id = a.charge_id
    CROSS JOIN LATERAL (SELECT key, value, 1 AS sign FROM jsonb_each_text(a.taxes)
                        UNION ALL SELECT key, value, 1 FROM jsonb_each_text(a.counted_taxes)
                        UNION ALL SELECT key, value, -1 FROM jsonb_each_text(a.old_taxes)) AS t
    WHERE a.project_id = %(project_id)s AND a.difference = 0
      AND (a.taxes <> a.old_taxes OR a.counted_taxes <> '{}')
      AND NOT EXISTS (SELECT FROM billed_adjustment d WHERE d.adjustment_id = a.id)
      AND NOT EXISTS (SELECT FROM journal j WHERE j.project_id = a.project_id AND j.kind = 'tax_adjusted'
                                              AND j.source = 'adjustment' AND j.source_id = a.id)
    GROUP BY a.id, c.service, t.key HAVING sum(t.value::numeric * t.sign) <> 0 ORDER BY a.id, t.key
"""


async def keep_revisions(
    conn: Conn, project: Project, states: Sequence[ChargeState], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Writes revisions of these charges. Raises psycopg UniqueViolation where another re-rating was faster."""
    if not rows:
        return
    of_charge = {one.charge_id: one for one in states}
    standing = await standings(conn, [row["charge_id"] for row in rows if _revises(row)])
    kept = []
    for row in rows:
        there = standing.get(row["charge_id"])
        was = row["old_amount"], _decimals(row["old_taxes"])
        found = counted(was, (row["amount"], _decimals(row["taxes"])), there) if there is not None else None
        kept.append({"project_id": project.id, **row, **_columns(found, row, of_charge[row["charge_id"]])})
    await adjustments_repository.insert(conn, kept)
    await book_tax_alone(conn, project)


async def book_tax_alone(conn: Conn, project: Project) -> int:
    """Books what revisions that come to nothing have made tax, or no tax any more; how many. On a bill they stay."""
    today, _ = await terms_today(conn, project.id)
    postings: dict[int, list[Posting]] = {}
    for row in await (await conn.execute(_TAX_ALONE, {"project_id": project.id})).fetchall():
        postings.setdefault(row["id"], []).extend(
            (Posting(f"revenue:{row['service']}", row["amount"]), Posting(f"tax:{row['component']}", -row["amount"]))
        )
    journals = [
        Journal(project.id, "tax_adjusted", today, "adjustment", adjustment_id, project.currency, tuple(mine))
        for adjustment_id, mine in postings.items()
    ]
    await ledger.book(conn, journals)
    return len(journals)


def _revises(row: Mapping[str, Any]) -> bool:
    return bool(row["amount"] != row["old_amount"]) or _decimals(row["taxes"]) != _decimals(row["old_taxes"])


def _columns(found: Counted | None, row: Mapping[str, Any], state: ChargeState) -> dict[str, object]:
    if found is None:
        return {"counted": Decimal(0), "counted_taxes": {}}
    lines = [*row["differences"], *([_line(found, state)] if found.amount else [])]
    return {"counted": found.amount, "counted_taxes": found.taxes, "differences": lines}


def _line(found: Counted, state: ChargeState) -> dict[str, Any]:
    """The line of a bill that says so."""
    detail = {
        "of": "note",
        "bill": state.bill_number,
        "bill_id": state.bill_id,
        "line": None,
        "period": str(state.period),
        "notes": list(found.notes),
    }
    names = ("tier", "time_period", "season", "unit", "price", "quantity")
    return dict.fromkeys(names) | {"component": "note", "amount": found.amount, "detail": detail}


def _decimals(taxes: Mapping[str, Decimal | str]) -> Taxes:
    return {component: part for component, told in taxes.items() if (part := Decimal(told))}
