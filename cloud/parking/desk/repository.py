"""SQL of the guard's desk: openings by hand, and what each lane saw last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from cloud.parking.records import Lane

# The vehicle is the last one that came to the lane, when that was not long ago and it stands there still: the lane
# takes it for the same one. The shift cannot end before this does.
_INSERT_OPENING: LiteralString = """
    INSERT INTO manual_opening (project_id, lane_id, command_id, shift_id, passage_id, code, reason, opened_by)
    SELECT %(project_id)s, %(lane_id)s, %(command_id)s, s.id,
           (SELECT last.id FROM (
                SELECT p.id, p.outcome FROM passage p
                WHERE p.lane_id = %(lane_id)s AND p.taken_at >= now() - interval '30 minutes'
                ORDER BY p.taken_at DESC, p.id LIMIT 1) AS last
            WHERE last.outcome IN ('arrived', 'refused')),
           %(code)s, %(reason)s, %(actor)s
    FROM (SELECT 1) AS always
    LEFT JOIN LATERAL (
        SELECT id FROM parking_shift
        WHERE project_id = %(project_id)s AND user_id = gm.user_id() AND ended_at IS NULL) AS s ON true
"""
_HOLD_SHIFT: LiteralString = """
    SELECT id FROM parking_shift
    WHERE project_id = %(project_id)s AND user_id = gm.user_id() AND ended_at IS NULL FOR KEY SHARE
"""
_LANES_NOW: LiteralString = """
    SELECT l.id AS lane_id, l.project_id, l.name AS lane_name, l.direction, o.name AS lot_name,
           p.id AS passage_id, p.session_id, p.plate, p.plate_read, p.vehicle_class, p.taken_at, p.outcome,
           p.outcome_at, p.decision, p.offline, p.incident, p.image <> '' AS has_image, p.open_command_id,
           EXISTS (SELECT FROM passage_picture c WHERE c.passage_id = p.id) AS pictured,
           coalesce((SELECT sum(m.amount) FROM parking_payment m WHERE m.session_id = p.session_id), 0) AS paid
    FROM parking_lane l JOIN parking_lot o ON o.id = l.lot_id
    LEFT JOIN LATERAL (
        SELECT * FROM passage n WHERE n.lane_id = l.id AND n.taken_at >= %(since)s
        ORDER BY n.taken_at DESC, n.id LIMIT 1) AS p ON true
    WHERE l.project_id = ANY (%(projects)s) AND l.retired_at IS NULL
    ORDER BY l.project_id, o.name, l.direction, l.name, l.id
"""


@dataclass(frozen=True, slots=True)
class LastVehicle:
    """The vehicle that a lane saw last, as the desk shows it; `paid` is what was paid for its stay so far."""

    passage_id: UUID
    session_id: int | None
    plate: str
    plate_read: str
    vehicle_class: str
    taken_at: datetime
    outcome: str
    outcome_at: datetime
    decision: str
    offline: bool
    incident: str | None
    has_image: bool
    pictured: bool
    open_command_id: UUID | None
    paid: Decimal


@dataclass(frozen=True, slots=True)
class LaneNow:
    """A lane in use and the vehicle that it saw last, None when that was long ago."""

    lane_id: int
    project_id: int
    lane_name: str
    direction: str
    lot_name: str
    last: LastVehicle | None

    @property
    def key(self) -> int:
        """The lane."""
        return self.lane_id


async def insert_opening(conn: Conn, lane: Lane, command_id: UUID, code: str, reason: str, actor: str) -> None:
    """Keeps what is known of an opening by hand beside its order."""
    query = {
        "project_id": lane.project_id,
        "lane_id": lane.id,
        "command_id": command_id,
        "code": code,
        "reason": reason,
        "actor": actor,
    }
    await conn.execute(_HOLD_SHIFT, query)
    await conn.execute(_INSERT_OPENING, query)


async def lanes_now(conn: Conn, projects: Sequence[int], since: datetime) -> list[LaneNow]:
    """Every lane in use with the vehicle that it saw last since then, in the order in which desks show them."""
    rows = await (await conn.execute(_LANES_NOW, {"projects": list(projects), "since": since})).fetchall()
    return [_lane_now(row) for row in rows]


def _lane_now(row: dict[str, object]) -> LaneNow:
    lane = {name: row.pop(name) for name in ("lane_id", "project_id", "lane_name", "direction", "lot_name")}
    last = None if row["passage_id"] is None else LastVehicle(**row)  # type: ignore[arg-type]  # columns of the query
    return LaneNow(**lane, last=last)  # type: ignore[arg-type]
