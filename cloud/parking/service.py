"""The door of the parking feature: setting it up, taking passages, charging, and what others ask about it."""

import hashlib
from datetime import UTC, date, datetime

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking import repository
from cloud.parking.charging import close_session, let_out_waiting, open_lane, pay, quote
from cloud.parking.charging import get_session as _get_session
from cloud.parking.matching import Direction
from cloud.parking.models import ParkingRule
from cloud.parking.plates import valid_plate
from cloud.parking.records import (
    Lane,
    Lot,
    LotOccupancy,
    RuleVersion,
    Session,
    SessionDetail,
    SessionFilter,
    Vehicle,
)
from cloud.parking.stays import apply_passages, claim_passages

__all__ = [
    "apply_passages",
    "cars_inside",
    "close_session",
    "create_lane",
    "create_lot",
    "get_lot",
    "get_session",
    "let_out_waiting",
    "list_lanes",
    "list_lots",
    "list_sessions",
    "list_vehicles",
    "open_lane",
    "pay",
    "publish_rule",
    "quote",
    "register_vehicle",
    "rules_of_lot",
]


async def create_lot(
    conn: Conn, project_id: int, code: str, name: str, capacity: int, parent_id: int | None = None
) -> Lot:
    """A new lot, its code unique in the project."""
    if capacity < 0:
        raise InvalidInput("bad-capacity", f"expected 0 or more spaces, got {capacity}", field="capacity")
    return await repository.insert_lot(conn, project_id, code, name, capacity, parent_id)


async def get_lot(conn: Conn, lot_id: int) -> Lot:
    """Raises NotFound."""
    found = await repository.lot(conn, lot_id)
    if found is None:
        raise NotFound("no-lot", f"there is no parking lot {lot_id}", field="lot_id")
    return found


async def list_lots(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[Lot]:
    """Lots by id."""
    return await repository.lots(conn, page, project_id)


async def create_lane(conn: Conn, lot_id: int, code: str, name: str, direction: Direction, device_id: int) -> Lane:
    """A new lane of a lot at a barrier device; passages of the device that came before are taken in now.

    Raises NotFound, and InvalidInput when the device is no barrier.
    """
    lot = await get_lot(conn, lot_id)
    device = await devices.get_device(conn, device_id)
    if device.kind != "barrier":
        raise InvalidInput("no-barrier", f"device {device.code} is a {device.kind}, no barrier", field="device_id")
    await repository.lock_lanes(conn, lot.project_id, exclusive=True)
    lane = await repository.insert_lane(conn, lot.project_id, lot_id, code, name, direction, device_id)
    await claim_passages(conn, lane)
    return lane


async def list_lanes(
    conn: Conn, page: PageRequest, project_id: int | None = None, lot_id: int | None = None
) -> Page[Lane]:
    """Lanes by id; residents see none."""
    return await repository.lanes(conn, page, project_id, lot_id)


async def publish_rule(
    conn: Conn, lot_id: int, rule: ParkingRule, valid_from: date, published_by: int | None = None
) -> RuleVersion:
    """Puts a fee rule in force for vehicles that enter on `valid_from` or later; the rule before it ends there.

    Raises NotFound, and Conflict when the currency is not the project's or a version begins then or later.
    """
    lot = await get_lot(conn, lot_id)
    project = await estate.get_project(conn, lot.project_id)
    if rule.currency != project.currency:
        detail = f"the rule is in {rule.currency}, the project in {project.currency}"
        raise Conflict("other-currency", detail, field="currency")
    latest = next(reversed(await repository.rules(conn, [lot_id])), None)
    if latest is not None and latest.valid_from >= valid_from:
        detail = f"version {latest.version} begins on {latest.valid_from}: the next must begin later"
        raise Conflict("rule-overlaps", detail, field="valid_from")
    content_hash = hashlib.sha256(rule.model_dump_json().encode()).digest()
    return await repository.publish_rule(conn, lot, valid_from, rule, content_hash, published_by)


async def rules_of_lot(conn: Conn, lot_id: int) -> list[RuleVersion]:
    """All versions of a lot's rule, oldest first."""
    return await repository.rules(conn, [lot_id])


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


async def cars_inside(conn: Conn, project_id: int) -> list[LotOccupancy]:
    """Each lot with the number of vehicles inside: its open sessions, counted."""
    return await repository.occupancy(conn, project_id)


async def list_sessions(conn: Conn, page: PageRequest, wanted: SessionFilter) -> Page[Session]:
    """Stays, newest first; residents see those of their own vehicles."""
    return await repository.sessions(conn, page, wanted)


async def get_session(conn: Conn, session_id: int) -> SessionDetail:
    """A stay with its passages and payments. Raises NotFound."""
    session = await _get_session(conn, session_id)
    payments = await repository.payments(conn, [session_id])
    return SessionDetail(session, await repository.passages(conn, session_id), payments.get(session_id, []))
