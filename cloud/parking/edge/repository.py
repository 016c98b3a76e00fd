"""SQL of what lanes need to know: which gateway has lanes of which lots, who is inside, who left lately."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from cloud.parking.places import repository as places
from cloud.parking.records import LotClass

_LANES: LiteralString = (
    "SELECT DISTINCT lot_id, device_id FROM parking_lane WHERE project_id = %s AND retired_at IS NULL"
)
_BARRIERS: LiteralString = """
    SELECT id, device_id FROM parking_lane
    WHERE project_id = %s AND id = ANY (%s::bigint[]) AND retired_at IS NULL
"""
_LOTS: LiteralString = "SELECT id, code, capacity, open FROM parking_lot WHERE id = ANY (%s::bigint[]) ORDER BY id"
# A stay is named by the passage by which the vehicle came in: the gateway that saw it knows it by that name already.
_INSIDE: LiteralString = """
    SELECT s.id, s.lot_id, s.plate, s.vehicle_class, s.entered_at, p.id AS passage_id
    FROM parking_session s
    JOIN LATERAL (
        SELECT e.id FROM passage e
        WHERE e.session_id = s.id AND e.direction = 'entry' AND e.outcome = 'passed' AND e.taken_at = s.entered_at
        ORDER BY e.id LIMIT 1) p ON true
    WHERE s.project_id = %(project_id)s AND s.lot_id = ANY (%(lots)s::bigint[]) AND s.state = 'open'
    ORDER BY s.id
"""
_ENDED: LiteralString = """
    SELECT s.lot_id, e.id AS passage_id
    FROM parking_session s JOIN passage e ON e.session_id = s.id AND e.direction = 'entry' AND e.outcome = 'passed'
    WHERE s.project_id = %(project_id)s AND s.lot_id = ANY (%(lots)s::bigint[]) AND s.state <> 'open'
      AND coalesce(s.closed_at, s.left_at, s.entered_at) >= %(since)s
"""


@dataclass(frozen=True, slots=True)
class LotPlace:
    """A lot as lanes see it."""

    id: int
    code: str
    capacity: int
    open: bool = True
    classes: Sequence[LotClass] = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """A vehicle that is inside, and the passage by which it came."""

    id: int
    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime
    passage_id: UUID


async def lanes(conn: Conn, project_id: int) -> list[tuple[int, int]]:
    """(lot, device) of every lane of a project."""
    rows = await (await conn.execute(_LANES, (project_id,))).fetchall()
    return [(row["lot_id"], row["device_id"]) for row in rows]


async def barriers(conn: Conn, project_id: int, lane_ids: Collection[int]) -> dict[int, int]:
    """The devices of those of these lanes that are in use."""
    rows = await (await conn.execute(_BARRIERS, (project_id, sorted(lane_ids)))).fetchall()
    return {row["id"]: row["device_id"] for row in rows}


async def lots(conn: Conn, lot_ids: Sequence[int]) -> list[LotPlace]:
    """What lanes need to know of lots."""
    classes = await places.classes(conn, lot_ids)
    rows = await (await conn.execute(_LOTS, (list(lot_ids),))).fetchall()
    return [LotPlace(**row, classes=classes[row["id"]]) for row in rows]


async def inside(conn: Conn, project_id: int, lot_ids: Sequence[int]) -> list[Inside]:
    """Open stays whose entry was seen."""
    values = {"project_id": project_id, "lots": list(lot_ids)}
    return [Inside(**row) for row in await (await conn.execute(_INSIDE, values)).fetchall()]


async def ended(conn: Conn, project_id: int, lot_ids: Sequence[int], since: datetime) -> list[tuple[int, UUID]]:
    """(lot, passage of the entry) of the stays that ended since then."""
    values = {"project_id": project_id, "lots": list(lot_ids), "since": since}
    rows = await (await conn.execute(_ENDED, values)).fetchall()
    return [(row["lot_id"], row["passage_id"]) for row in rows]
