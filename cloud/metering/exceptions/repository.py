"""SQL of findings as people see and decide them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import LiteralString

from cloud.devices.cursors import after_number
from cloud.kit.db import Conn
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut
from cloud.metering.records import ExceptionState, MeterException, Rule

_FINDING: LiteralString = """
    SELECT id, project_id, meter_id, channel, rule, from_at, until_at, found, expected, state, actor, reason,
           decided_at, detected_at
    FROM meter_exception
"""
_WANTED: LiteralString = """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(meter_id)s::bigint IS NULL OR meter_id = %(meter_id)s)
      AND (%(rule)s::text IS NULL OR rule = %(rule)s) AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(start)s::timestamptz IS NULL OR until_at >= %(start)s)
      AND (%(end)s::timestamptz IS NULL OR from_at < %(end)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
# A look-up for each meter, as in `findings_sql`.
_OPEN: LiteralString = """
    SELECT x.* FROM unnest(%(meters)s::bigint[]) AS w (meter_id)
    CROSS JOIN LATERAL ({finding}
        WHERE meter_exception.meter_id = w.meter_id AND state = 'open' AND until_at >= %(start)s AND from_at < %(end)s
        OFFSET 0) AS x
    WHERE x.project_id = %(project_id)s
    ORDER BY x.meter_id, x.id
""".replace("{finding}", _FINDING)
_BY_ID: LiteralString = " WHERE id = ANY (%(ids)s) ORDER BY id"
_SET_STATE: LiteralString = """
    UPDATE meter_exception SET state = %(state)s, actor = %(actor)s, reason = %(reason)s,
           decided_at = CASE WHEN %(state)s = 'open' THEN NULL ELSE now() END
    WHERE id = ANY (%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class ExceptionFilter:
    """Which findings are wanted: those that touch [start, end)."""

    project_id: int | None = None
    meter_id: int | None = None
    rule: Rule | None = None
    state: ExceptionState | None = None
    start: datetime | None = None
    end: datetime | None = None


async def exceptions(conn: Conn, page: PageRequest, wanted: ExceptionFilter) -> Page[MeterException]:
    """Findings, newest first."""
    query = {**asdict(wanted), "before": after_number(page, MAX_ID), "limit": page.limit + 1}
    rows = await (await conn.execute(_FINDING + _WANTED, query)).fetchall()
    return cut([MeterException(**row) for row in rows], page, lambda one: (one.id,))


async def exception(conn: Conn, exception_id: int) -> MeterException | None:
    """One finding."""
    row = await (await conn.execute(_FINDING + _BY_ID, {"ids": [exception_id]})).fetchone()
    return None if row is None else MeterException(**row)


async def locked(conn: Conn, ids: Sequence[int]) -> list[MeterException]:
    """Findings that nobody else decides until the transaction ends, by id."""
    rows = await (await conn.execute(_FINDING + _BY_ID + " FOR UPDATE", {"ids": list(ids)})).fetchall()
    return [MeterException(**row) for row in rows]


async def set_state(
    conn: Conn, ids: Sequence[int], state: ExceptionState, actor: str, reason: str
) -> list[MeterException]:
    """Writes what was decided."""
    query = {"ids": list(ids), "state": state, "actor": actor, "reason": reason}
    await conn.execute(_SET_STATE, query)
    rows = await (await conn.execute(_FINDING + _BY_ID, query)).fetchall()
    return [MeterException(**row) for row in rows]


async def open_of(
    conn: Conn, project_id: int, meter_ids: Sequence[int], start: datetime, end: datetime
) -> list[MeterException]:
    """Open findings of meters that touch [start, end), by meter."""
    query = {"project_id": project_id, "meters": list(meter_ids), "start": start, "end": end}
    rows = await (await conn.execute(_OPEN, query)).fetchall()
    return [MeterException(**row) for row in rows]
