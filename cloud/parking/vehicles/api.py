"""REST: vehicles of people."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Listed
from cloud.parking import service
from cloud.parking.vehicles.models import VehicleIn, VehicleOut, VehicleQuery

router = APIRouter()

Reader = Annotated[Scope, allow("parking.read")]


@router.get("/vehicles")
async def list_vehicles(scope: Reader, query: Annotated[VehicleQuery, Query()]) -> Listed[VehicleOut]:
    """Registered vehicles; residents see their own."""
    page = await service.list_vehicles(scope.conn, query.page(), query.project_id, query.plate)
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
