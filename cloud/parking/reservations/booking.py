"""Who may reserve for which vehicle: staff for any, residents for those that are registered as theirs."""

from datetime import UTC, datetime

from cloud.identity.guards import Scope, for_the_project
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import PageRequest
from cloud.parking.places.service import get_lot
from cloud.parking.plates import valid_plate
from cloud.parking.records import Vehicle
from cloud.parking.reservations import service
from cloud.parking.reservations.models import ReservationIn
from cloud.parking.reservations.records import Reservation
from cloud.parking.vehicles import service as vehicles

_DEFAULT_CLASS = "small"


async def book(scope: Scope, asked: ReservationIn) -> Reservation:
    """Reserves for the caller. Raises what the service raises; NotFound for a vehicle that is not the resident's."""
    lot = await get_lot(scope.conn, asked.lot_id)
    vehicle = await _registered(scope.conn, lot.project_id, asked.plate)
    wanted = asked.wanted(asked.vehicle_class or (vehicle.vehicle_class if vehicle else _DEFAULT_CLASS))
    if scope.caller.kind != "resident":
        return await service.book(scope.conn, wanted, scope.caller.actor)
    if vehicle is None:
        raise NotFound("not-your-vehicle", "no such vehicle is registered as yours", field="plate")
    wanted = asked.wanted(vehicle.vehicle_class)
    async with for_the_project(scope, lot.project_id) as conn:
        return await service.book(conn, wanted, scope.caller.actor, person_id=vehicle.person_id)


async def cancel(scope: Scope, reservation_id: int, reason: str) -> Reservation:
    """Gives a reservation up; a resident his own. Raises what the service raises."""
    found = await service.get_reservation(scope.conn, reservation_id)
    if scope.caller.kind != "resident":
        return await service.cancel(scope.conn, found.id, scope.caller.actor, reason)
    async with for_the_project(scope, found.project_id) as conn:
        return await service.cancel(conn, found.id, scope.caller.actor, reason)


async def _registered(conn: Conn, project_id: int, plate: str) -> Vehicle | None:
    """The vehicle of this plate now; residents find only their own."""
    now = datetime.now(UTC)
    found = await vehicles.list_vehicles(conn, PageRequest(50), project_id, valid_plate(plate))
    for one in found.items:
        if one.valid_from <= now and (one.valid_until is None or now < one.valid_until):
            return one
    return None
