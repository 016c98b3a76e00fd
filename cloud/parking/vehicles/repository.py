"""SQL of vehicles and whose they are."""

from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.parking.records import (
    Vehicle,
)

_VEHICLE: LiteralString = """
    SELECT id, project_id, plate, vehicle_class, person_id, lower(valid) AS valid_from, upper(valid) AS valid_until
    FROM vehicle
"""
_LIST_VEHICLES: LiteralString = (
    _VEHICLE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(plate)s::text IS NULL OR starts_with(plate, %(plate)s))
      AND (%(current_at)s::timestamptz IS NULL OR upper(valid) IS NULL OR upper(valid) > %(current_at)s)
      AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
"""
)


async def insert_vehicle(
    conn: Conn,
    project_id: int,
    plate: str,
    person_id: int,
    vehicle_class: str,
    valid_from: datetime,
    valid_until: datetime | None,
) -> Vehicle:
    """A new vehicle."""
    query = """INSERT INTO vehicle (project_id, plate, person_id, vehicle_class, valid)
               VALUES (%s, %s, %s, %s, tstzrange(%s, %s)) RETURNING id"""
    row = await (
        await conn.execute(query, (project_id, plate, person_id, vehicle_class, valid_from, valid_until))
    ).fetchone()
    assert row is not None
    return Vehicle(row["id"], project_id, plate, vehicle_class, person_id, valid_from, valid_until)


async def vehicle(conn: Conn, vehicle_id: int) -> Vehicle | None:
    """One vehicle."""
    row = await (await conn.execute(_VEHICLE + " WHERE id = %s", (vehicle_id,))).fetchone()
    return None if row is None else Vehicle(**row)


async def end_vehicle(conn: Conn, vehicle_id: int, at: datetime) -> None:
    """The first moment at which it is no longer his."""
    query = "UPDATE vehicle SET valid = tstzrange(lower(valid), %s) WHERE id = %s"
    await conn.execute(query, (at, vehicle_id))


async def vehicles(
    conn: Conn, page: PageRequest, project_id: int | None, plate: str | None, current_at: datetime | None
) -> Page[Vehicle]:
    """Vehicles by id; `plate` may be the beginning of one, `current_at` leaves out those that are over then."""
    query = {
        "project_id": project_id, "plate": plate, "current_at": current_at, "after": after_id(page),
        "limit": page.limit + 1,
    }  # fmt: skip
    rows = await (await conn.execute(_LIST_VEHICLES, query)).fetchall()
    return cut([Vehicle(**row) for row in rows], page, lambda found: (found.id,))
