"""SQL of agreements without a tariff: what is due of rents, packages and one-off charges, and their terms."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.agreements.rents import Rent, RentStep
from cloud.billing.agreements.taxes import TaxStep
from cloud.billing.records import Agreement
from cloud.billing.repository import AGREEMENT_COLUMNS
from cloud.kit.db import Conn
from cloud.kit.periods import Period

# Instalments that fall due by the day after the period, minus what is charged already: one that begins on that day
# is paid with the bill of the period before it.
_DUE_RENTS: LiteralString = """
    FROM service_agreement a JOIN rent_term r ON r.agreement_id = a.id
    CROSS JOIN LATERAL gm.instalments(a.valid, r.anchor, r.every_months, %(end)s::date) AS instalment
    CROSS JOIN LATERAL unnest(
        datemultirange(instalment)
        - coalesce((SELECT range_agg(c.period) FROM charge c WHERE c.agreement_id = a.id AND c.service = a.service),
                   '{}'::datemultirange)) AS part
    WHERE a.project_id = %(project_id)s AND a.kind IN ('rent', 'package') AND lower(a.valid) <= %(end)s
      AND (r.in_advance OR upper(instalment) <= %(end)s)
      AND (%(account_ids)s::bigint[] IS NULL OR a.account_id = ANY (%(account_ids)s))
"""
_DUE_ONE_OFFS: LiteralString = """
    FROM service_agreement a
    WHERE a.project_id = %(project_id)s AND a.kind = 'one_off' AND lower(a.valid) < %(end)s
      AND a.taken_back_at IS NULL
      AND NOT EXISTS (SELECT FROM charge c WHERE c.agreement_id = a.id)
      AND (%(account_ids)s::bigint[] IS NULL OR a.account_id = ANY (%(account_ids)s))
"""
_DUE: LiteralString = (
    "SELECT "
    + AGREEMENT_COLUMNS
    + ", lower(part) AS start, upper(part) AS end"
    + _DUE_RENTS
    + " UNION ALL SELECT "
    + AGREEMENT_COLUMNS
    + ", lower(a.valid), upper(a.valid)"
    + _DUE_ONE_OFFS
    + " ORDER BY account_id, id, start"
)
_ACCOUNTS: LiteralString = (
    "SELECT a.account_id " + _DUE_RENTS + " UNION SELECT a.account_id " + _DUE_ONE_OFFS + " ORDER BY account_id"
)
_RENTS: LiteralString = """
    SELECT r.agreement_id, r.per_months, r.every_months, r.in_advance, r.anchor, r.per_area, r.contains,
           (SELECT jsonb_agg(jsonb_build_array(s.from_day, s.amount::text) ORDER BY s.from_day)
            FROM rent_step s WHERE s.agreement_id = r.agreement_id) AS steps
    FROM rent_term r WHERE r.agreement_id = ANY (%s)
"""
_INSERT_TERM: LiteralString = """
    INSERT INTO rent_term (project_id, agreement_id, per_months, every_months, in_advance, anchor, per_area, contains)
    VALUES (%(project_id)s, %(agreement_id)s, %(per_months)s, %(every_months)s, %(in_advance)s, %(anchor)s,
            %(per_area)s, %(contains)s)
"""
_INSERT_STEPS: LiteralString = """
    INSERT INTO rent_step (project_id, agreement_id, from_day, amount)
    SELECT %(project_id)s, %(agreement_id)s, from_day, amount
    FROM jsonb_to_recordset(%(steps)s) AS new (from_day date, amount numeric)
"""
_DELETE_STEPS: LiteralString = "DELETE FROM rent_step WHERE agreement_id = %s AND from_day >= %s"
_TAXES: LiteralString = """
    SELECT agreement_id, from_day, percent, inclusive FROM agreement_tax WHERE agreement_id = ANY (%s)
    ORDER BY agreement_id, from_day
"""
_PUT_TAX: LiteralString = """
    INSERT INTO agreement_tax (project_id, agreement_id, from_day, percent, inclusive)
    VALUES (%(project_id)s, %(agreement_id)s, %(from_day)s, %(percent)s, %(inclusive)s)
    ON CONFLICT (agreement_id, from_day) DO UPDATE SET percent = excluded.percent, inclusive = excluded.inclusive
"""
_TAKE_BACK: LiteralString = """
    UPDATE service_agreement SET taken_back_at = now(), taken_back_reason = %s WHERE id = %s
"""
_CHARGED_UNTIL: LiteralString = """
    SELECT max(upper(c.period)) AS day FROM charge c JOIN bill b ON b.id = c.bill_id
    WHERE c.agreement_id = %(id)s AND (NOT %(drafts)s OR b.state = 'draft')
"""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due of an agreement and charged by no bill: part of an instalment, or the day of a one-off charge."""

    agreement: Agreement
    period: Period


