"""SQL of lots and lanes."""

from collections.abc import Sequence
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.parking.records import (
    Lane,
    Lot,
    LotOccupancy,
)

# Advisory locks of projects ("gm", 5): passages are taken under a shared one, a new lane is made under an exclusive
# one. So no passage is set aside as unclaimed after the lane claimed what was.
_LOCK_SPACE = 0x67_6D_05 << 40
_LOT: LiteralString = "SELECT id, project_id, code, name, parent_id, capacity FROM parking_lot"
_LANE: LiteralString = "SELECT id, project_id, lot_id, code, name, direction, device_id FROM parking_lane"
_OCCUPANCY: LiteralString = """
    SELECT l.id, l.project_id, l.code, l.name, l.parent_id, l.capacity,
           (SELECT count(*) FROM parking_session s WHERE s.lot_id = l.id AND s.state = 'open') AS inside
    FROM parking_lot l WHERE l.project_id = %(project_id)s ORDER BY l.code
"""
_LIST_LANES: LiteralString = (
    _LANE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR lot_id = %(lot_id)s) AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
"""
)
_LIST_LOTS: LiteralString = (
    _LOT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
)


async def insert_lot(conn: Conn, project_id: int, code: str, name: str, capacity: int, parent_id: int | None) -> Lot:
    """A new lot."""
    query = """INSERT INTO parking_lot (project_id, code, name, capacity, parent_id) VALUES (%s, %s, %s, %s, %s)
               RETURNING id, project_id, code, name, parent_id, capacity"""
    row = await (await conn.execute(query, (project_id, code, name, capacity, parent_id))).fetchone()
    assert row is not None
    return Lot(**row)


async def insert_lane(
    conn: Conn, project_id: int, lot_id: int, code: str, name: str, direction: str, device_id: int
) -> Lane:
    """A new lane."""
    query = """INSERT INTO parking_lane (project_id, lot_id, code, name, direction, device_id)
               VALUES (%s, %s, %s, %s, %s, %s) RETURNING id, project_id, lot_id, code, name, direction, device_id"""
    row = await (await conn.execute(query, (project_id, lot_id, code, name, direction, device_id))).fetchone()
    assert row is not None
    return Lane(**row)


async def lot(conn: Conn, lot_id: int) -> Lot | None:
    """One lot."""
    row = await (await conn.execute(_LOT + " WHERE id = %s", (lot_id,))).fetchone()
    return None if row is None else Lot(**row)


async def lots(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Lot]:
    """Lots by id."""
    query = {"project_id": project_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_LOTS, query)).fetchall()
    return cut([Lot(**row) for row in rows], page, lambda found: (found.id,))


async def lane(conn: Conn, lane_id: int) -> Lane | None:
    """One lane."""
    row = await (await conn.execute(_LANE + " WHERE id = %s", (lane_id,))).fetchone()
    return None if row is None else Lane(**row)


async def lanes(conn: Conn, page: PageRequest, project_id: int | None, lot_id: int | None) -> Page[Lane]:
    """Lanes by id."""
    query = {"project_id": project_id, "lot_id": lot_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_LANES, query)).fetchall()
    return cut([Lane(**row) for row in rows], page, lambda found: (found.id,))


async def lanes_of_devices(conn: Conn, device_ids: Sequence[int]) -> dict[int, Lane]:
    """Lanes by the id of their device."""
    rows = await (await conn.execute(_LANE + " WHERE device_id = ANY (%s)", (list(device_ids),))).fetchall()
    return {row["device_id"]: Lane(**row) for row in rows}


async def lots_of_lanes(conn: Conn, lane_ids: Sequence[int]) -> dict[int, int]:
    """The lot of each of these lanes."""
    rows = await (
        await conn.execute("SELECT id, lot_id FROM parking_lane WHERE id = ANY (%s)", (list(lane_ids),))
    ).fetchall()
    return {row["id"]: row["lot_id"] for row in rows}


async def lock_lanes(conn: Conn, project_id: int, *, exclusive: bool) -> None:
    """Keeps the project's lanes as they are (shared), or everybody else away from them, until the end."""
    if exclusive:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_SPACE + project_id,))
    else:
        await conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK_SPACE + project_id,))


async def occupancy(conn: Conn, project_id: int) -> list[LotOccupancy]:
    """Open sessions of each lot, by the lots' codes."""
    rows = await (await conn.execute(_OCCUPANCY, {"project_id": project_id})).fetchall()
    counted = [(row.pop("inside"), Lot(**row)) for row in rows]
    return [LotOccupancy(lot, inside, lot.capacity) for inside, lot in counted]
