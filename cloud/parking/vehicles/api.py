"""REST: vehicles of people."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking.vehicles import service
from cloud.parking.vehicles.models import VehicleEndIn, VehicleIn, VehicleOut, VehicleQuery

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]


@router.get("/vehicles")
async def list_vehicles(scope: Reader, query: Annotated[VehicleQuery, Query()]) -> Listed[VehicleOut]:
    """Registered vehicles; residents see their own."""
    current_at = datetime.now(UTC) if query.current else None
    page = await service.list_vehicles(scope.conn, query.page(), query.project_id, query.plate, current_at)
    return Listed(items=[VehicleOut.of(vehicle) for vehicle in page.items], next_cursor=page.next_cursor)


@router.post("/vehicles", status_code=201)
async def register_vehicle(body: VehicleIn, scope: Annotated[Scope, allow("parking.write")], once: Once) -> VehicleOut:
    """Registers a vehicle of a person, who sees its stays from then on."""

    async def make() -> VehicleOut:
        vehicle = await service.register_vehicle(
            scope.conn,
            body.project_id,
            body.plate,
            body.person_id,
            body.vehicle_class,
            body.valid_from,
            body.valid_until,
        )
        return VehicleOut.of(vehicle)

    return await once.answer(scope.conn, VehicleOut, make)


@router.get("/vehicles/{vehicle_id}")
async def get_vehicle(vehicle_id: Id, scope: Reader) -> VehicleOut:
    """One vehicle."""
    return VehicleOut.of(await service.get_vehicle(scope.conn, vehicle_id))


@router.post("/vehicles/{vehicle_id}/end", status_code=201)
async def end_vehicle(
    vehicle_id: Id, body: VehicleEndIn, scope: Annotated[Scope, allow("parking.write")], once: Once
) -> VehicleOut:
    """The vehicle is no longer that person's; whose it was then is kept."""

    async def make() -> VehicleOut:
        return VehicleOut.of(await service.end_vehicle(scope.conn, vehicle_id, body.at or datetime.now(UTC)))

    return await once.answer(scope.conn, VehicleOut, make)
