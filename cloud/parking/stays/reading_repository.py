"""SQL of reading stays and ending one by hand."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut
from cloud.kit.periods import in_ms
from cloud.parking.records import (
    Passage,
    Session,
    SessionFilter,
    SessionPayment,
)
from cloud.parking.stays.cursors import FARTHEST_MS

_SESSION: LiteralString = """
    SELECT s.id, s.project_id, s.lot_id, l.name AS lot_name, s.plate, s.vehicle_class, s.entered_at, s.left_at, s.state,
           s.fee, s.fee_until, s.fee_steps, s.rule_version_id, s.currency, s.entry_seen, s.fixed_fee, s.covered,
           coalesce((SELECT sum(p.amount) FROM parking_payment p WHERE p.session_id = s.id), 0.00) AS paid
    FROM parking_session s JOIN parking_lot l ON l.id = s.lot_id
"""
_LIST_SESSIONS: LiteralString = (
    _SESSION
    + """
    WHERE (%(project_id)s::bigint IS NULL OR s.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
      AND (%(state)s::text IS NULL OR s.state = %(state)s)
      AND (%(plate)s::text IS NULL OR s.plate = %(plate)s)
      AND (%(began_from)s::timestamptz IS NULL OR coalesce(s.entered_at, s.left_at) >= %(began_from)s)
      AND (%(began_before)s::timestamptz IS NULL OR coalesce(s.entered_at, s.left_at) < %(began_before)s)
      AND (%(after_ms)s::bigint IS NULL OR (coalesce(s.entered_at, s.left_at), s.id) <
           (timestamptz 'epoch' + %(after_ms)s * interval '1 millisecond', %(after_id)s))
    ORDER BY coalesce(s.entered_at, s.left_at) DESC, s.id DESC LIMIT %(limit)s
"""
)
_PASSAGES: LiteralString = """
    SELECT p.id, p.lane_id, l.name AS lane_name, p.plate, p.plate_read, p.direction, p.taken_at, p.outcome, p.offline,
           p.decision, p.image, p.incident
    FROM passage p LEFT JOIN parking_lane l ON l.id = p.lane_id
    WHERE p.session_id = %(session_id)s ORDER BY p.taken_at, p.direction, p.id
"""


async def session(conn: Conn, session_id: int) -> Session | None:
    """One session."""
    row = await (await conn.execute(_SESSION + " WHERE s.id = %s", (session_id,))).fetchone()
    return None if row is None else Session(**row)


async def sessions_by_id(conn: Conn, session_ids: Sequence[int]) -> list[Session]:
    """Those of these sessions that there are, by id."""
    query = _SESSION + " WHERE s.id = ANY (%s::bigint[]) ORDER BY s.id"
    return [Session(**row) for row in await (await conn.execute(query, (list(session_ids),))).fetchall()]


async def sessions(conn: Conn, page: PageRequest, wanted: SessionFilter) -> Page[Session]:
    """Sessions, the latest arrival first. Passages carry milliseconds, so a cursor of milliseconds is exact."""
    after_ms, after_session = _after_time(page)
    query = {
        "project_id": wanted.project_id,
        "lot_id": wanted.lot_id,
        "state": wanted.state,
        "plate": wanted.plate,
        "began_from": wanted.began_from,
        "began_before": wanted.began_before,
        "after_ms": after_ms,
        "after_id": after_session,
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_LIST_SESSIONS, query)).fetchall()
    return cut([Session(**row) for row in rows], page, lambda found: (_began_ms(found), found.id))


async def passages(conn: Conn, session_id: int) -> list[Passage]:
    """Passages of a session in order of time."""
    rows = await (await conn.execute(_PASSAGES, {"session_id": session_id})).fetchall()
    return [Passage(**row) for row in rows]


async def close_session(
    conn: Conn, session_id: int, left_at: datetime, actor: str, reason: str, closed_at: datetime
) -> None:
    """Ends an open session by hand."""
    query = """UPDATE parking_session SET state = 'unmatched', left_at = greatest(%s, entered_at), closed_by = %s,
               closed_reason = %s, closed_at = %s WHERE id = %s AND state = 'open'"""
    await conn.execute(query, (left_at, actor, reason, closed_at, session_id))


def _after_time(page: PageRequest) -> tuple[int | None, int | None]:
    """A key of milliseconds since 1970 and an id. Raises InvalidInput."""
    if page.after is None:
        return None, None
    began_ms, session_id = page.after
    if not isinstance(began_ms, int) or not isinstance(session_id, int) or abs(began_ms) > FARTHEST_MS:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return began_ms, min(session_id, MAX_ID)


def _began_ms(session: Session) -> int:
    began = session.entered_at or session.left_at
    assert began is not None, "a session was seen to begin or to end"
    return in_ms(began)


async def payments(conn: Conn, session_ids: Sequence[int]) -> dict[int, list[SessionPayment]]:
    """Payments by session, in the order in which they were made."""
    query = """SELECT session_id, payment_id, amount, paid_until FROM parking_payment
               WHERE session_id = ANY (%s) ORDER BY id"""
    found: dict[int, list[SessionPayment]] = {}
    for row in await (await conn.execute(query, (list(session_ids),))).fetchall():
        found.setdefault(row.pop("session_id"), []).append(SessionPayment(**row))
    return found