async def due(conn: Conn, project_id: int, end: date, account_ids: Sequence[int]) -> list[Due]:
    """Everything due by `end`, the day after the period of a run, by account, agreement and time."""
    rows = await _rows(conn, _DUE, {"project_id": project_id, "end": end, "account_ids": list(account_ids)})
    return [Due(period=Period(row.pop("start"), row.pop("end")), agreement=Agreement(**row)) for row in rows]


async def due_accounts(conn: Conn, project_id: int, end: date) -> list[int]:
    """Accounts of which a rent or a one-off charge is due by `end`, by id."""
    rows = await _rows(conn, _ACCOUNTS, {"project_id": project_id, "end": end, "account_ids": None})
    return [row["account_id"] for row in rows]


async def rents(conn: Conn, agreement_ids: Sequence[int]) -> dict[int, Rent]:
    """Terms of rents by agreement."""
    rows = await _rows(conn, _RENTS, (list(agreement_ids),))
    return {
        row.pop("agreement_id"): Rent(steps=_steps(row.pop("steps")), contains=tuple(row.pop("contains")), **row)
        for row in rows
    }


async def insert_rent(conn: Conn, agreement: Agreement, rent: Rent) -> None:
    """The terms of a new rent or package."""
    values = {
        "project_id": agreement.project_id,
        "agreement_id": agreement.id,
        "per_months": rent.per_months,
        "every_months": rent.every_months,
        "in_advance": rent.in_advance,
        "anchor": rent.anchor,
        "per_area": rent.per_area,
        "contains": list(rent.contains),
    }
    await conn.execute(_INSERT_TERM, values)
    await _insert_steps(conn, agreement, rent.steps)


async def replace_steps(conn: Conn, agreement: Agreement, since: date, steps: Sequence[RentStep]) -> None:
    """Puts `steps` in place of those that begin on `since` or later."""
    await conn.execute(_DELETE_STEPS, (agreement.id, since))
    await _insert_steps(conn, agreement, steps)


async def _insert_steps(conn: Conn, agreement: Agreement, steps: Sequence[RentStep]) -> None:
    rows = [{"from_day": step.from_day, "amount": step.amount} for step in steps]
    values = {"project_id": agreement.project_id, "agreement_id": agreement.id, "steps": Jsonb(rows)}
    await conn.execute(_INSERT_STEPS, values)


async def taxes(conn: Conn, agreement_ids: Sequence[int]) -> dict[int, tuple[TaxStep, ...]]:
    """Taxes by agreement, in the order of time; absent where there are none."""
    found: dict[int, list[TaxStep]] = defaultdict(list)
    for row in await _rows(conn, _TAXES, (list(agreement_ids),)):
        found[row.pop("agreement_id")].append(TaxStep(**row))
    return {agreement_id: tuple(steps) for agreement_id, steps in found.items()}


async def put_tax(conn: Conn, agreement: Agreement, step: TaxStep) -> None:
    """A rate from a day on, in place of one from the same day."""
    values = {
        "project_id": agreement.project_id,
        "agreement_id": agreement.id,
        "from_day": step.from_day,
        "percent": step.percent,
        "inclusive": step.inclusive,
    }
    await conn.execute(_PUT_TAX, values)


async def charged_until(conn: Conn, agreement_id: int, *, drafts_only: bool = False) -> date | None:
    """The day up to which an agreement is charged, drafts included, or by drafts alone; None where it is not."""
    values = {"id": agreement_id, "drafts": drafts_only}
    day: date | None = (await _rows(conn, _CHARGED_UNTIL, values))[0]["day"]
    return day


async def take_back(conn: Conn, agreement_id: int, reason: str) -> None:
    """Marks a one-off charge as taken back."""
    await conn.execute(_TAKE_BACK, (reason, agreement_id))


async def end_agreement(conn: Conn, agreement_id: int, day: date) -> None:
    """Ends an agreement: `day` is the first day without it."""
    await conn.execute(
        "UPDATE service_agreement SET valid = daterange(lower(valid), %s) WHERE id = %s", (day, agreement_id)
    )


async def delete_agreement(conn: Conn, agreement_id: int) -> None:
    """Deletes an agreement that nothing was charged of, with its terms."""
    await conn.execute("DELETE FROM service_agreement WHERE id = %s", (agreement_id,))


def _steps(rows: Sequence[tuple[str, str]]) -> tuple[RentStep, ...]:
    return tuple(RentStep(date.fromisoformat(day), Decimal(amount)) for day, amount in rows)


async def _rows(
    conn: Conn, query: LiteralString, values: Sequence[object] | Mapping[str, object]
) -> list[dict[str, Any]]:
    return await (await conn.execute(query, values)).fetchall()
