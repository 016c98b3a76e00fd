"""What the guard's desk watches: vehicles that stand at an exit now, and passages that no lane claims."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from gateway.contract.messages import Passage

SHOWN_AT_MOST = timedelta(hours=12)
"""Longer than any order to open is repeated: a vehicle is on the desk until the lane sees another one."""

UNCLAIMED_SHOWN = 10

_PLATE_FIELD = Passage.__struct_fields__.index("plate")

# The newest passage of each exit lane, when it is one that waits. It may have no stay: entry not seen, plate not
# read, or a stay that somebody ended by hand while the vehicle stood here.
_AT_EXITS: LiteralString = """
    SELECT newest.id AS passage_id, newest.session_id, l.id AS lane_id, l.name AS lane_name, newest.plate,
           newest.plate_read, newest.taken_at,
           -- A camera may read a standing vehicle again: the order to open hangs on an earlier reading then.
           coalesce(newest.open_command_id, (
               SELECT e.open_command_id FROM passage e
               WHERE e.session_id = newest.session_id AND e.lane_id = l.id AND e.open_command_id IS NOT NULL
               ORDER BY e.taken_at DESC, e.id LIMIT 1)) AS open_command_id
    FROM parking_lane l
    CROSS JOIN LATERAL (
        SELECT p.* FROM passage p WHERE p.lane_id = l.id AND p.taken_at >= %(since)s
        ORDER BY p.taken_at DESC, p.id LIMIT 1) AS newest
    LEFT JOIN parking_session s ON s.id = newest.session_id
    WHERE l.project_id = %(project_id)s AND l.direction = 'exit' AND newest.outcome = 'arrived'
      AND (s.id IS NULL OR s.state = 'open' OR s.closed_by IS NOT NULL)
    ORDER BY newest.taken_at
"""
_UNCLAIMED: LiteralString = """
    SELECT gateway_code, device_code, reason, content ->> %(plate_field)s AS plate, received_at,
           count(*) OVER () AS total
    FROM unclaimed_passage WHERE project_id = %(project_id)s ORDER BY received_at DESC, id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class AtExit:
    """A vehicle that waits at the barrier of an exit since `taken_at`; `session_id` is None when it has no stay."""

    passage_id: UUID
    session_id: int | None
    lane_id: int
    lane_name: str
    plate: str
    plate_read: str
    taken_at: datetime
    open_command_id: UUID | None


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A passage that was set aside, and how many there are altogether."""

    gateway_code: str
    device_code: str
    reason: str
    plate: str | None
    received_at: datetime
    total: int


async def at_exits(conn: Conn, project_id: int, now: datetime) -> list[AtExit]:
    """Who waits at the exits of a project, longest first."""
    query = {"project_id": project_id, "since": now - SHOWN_AT_MOST}
    return [AtExit(**row) for row in await (await conn.execute(_AT_EXITS, query)).fetchall()]


async def unclaimed(conn: Conn, project_id: int) -> list[Unclaimed]:
    """The newest passages that were set aside."""
    query = {"project_id": project_id, "limit": UNCLAIMED_SHOWN, "plate_field": _PLATE_FIELD}
    return [Unclaimed(**row) for row in await (await conn.execute(_UNCLAIMED, query)).fetchall()]
