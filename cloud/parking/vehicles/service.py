"""Vehicles of people."""

from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest
from cloud.parking.plates import valid_plate
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


async def list_vehicles(
    conn: Conn, page: PageRequest, project_id: int | None = None, plate: str | None = None
) -> Page[Vehicle]:
    """Vehicles by id; residents see their own. Raises InvalidInput for a bad plate."""
    return await repository.vehicles(conn, page, project_id, None if plate is None else valid_plate(plate))
