"""What charges come to on all bills and notes, and how much of that may be given back still."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import LiteralString

from cloud.billing.corrections.counting import ByHand, Standing, Taxes, added
from cloud.kit.db import Conn

# What a line of a note by hand is of tax. A line about a tax is tax, also in notes that did not say so yet.
TAXES_OF_LINE: LiteralString = """
    coalesce(l.detail -> 'taxes', CASE WHEN l.detail ->> 'of' = 'tax'
                                       THEN jsonb_build_object(l.component, l.amount::text) ELSE '{}' END)
"""
_AMOUNTS: LiteralString = """
    SELECT c.id AS charge_id,
           c.amount + coalesce((SELECT sum(a.difference) FROM adjustment a WHERE a.charge_id = c.id), 0) AS amount
    FROM charge c WHERE c.id = ANY (%(charges)s)
"""
_TAXES: LiteralString = """
    SELECT charge_id, component, sum(amount) AS amount
    FROM (SELECT c.id AS charge_id, t.key AS component, t.value::numeric AS amount
          FROM charge c CROSS JOIN LATERAL jsonb_each_text(c.taxes) AS t WHERE c.id = ANY (%(charges)s)
          UNION ALL
          SELECT a.charge_id, t.key, t.value::numeric * t.sign
          FROM adjustment a
          CROSS JOIN LATERAL (SELECT key, value, 1 AS sign FROM jsonb_each_text(a.taxes)
                              UNION ALL SELECT key, value, 1 FROM jsonb_each_text(a.counted_taxes)
                              UNION ALL SELECT key, value, -1 FROM jsonb_each_text(a.old_taxes)) AS t
          WHERE a.charge_id = ANY (%(charges)s)) AS part
    GROUP BY charge_id, component
"""
# Notes from before causes were told are gifts: nothing of them is taken back unasked.
_BY_HAND: LiteralString = """
    SELECT l.charge_id, b.id AS note_id, b.number, l.amount, {taxes} AS taxes,
           coalesce(b.inputs -> 'note' ->> 'cause', CASE b.kind WHEN 'credit_note' THEN 'goodwill' ELSE 'error' END)
           AS cause
    FROM charge c
    JOIN bill o ON o.id = c.bill_id
    JOIN bill b ON b.account_id = o.account_id AND b.kind <> 'bill' AND b.state <> 'void'
         AND b.inputs -> 'note' ->> 'bill' IS NOT NULL
    JOIN bill_line l ON l.bill_id = b.id AND l.charge_id = c.id
    WHERE c.id = ANY (%(charges)s) AND (%(waiting)s OR b.state <> 'draft' OR b.id = %(note_id)s)
    ORDER BY b.id, l.position
""".replace("{taxes}", TAXES_OF_LINE)


# What holds of a charge is its latest revision.
_NOW: LiteralString = """
    SELECT c.id AS charge_id, coalesce(r.amount, c.amount) AS amount, coalesce(r.taxes, c.taxes) AS taxes,
           coalesce((SELECT jsonb_agg(DISTINCT one ->> 'component') FROM jsonb_array_elements(r.lines) AS one
                     WHERE one ->> 'kind' = 'tax'),
                    (SELECT jsonb_agg(DISTINCT l.component) FROM bill_line l
                     WHERE r.id IS NULL AND l.bill_id = c.bill_id AND l.charge_id = c.id AND l.kind = 'tax'),
                    '[]') AS on_top
    FROM charge c
    LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
    WHERE c.id = ANY (%s)
"""


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge by its latest revision: amount, what of it is tax, and which taxes are lines of their own."""

    amount: Decimal
    taxes: Taxes
    on_top: tuple[str, ...]


async def charged_now(conn: Conn, charge_ids: Sequence[int]) -> dict[int, Charged]:
    """These charges as they should be, notes by hand aside."""
    return {
        row["charge_id"]: Charged(
            row["amount"],
            {component: Decimal(part) for component, part in row["taxes"].items()},
            tuple(row["on_top"]),
        )
        for row in await (await conn.execute(_NOW, (list(charge_ids),))).fetchall()
    }


async def standings(
    conn: Conn, charge_ids: Sequence[int], *, waiting: bool = False, note_id: int | None = None
) -> dict[int, Standing]:
    """How these charges stand: as billed, with all their revisions and issued notes by hand.

    `waiting`: with notes that wait for approval too; `note_id`: with this one.
    """
    values = {"charges": sorted(set(charge_ids)), "waiting": waiting, "note_id": note_id}
    taxes: dict[int, dict[str, Decimal]] = defaultdict(dict)
    for row in await (await conn.execute(_TAXES, values)).fetchall():
        taxes[row["charge_id"]][row["component"]] = row["amount"]
    notes: dict[int, list[ByHand]] = defaultdict(list)
    for row in await (await conn.execute(_BY_HAND, values)).fetchall():
        of_tax = {component: Decimal(part) for component, part in row.pop("taxes").items()}
        notes[row.pop("charge_id")].append(ByHand(taxes=of_tax, **row))
    return {
        row["charge_id"]: Standing(
            row["amount"] + sum((one.amount for one in notes[row["charge_id"]]), Decimal(0)),
            added(taxes[row["charge_id"]], *(one.taxes for one in notes[row["charge_id"]])),
            tuple(notes[row["charge_id"]]),
        )
        for row in await (await conn.execute(_AMOUNTS, values)).fetchall()
    }
