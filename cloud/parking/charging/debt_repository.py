"""SQL of debts: stays that are over and not paid, what was waived of them, and stays that cost less than was paid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.parking.records import Debt

# Of a vehicle whose entry nobody saw, the stay begins when it stood at the exit.
_DEBT: LiteralString = """
    SELECT s.id, s.id AS session_id, s.project_id, s.lot_id, l.name AS lot_name, s.plate,
           CASE WHEN s.entry_seen THEN s.entered_at END AS entered_at, s.left_at, s.fee,
           coalesce((SELECT sum(p.amount) FROM parking_payment p WHERE p.session_id = s.id), 0.00) AS paid,
           coalesce((SELECT sum(w.amount) FROM parking_waiver w WHERE w.session_id = s.id), 0.00) AS waived,
           s.unpaid AS due, s.currency
    FROM parking_session s JOIN parking_lot l ON l.id = s.lot_id
    WHERE s.unpaid > 0
"""
_OF_PLATES: LiteralString = (
    _DEBT + " AND s.project_id = %s AND s.plate = ANY (%s) AND s.plate <> '' ORDER BY s.left_at, s.id"
)
_WANTED: LiteralString = """
      AND (%(project_id)s::bigint IS NULL OR s.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
      AND (%(plate)s::text IS NULL OR s.plate = %(plate)s)
      AND (%(left_from)s::timestamptz IS NULL OR s.left_at >= %(left_from)s)
      AND (%(left_before)s::timestamptz IS NULL OR s.left_at < %(left_before)s)
"""
LIST: LiteralString = _DEBT + _WANTED + " AND s.id < %(before)s ORDER BY s.id DESC LIMIT %(limit)s"
"""Debts by falling session; takes what `DebtFilter` names, and `before` and `limit`."""
_ADDED: LiteralString = """
    SELECT s.currency, count(*) AS stays, count(DISTINCT s.plate) AS plates, sum(s.unpaid) AS due
    FROM parking_session s WHERE s.unpaid > 0
"""
_TOTALS: LiteralString = _ADDED + _WANTED + " GROUP BY s.currency ORDER BY s.currency"
_PLATES: LiteralString = """
    SELECT DISTINCT plate FROM parking_session
    WHERE project_id = %s AND unpaid > 0 AND plate <> '' ORDER BY plate
"""
_WAIVE: LiteralString = """
    INSERT INTO parking_waiver (project_id, session_id, amount, reason, actor) VALUES (%s, %s, %s, %s, %s)
"""
# Long enough ago that no late passage will make the stay longer again.
_OVERPAID: LiteralString = """
    SELECT id AS session_id, plate, currency, -unpaid AS surplus FROM parking_session
    WHERE project_id = %s AND unpaid < 0 AND left_at < %s ORDER BY id LIMIT %s
"""
_PARTS: LiteralString = """
    SELECT id, payment_id, amount, tax, tax_percent, paid_until FROM parking_payment
    WHERE session_id = %s ORDER BY paid_until DESC, id DESC
"""


@dataclass(frozen=True, slots=True)
class DebtTotal:
    """All that was asked for, added up by currency."""

    currency: str
    stays: int
    plates: int
    due: Decimal


@dataclass(frozen=True, slots=True)
class PaidPart:
    """What one payment paid of a stay, and the tax in it."""

    id: int
    payment_id: int
    amount: Decimal
    tax: Decimal
    tax_percent: Decimal
    paid_until: datetime


@dataclass(frozen=True, slots=True)
class Overpaid:
    """A stay for which `surplus` was paid beyond what it costs."""

    session_id: int
    plate: str
    currency: str
    surplus: Decimal


async def debts_of(conn: Conn, project_id: int, plates: Sequence[str]) -> list[Debt]:
    """Debts of plates, oldest first."""
    rows = await (await conn.execute(_OF_PLATES, (project_id, list(plates)))).fetchall()
    return [debt(row) for row in rows]


def debt(row: dict[str, Any]) -> Debt:
    """From a row of a list by falling id."""
    return Debt(**{name: value for name, value in row.items() if name != "id"})


async def totals(conn: Conn, wanted: Mapping[str, object]) -> list[DebtTotal]:
    """Sums of the debts that are wanted."""
    return [DebtTotal(**row) for row in await (await conn.execute(_TOTALS, wanted)).fetchall()]


async def owing_plates(conn: Conn, project_id: int) -> list[str]:
    """Every plate of a project that owes."""
    return [row["plate"] for row in await (await conn.execute(_PLATES, (project_id,))).fetchall()]


async def insert_waiver(conn: Conn, debt: Debt, amount: Decimal, reason: str, actor: str) -> None:
    """Part of a debt that nobody has to pay."""
    await conn.execute(_WAIVE, (debt.project_id, debt.session_id, amount, reason, actor))


async def overpaid(conn: Conn, project_id: int, left_before: datetime, limit: int) -> list[Overpaid]:
    """Stays that ended before and cost less than was paid for them."""
    rows = await (await conn.execute(_OVERPAID, (project_id, left_before, limit))).fetchall()
    return [Overpaid(**row) for row in rows]


async def parts_of(conn: Conn, session_id: int) -> list[PaidPart]:
    """What was paid for a stay, what was paid up to the latest time first: the price up to earlier ones stays paid."""
    return [PaidPart(**row) for row in await (await conn.execute(_PARTS, (session_id,))).fetchall()]


async def take_off(conn: Conn, part: PaidPart, amount: Decimal, tax: Decimal) -> None:
    """Of what a payment paid of a stay, `amount` with the `tax` in it is taken away."""
    if amount == part.amount:
        await conn.execute("DELETE FROM parking_payment WHERE id = %s", (part.id,))
        return
    await conn.execute(
        "UPDATE parking_payment SET amount = amount - %s, tax = tax - %s WHERE id = %s", (amount, tax, part.id)
    )
