"""SQL of lots and lanes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.parking.records import (
    Lane,
    Lot,
    LotClass,
)

# Advisory locks of projects ("gm", 5): passages are taken under a shared one, a new lane is made under an exclusive
# one. So no passage is set aside as unclaimed after the lane claimed what was.
_LOCK_SPACE = 0x67_6D_05 << 40
_LOT: LiteralString = "SELECT id, project_id, code, name, parent_id, capacity, open FROM parking_lot"
_LANE: LiteralString = """
    SELECT id, project_id, lot_id, code, name, direction, device_id, retired_at, replaces_id FROM parking_lane
"""
_LIST_LANES: LiteralString = (
    _LANE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR lot_id = %(lot_id)s) AND id > %(after)s
      AND (%(retired)s OR retired_at IS NULL)
    ORDER BY id LIMIT %(limit)s
"""
)
_INSERT_LANE: LiteralString = """
    INSERT INTO parking_lane (project_id, lot_id, code, name, direction, device_id, replaces_id)
    VALUES (%(project_id)s, %(lot_id)s, %(code)s, %(name)s, %(direction)s, %(device_id)s, %(replaces_id)s)
    RETURNING id, project_id, lot_id, code, name, direction, device_id, retired_at, replaces_id
"""
_LIST_LOTS: LiteralString = (
    _LOT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
)


async def insert_lot(conn: Conn, project_id: int, code: str, name: str, capacity: int, parent_id: int | None) -> Lot:
    """A new lot."""
    query = """INSERT INTO parking_lot (project_id, code, name, capacity, parent_id) VALUES (%s, %s, %s, %s, %s)
               RETURNING id, project_id, code, name, parent_id, capacity, open"""
    row = await (await conn.execute(query, (project_id, code, name, capacity, parent_id))).fetchone()
    assert row is not None
    return Lot(**row)


async def insert_lane(conn: Conn, values: Mapping[str, object]) -> Lane:
    """A new lane."""
    row = await (await conn.execute(_INSERT_LANE, values)).fetchone()
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


async def lock_lots(conn: Conn, project_id: int) -> dict[int, int | None]:
    """The lot around each lot of a project; nobody else changes lots until the end. Stays are begun and ended."""
    query = "SELECT id, parent_id FROM parking_lot WHERE project_id = %s ORDER BY id FOR NO KEY UPDATE"
    rows = await (await conn.execute(query, (project_id,))).fetchall()
    return {row["id"]: row["parent_id"] for row in rows}


async def update_lot(conn: Conn, lot: Lot) -> None:
    """What can change of a lot, as it is to be."""
    query = "UPDATE parking_lot SET name = %s, capacity = %s, parent_id = %s, open = %s WHERE id = %s"
    await conn.execute(query, (lot.name, lot.capacity, lot.parent_id, lot.open, lot.id))


async def classes(conn: Conn, lot_ids: Sequence[int]) -> dict[int, list[LotClass]]:
    """What lots have for classes of vehicles, by lot."""
    query = """SELECT lot_id, vehicle_class, kept, at_most FROM parking_lot_class
               WHERE lot_id = ANY (%s::bigint[]) ORDER BY vehicle_class"""
    found: dict[int, list[LotClass]] = {lot_id: [] for lot_id in lot_ids}
    for row in await (await conn.execute(query, (list(lot_ids),))).fetchall():
        found[row.pop("lot_id")].append(LotClass(**row))
    return found


async def set_classes(conn: Conn, lot: Lot, wanted: Sequence[LotClass]) -> None:
    """These classes and no others. What stays as it is leaves no trace."""
    named = [one.vehicle_class for one in wanted]
    query = "DELETE FROM parking_lot_class WHERE lot_id = %s AND NOT vehicle_class = ANY (%s::text[])"
    await conn.execute(query, (lot.id, named))
    query = """INSERT INTO parking_lot_class AS c (project_id, lot_id, vehicle_class, kept, at_most)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT (lot_id, vehicle_class)
               DO UPDATE SET kept = excluded.kept, at_most = excluded.at_most
               WHERE (c.kept, c.at_most) IS DISTINCT FROM (excluded.kept, excluded.at_most)"""
    for one in wanted:
        await conn.execute(query, (lot.project_id, lot.id, one.vehicle_class, one.kept, one.at_most))


async def rename_lane(conn: Conn, lane_id: int, name: str) -> None:
    """Another name."""
    await conn.execute("UPDATE parking_lane SET name = %s WHERE id = %s", (name, lane_id))


async def retire_lane(conn: Conn, lane_id: int) -> None:
    """Out of use from now on; unless it is already."""
    await conn.execute(
        "UPDATE parking_lane SET retired_at = clock_timestamp() WHERE id = %s AND retired_at IS NULL", (lane_id,)
    )


async def lane(conn: Conn, lane_id: int) -> Lane | None:
    """One lane."""
    return (await lanes_by_id(conn, [lane_id])).get(lane_id)


async def in_place_of(conn: Conn, lane_id: int) -> Lane | None:
    """The lane that took the place of this one."""
    row = await (await conn.execute(_LANE + " WHERE replaces_id = %s", (lane_id,))).fetchone()
    return None if row is None else Lane(**row)


async def lanes_by_id(conn: Conn, lane_ids: Collection[int]) -> dict[int, Lane]:
    """Those of these lanes that there are."""
    rows = await (await conn.execute(_LANE + " WHERE id = ANY (%s::bigint[])", (sorted(lane_ids),))).fetchall()
    return {row["id"]: Lane(**row) for row in rows}


async def lanes(
    conn: Conn, page: PageRequest, project_id: int | None, lot_id: int | None, *, retired: bool
) -> Page[Lane]:
    """Lanes by id, those that are retired only where they are wanted."""
    query = {
        "project_id": project_id, "lot_id": lot_id, "retired": retired, "after": after_id(page),
        "limit": page.limit + 1,
    }  # fmt: skip
    rows = await (await conn.execute(_LIST_LANES, query)).fetchall()
    return cut([Lane(**row) for row in rows], page, lambda found: (found.id,))


async def lanes_of_devices(conn: Conn, device_ids: Sequence[int]) -> dict[int, list[Lane]]:
    """Lanes by the id of their device, one after the other as they had it."""
    query = _LANE + " WHERE device_id = ANY (%s) ORDER BY id"
    found: dict[int, list[Lane]] = {}
    for row in await (await conn.execute(query, (list(device_ids),))).fetchall():
        found.setdefault(row["device_id"], []).append(Lane(**row))
    return found


def lane_at(lanes: Sequence[Lane], at: datetime) -> Lane | None:
    """Whose of these lanes of one device a passage at `at` is: the first that was in use then, else the last.

    A barrier that goes on reporting after its lane was retired without another in its place still sees vehicles that
    paid or owe: they are that lane's, not nobody's.
    """
    return next(
        (lane for lane in lanes if lane.retired_at is None or at < lane.retired_at), lanes[-1] if lanes else None
    )


async def lock_lanes(conn: Conn, project_id: int, *, exclusive: bool) -> None:
    """Keeps the project's lanes as they are (shared), or everybody else away from them, until the end."""
    if exclusive:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_SPACE + project_id,))
    else:
        await conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK_SPACE + project_id,))


async def lots_of(conn: Conn, project_id: int) -> list[Lot]:
    """All lots of a project, by their codes."""
    rows = await (await conn.execute(_LOT + " WHERE project_id = %s ORDER BY code", (project_id,))).fetchall()
    return [Lot(**row) for row in rows]
