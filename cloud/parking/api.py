"""REST: lots, lanes, stays and what they cost, payments, openings by hand, vehicles."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.identity.guards import Scope, allow
from cloud.kit.errors import Conflict
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.parking import service
from cloud.parking.documents import (
    ClosingIn,
    LaneOut,
    LaneQuery,
    LotOut,
    OpeningIn,
    OpeningOut,
    ParkingPaymentIn,
    ParkingPaymentOut,
    QuoteOut,
    SessionDetailOut,
    SessionOut,
    SessionQuery,
    VehicleIn,
    VehicleOut,
    VehicleQuery,
)
from cloud.parking.records import LotOccupancy

router = APIRouter(prefix="/api/v1", tags=["parking"])

Reader = Annotated[Scope, allow("parking.read")]
Collector = Annotated[Scope, allow("parking.collect")]
Operator = Annotated[Scope, allow("parking.operate")]


@router.get("/parking-lots")
async def list_lots(scope: Reader, query: Annotated[ListQuery, Query()]) -> Listed[LotOut]:
    """Parking lots; staff also see how many vehicles are inside."""
    page = await service.list_lots(scope.conn, query.page(), query.project_id)
    counted: dict[int, LotOccupancy] = {}
    if scope.caller.kind == "staff":
        for project in sorted({lot.project_id for lot in page.items}):
            counted |= {found.lot.id: found for found in await service.cars_inside(scope.conn, project)}
    return Listed(items=[LotOut.of(lot, counted.get(lot.id)) for lot in page.items], next_cursor=page.next_cursor)


@router.get("/parking-lanes")
async def list_lanes(scope: Reader, query: Annotated[LaneQuery, Query()]) -> Listed[LaneOut]:
    """Lanes of the lots; residents see none."""
    page = await service.list_lanes(scope.conn, query.page(), query.project_id, query.lot_id)
    return Listed(items=[LaneOut.of(lane) for lane in page.items], next_cursor=page.next_cursor)


@router.get("/parking-sessions")
async def list_sessions(scope: Reader, query: Annotated[SessionQuery, Query()]) -> Listed[SessionOut]:
    """Stays, newest first; residents see those of their own vehicles."""
    page = await service.list_sessions(scope.conn, query.page(key_length=2), query.wanted())
    return Listed(items=[SessionOut.of(session) for session in page.items], next_cursor=page.next_cursor)


@router.get("/parking-sessions/{session_id}")
async def get_session(session_id: Id, scope: Reader) -> SessionDetailOut:
    """One stay with the steps of its fee, its passages and its payments."""
    return SessionDetailOut.of_detail(await service.get_session(scope.conn, session_id))


@router.get("/parking-sessions/{session_id}/quote")
async def quote(session_id: Id, scope: Reader) -> QuoteOut:
    """What the stay costs now, step by step, and what is still due."""
    return QuoteOut.of(await service.quote(scope.conn, session_id))


@router.post("/parking-payments", status_code=201)
async def pay(body: ParkingPaymentIn, scope: Collector, once: Once) -> ParkingPaymentOut:
    """Takes what is due for a stay; a vehicle that waits at an exit is let out."""

    async def make() -> ParkingPaymentOut:
        session = (await service.get_session(scope.conn, body.session_id)).session
        if session.currency != body.amount.currency:
            raise Conflict("other-currency", f"this stay is charged in {session.currency}", field="amount.currency")
        paid = await service.pay(
            scope.conn,
            body.session_id,
            body.amount.amount,
            body.method,
            _actor(scope),
            created_by=scope.caller.user_id,
            reference=body.reference,
        )
        return ParkingPaymentOut.of(paid)

    return await once.answer(scope.conn, ParkingPaymentOut, make)


@router.post("/parking-lanes/{lane_id}/openings", status_code=201)
async def open_lane(lane_id: Id, body: OpeningIn, scope: Operator, once: Once) -> OpeningOut:
    """Opens a barrier by hand; actor and reason are kept."""

    async def make() -> OpeningOut:
        return OpeningOut(command_id=await service.open_lane(scope.conn, lane_id, body.reason, _actor(scope)))

    return await once.answer(scope.conn, OpeningOut, make)


@router.post("/parking-sessions/{session_id}/closings", status_code=201)
async def close_session(session_id: Id, body: ClosingIn, scope: Operator, once: Once) -> SessionDetailOut:
    """Ends a stay whose vehicle is gone although nobody saw it leave; actor and reason are kept, nothing is charged."""

    async def make() -> SessionDetailOut:
        await service.close_session(scope.conn, session_id, body.reason, _actor(scope))
        return SessionDetailOut.of_detail(await service.get_session(scope.conn, session_id))

    return await once.answer(scope.conn, SessionDetailOut, make)


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


def _actor(scope: Scope) -> str:
    return f"user:{scope.caller.login}"
