"""Vehicles of people."""

from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.plates import bare_plate, valid_plate
from cloud.parking.records import (
    Vehicle,
)
from cloud.parking.vehicles import repository


async def register_vehicle(
    conn: Conn,
    project_id: int,
    plate: str,
    person_id: int,
    vehicle_class: str = "small",
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> Vehicle:
    """A person's vehicle: he sees its stays of that time. Raises InvalidInput for a bad plate or an empty time."""
    begins = valid_from or datetime.now(UTC)
    if valid_until is not None and valid_until <= begins:
        raise InvalidInput("bad-validity", "expected an end after the beginning", field="valid_until")
    return await repository.insert_vehicle(
        conn, project_id, valid_plate(plate), person_id, vehicle_class, begins, valid_until
    )


async def get_vehicle(conn: Conn, vehicle_id: int) -> Vehicle:
    """Raises NotFound."""
    found = await repository.vehicle(conn, vehicle_id)
    if found is None:
        raise NotFound("no-vehicle", f"there is no vehicle {vehicle_id}", field="vehicle_id")
    return found


async def end_vehicle(conn: Conn, vehicle_id: int, at: datetime) -> Vehicle:
    """From `at` on the vehicle is no longer that person's; stays of before are still his to see.

    Raises NotFound, and InvalidInput when it began later or is over before.
    """
    known = await get_vehicle(conn, vehicle_id)
    if at <= known.valid_from:
        raise InvalidInput("bad-validity", "expected an end after the beginning", field="at")
    if known.valid_until is not None and at > known.valid_until:
        raise InvalidInput("bad-validity", "it ends earlier already", field="at")
    await repository.end_vehicle(conn, vehicle_id, at)
    return await get_vehicle(conn, vehicle_id)


async def list_vehicles(
    conn: Conn,
    page: PageRequest,
    project_id: int | None = None,
    plate: str | None = None,
    current_at: datetime | None = None,
) -> Page[Vehicle]:
    """Vehicles by id; residents see their own. `plate` may be the beginning of one; `current_at`: not over then."""
    beginning = bare_plate(plate) if plate else ""
    return await repository.vehicles(conn, page, project_id, beginning or None, current_at)
