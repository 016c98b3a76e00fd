"""What the guard's desk watches: vehicles that stand at an exit now."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.parking.charging import WAITS_AT_MOST

# The newest passage of each open stay, when it is one that waits at an exit.
_AT_EXITS: LiteralString = """
    SELECT newest.session_id, l.name AS lane_name, newest.taken_at
    FROM (SELECT DISTINCT ON (p.session_id) p.session_id, p.lane_id, p.taken_at, p.outcome, p.direction
          FROM passage p JOIN parking_session s ON s.id = p.session_id
          WHERE p.project_id = %(project_id)s AND s.state = 'open' AND p.taken_at >= %(since)s
          ORDER BY p.session_id, p.taken_at DESC) AS newest
    JOIN parking_lane l ON l.id = newest.lane_id
    WHERE newest.outcome = 'arrived' AND newest.direction = 'exit'
    ORDER BY newest.taken_at
"""


@dataclass(frozen=True, slots=True)
class AtExit:
    """An open stay whose vehicle waits at the barrier of an exit since `taken_at`."""

    session_id: int
    lane_name: str
    taken_at: datetime


async def at_exits(conn: Conn, project_id: int, now: datetime) -> list[AtExit]:
    """Who waits at the exits of a project, longest first."""
    query = {"project_id": project_id, "since": now - WAITS_AT_MOST}
    return [AtExit(**row) for row in await (await conn.execute(_AT_EXITS, query)).fetchall()]
