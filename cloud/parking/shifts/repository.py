"""SQL of shifts."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.parking.shifts.records import Shift, ShiftFilter, ShiftOpening, Taking, Totals
from cloud.parking.stays.incident_repository import KINDS

_SHIFT: LiteralString = """
    SELECT id, project_id, desk, user_id, guard, currency, began_at, ended_at, ended_by, note, confirmed_at,
           confirmed_name, confirmed_note
    FROM parking_shift
"""
_LIST: LiteralString = (
    _SHIFT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(desk)s::text IS NULL OR desk = %(desk)s)
      AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
      AND (%(state)s::text IS NULL OR %(state)s = CASE WHEN confirmed_at IS NOT NULL THEN 'confirmed'
                                                       WHEN ended_at IS NOT NULL THEN 'ended' ELSE 'open' END)
      AND (%(since)s::timestamptz IS NULL OR began_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR began_at < %(until)s)
      AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_INSERT: LiteralString = """
    INSERT INTO parking_shift (project_id, desk, user_id, guard, currency)
    VALUES (%(project_id)s, %(desk)s, %(user_id)s, %(guard)s, %(currency)s) RETURNING id
"""
_TAKINGS: LiteralString = """
    SELECT method, sum(payments)::int AS payments, sum(taken) AS taken, sum(returned) AS returned
    FROM (SELECT p.method, 1 AS payments, p.amount AS taken, 0.00 AS returned
          FROM parking_shift_payment s JOIN payment p ON p.id = s.payment_id WHERE s.shift_id = %(shift_id)s
          UNION ALL
          SELECT r.method, 0, 0.00, r.amount
          FROM parking_shift_refund s JOIN payment_refund r ON r.id = s.refund_id
          WHERE s.shift_id = %(shift_id)s) AS flows
    GROUP BY method ORDER BY method
"""
_COUNTS: LiteralString = """
    SELECT method, payments, taken, returned, counted FROM parking_shift_count
    WHERE shift_id = %(shift_id)s ORDER BY method
"""
_HAPPENED: LiteralString = """
    SELECT count(*) FILTER (WHERE direction = 'entry' AND outcome = 'passed')::int AS entries,
           count(*) FILTER (WHERE direction = 'exit' AND outcome = 'passed')::int AS exits,
           (count(*) FILTER (WHERE incident = ANY (%(kinds)s)) + count(follows))::int AS incidents
    FROM passage WHERE project_id = %(project_id)s AND taken_at >= %(since)s AND taken_at < %(until)s
"""
_OPENED: LiteralString = """
    SELECT code, count(*)::int AS openings FROM manual_opening WHERE shift_id = %(shift_id)s
    GROUP BY code ORDER BY code
"""
_OPENINGS: LiteralString = """
    SELECT o.command_id, l.name AS lane_name, o.code, o.reason, o.opened_by, o.opened_at, o.passage_id, p.plate,
           EXISTS (SELECT FROM passage_picture c WHERE c.passage_id = o.passage_id) AS pictured
    FROM manual_opening o JOIN parking_lane l ON l.id = o.lane_id LEFT JOIN passage p ON p.id = o.passage_id
    WHERE o.shift_id = %(shift_id)s ORDER BY o.id DESC LIMIT %(limit)s
"""
_DESKS: LiteralString = """
    SELECT desk FROM parking_shift WHERE project_id = %(project_id)s GROUP BY desk ORDER BY max(id) DESC LIMIT 20
"""
_END: LiteralString = """
    UPDATE parking_shift SET ended_at = %(at)s, ended_by = %(actor)s, totals = %(totals)s, note = %(note)s
    WHERE id = %(id)s
"""
_CONFIRM: LiteralString = """
    UPDATE parking_shift SET confirmed_at = %(at)s, confirmed_by = %(user_id)s, confirmed_name = %(name)s,
           confirmed_note = %(note)s
    WHERE id = %(id)s
