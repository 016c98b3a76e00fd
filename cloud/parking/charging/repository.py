"""SQL of payments for stays, and of vehicles that wait at an exit."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.parking.records import (
    Session,
    Waiting,
)

# Waiting: recognised at an exit, and nothing was seen at that lane since. Residents do not see the lane. The command
# is the last one that was given to let this vehicle out there, for this passage or an earlier recognition.
# What was to be shown counts as shown, unless no gateway took it. Where one could not show it, that is told again after
# as long as the vehicle had stood there when it was told, so that pauses double. A display shows it for ten minutes.
_WAITING: LiteralString = """
    SELECT DISTINCT ON (p.session_id) p.session_id, p.id AS passage_id, l.device_id, p.taken_at, p.decision,
           (SELECT q.open_command_id FROM passage q
            WHERE q.session_id = p.session_id AND q.lane_id = p.lane_id AND q.outcome = 'arrived'
              AND q.open_command_id IS NOT NULL
            ORDER BY q.taken_at DESC, q.id LIMIT 1) AS command_id,
           p.offline, c.arguments AS shown
    FROM passage p LEFT JOIN parking_lane l ON l.id = p.lane_id
    LEFT JOIN command c ON c.id = p.due_command_id AND CASE c.state
        WHEN 'expired' THEN false
        WHEN 'done' THEN now() - c.issued_at < interval '9 minutes'
        WHEN 'failed' THEN now() - c.issued_at < greatest(c.issued_at - p.taken_at, interval '30 seconds')
        WHEN 'uncertain' THEN now() - c.issued_at < greatest(c.issued_at - p.taken_at, interval '30 seconds')
        ELSE true END
    WHERE p.session_id = ANY (%(sessions)s::bigint[]) AND p.direction = 'exit' AND p.outcome = 'arrived'
      AND p.taken_at >= %(since)s
      AND NOT EXISTS (SELECT FROM passage n WHERE n.lane_id = p.lane_id AND n.taken_at > p.taken_at)
    ORDER BY p.session_id, p.taken_at DESC, p.id
"""
_WAITING_SESSIONS: LiteralString = """
    SELECT DISTINCT s.id, s.plate FROM passage p JOIN parking_session s ON s.id = p.session_id
    WHERE p.project_id = %(project_id)s AND p.direction = 'exit' AND p.outcome = 'arrived' AND p.taken_at >= %(since)s
      AND s.state = 'open' AND s.plate <> ''
    ORDER BY s.id
"""


async def insert_payment(
    conn: Conn, session: Session, payment_id: int, part: tuple[Decimal, Decimal, Decimal], paid_until: datetime
) -> None:
    """Notes how much of a payment was for a session: (amount, tax in it, percent of the tax)."""
    query = """INSERT INTO parking_payment (project_id, payment_id, session_id, amount, tax, tax_percent, paid_until)
               VALUES (%s, %s, %s, %s, %s, %s, %s)"""
    await conn.execute(query, (session.project_id, payment_id, session.id, *part, paid_until))


async def waived(conn: Conn, session_ids: Sequence[int]) -> dict[int, Decimal]:
    """What nobody has to pay, by session; those of which all is to be paid are left out."""
    query = """SELECT session_id, sum(amount) AS waived FROM parking_waiver WHERE session_id = ANY (%s)
               GROUP BY session_id"""
    rows = await (await conn.execute(query, (list(session_ids),))).fetchall()
    return {row["session_id"]: Decimal(row["waived"]) for row in rows}


async def stay_at(conn: Conn, project_id: int, lot_id: int, plate: str, at: datetime) -> int | None:
    """The session of a plate in a lot at an instant, or the last that began before."""
    query = """SELECT id FROM parking_session
               WHERE project_id = %s AND lot_id = %s AND plate = %s AND plate <> '' AND entered_at <= %s
               ORDER BY entered_at DESC LIMIT 1"""
    row = await (await conn.execute(query, (project_id, lot_id, plate, at))).fetchone()
    return None if row is None else int(row["id"])


async def open_stays(conn: Conn, project_id: int, plate: str) -> list[int]:
    """Sessions of a plate that is inside, by lot."""
    query = """SELECT id FROM parking_session WHERE project_id = %s AND plate = %s AND plate <> '' AND state = 'open'
               ORDER BY lot_id, id"""
    return [row["id"] for row in await (await conn.execute(query, (project_id, plate))).fetchall()]


async def waiting(conn: Conn, session_ids: Sequence[int], since: datetime) -> dict[int, Waiting]:
    """By session its vehicle, of those that stand at an exit since `since` or later."""
    rows = await (await conn.execute(_WAITING, {"sessions": list(session_ids), "since": since})).fetchall()
    return {row.pop("session_id"): Waiting(**row) for row in rows}


async def waiting_sessions(conn: Conn, project_id: int, since: datetime) -> list[tuple[int, str]]:
    """(id, plate) of open sessions that were seen at an exit since then."""
    rows = await (await conn.execute(_WAITING_SESSIONS, {"project_id": project_id, "since": since})).fetchall()
    return [(row["id"], row["plate"]) for row in rows]