"""


async def insert(conn: Conn, project_id: int, desk: str, user_id: int, guard: str, currency: str) -> int:
    """A new open shift."""
    query = {"project_id": project_id, "desk": desk, "user_id": user_id, "guard": guard, "currency": currency}
    row = await (await conn.execute(_INSERT, query)).fetchone()
    assert row is not None
    return int(row["id"])


async def one(conn: Conn, shift_id: int) -> Shift | None:
    """A shift."""
    row = await (await conn.execute(_SHIFT + " WHERE id = %s", (shift_id,))).fetchone()
    return None if row is None else Shift(**row)


async def locked(conn: Conn, shift_id: int) -> Shift | None:
    """A shift that nobody else ends, and that no payment joins, until the transaction ends."""
    row = await (await conn.execute(_SHIFT + " WHERE id = %s FOR UPDATE", (shift_id,))).fetchone()
    return None if row is None else Shift(**row)


async def open_shift(
    conn: Conn, project_id: int, *, user_id: int | None = None, desk: str | None = None
) -> Shift | None:
    """The open shift of a person or at a desk."""
    query = """ WHERE project_id = %s AND ended_at IS NULL AND (user_id = %s OR desk = %s) ORDER BY id LIMIT 1"""
    row = await (await conn.execute(_SHIFT + query, (project_id, user_id, desk))).fetchone()
    return None if row is None else Shift(**row)


async def newest(conn: Conn, wanted: ShiftFilter, before: int, limit: int) -> list[Shift]:
    """Shifts with ids below `before`, the newest first."""
    query = {**asdict(wanted), "before": before, "limit": limit}
    return [Shift(**row) for row in await (await conn.execute(_LIST, query)).fetchall()]


async def takings(conn: Conn, shift_id: int) -> list[Taking]:
    """What was taken in a shift so far, by method."""
    return [Taking(**row) for row in await (await conn.execute(_TAKINGS, {"shift_id": shift_id})).fetchall()]


async def counts(conn: Conn, shift_id: int) -> list[Taking]:
    """What was handed over."""
    return [Taking(**row) for row in await (await conn.execute(_COUNTS, {"shift_id": shift_id})).fetchall()]


async def insert_count(conn: Conn, shift: Shift, taking: Taking, counted: Decimal) -> None:
    """What was counted of one method."""
    query = """INSERT INTO parking_shift_count (project_id, shift_id, method, payments, taken, returned, counted)
               VALUES (%s, %s, %s, %s, %s, %s, %s)"""
    values = (shift.project_id, shift.id, taking.method, taking.payments, taking.taken, taking.returned, counted)
    await conn.execute(query, values)


async def totals(conn: Conn, shift: Shift, until: datetime) -> Totals:
    """What happened from the beginning of a shift up to `until`."""
    query = {
        "project_id": shift.project_id,
        "shift_id": shift.id,
        "since": shift.began_at,
        "until": until,
        "kinds": list(KINDS),
    }
    row = await (await conn.execute(_HAPPENED, query)).fetchone()
    assert row is not None
    opened = await (await conn.execute(_OPENED, query)).fetchall()
    return Totals(**row, openings={one["code"]: one["openings"] for one in opened})


async def kept_totals(conn: Conn, shift_id: int) -> Totals:
    """The totals that were kept when a shift ended."""
    row = await (await conn.execute("SELECT totals FROM parking_shift WHERE id = %s", (shift_id,))).fetchone()
    assert row is not None
    return Totals(**row["totals"])


async def end(conn: Conn, shift_id: int, at: datetime, actor: str, kept: Totals, note: str) -> None:
    """Ends a shift for good."""
    await conn.execute(_END, {"id": shift_id, "at": at, "actor": actor, "totals": Jsonb(asdict(kept)), "note": note})


async def confirm(conn: Conn, shift_id: int, at: datetime, user_id: int, name: str, note: str) -> None:
    """The next guard has found what was handed over."""
    await conn.execute(_CONFIRM, {"id": shift_id, "at": at, "user_id": user_id, "name": name, "note": note})


async def openings(conn: Conn, shift_id: int, limit: int) -> Sequence[ShiftOpening]:
    """Barriers opened by hand in a shift, the latest first."""
    query = {"shift_id": shift_id, "limit": limit}
    return [ShiftOpening(**row) for row in await (await conn.execute(_OPENINGS, query)).fetchall()]


async def desks(conn: Conn, project_id: int) -> list[str]:
    """Names of desks that were used, the latest first."""
    return [row["desk"] for row in await (await conn.execute(_DESKS, {"project_id": project_id})).fetchall()]
