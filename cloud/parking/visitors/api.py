"""REST: visitor passes, and vehicles that residents say are theirs."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.errors import Forbidden
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking.visitors import service
from cloud.parking.visitors.models import (
    PassIn,
    PassOut,
    PassQuery,
    VehicleDecisionIn,
    VehicleRequestIn,
    VehicleRequestOut,
    VehicleRequestQuery,
)

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Inviter = Annotated[Scope, allow("parking.invite")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/visitor-passes")
async def list_passes(scope: Reader, query: Annotated[PassQuery, Query()]) -> Listed[PassOut]:
    """Visitor passes, newest first; residents see those they gave."""
    holding_at = datetime.now(UTC) if query.holding else None
    page = await service.list_passes(scope.conn, query.page(), query.project_id, query.plate, holding_at)
    return Listed(items=[PassOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/visitor-passes", status_code=201)
async def give_pass(body: PassIn, scope: Inviter, once: Once) -> PassOut:
    """Lets a plate in for a time; lanes know it within a minute. A resident gives what the project lets him."""

    async def make() -> PassOut:
        person_id = await giver(scope, body.project_id)
        made = await service.give_pass(
            scope.conn, body.project_id, body.wanted(), person_id=person_id, by=scope.caller.user_id
        )
        return PassOut.of(made)

    return await once.answer(scope.conn, PassOut, make)


@router.post("/visitor-passes/{pass_id}/revocations", status_code=201)
async def revoke_pass(pass_id: Id, scope: Inviter, once: Once) -> PassOut:
    """Takes a pass back at once."""

    async def make() -> PassOut:
        return PassOut.of(await service.revoke_pass(scope.conn, pass_id))

    return await once.answer(scope.conn, PassOut, make)


@router.get("/vehicle-requests")
async def list_requests(scope: Reader, query: Annotated[VehicleRequestQuery, Query()]) -> Listed[VehicleRequestOut]:
    """Vehicles that residents say are theirs, newest first; residents see their own requests."""
    page = await service.list_requests(scope.conn, query.page(), query.project_id, query.state)
    return Listed(items=[VehicleRequestOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/vehicle-requests", status_code=201)
async def ask_for_vehicle(body: VehicleRequestIn, scope: Inviter, once: Once) -> VehicleRequestOut:
    """A resident names his vehicle; it is his once staff agree, or at once where the project wants it so."""

    async def make() -> VehicleRequestOut:
        person_id = await giver(scope, body.project_id)
        if person_id is None:
            raise Forbidden("residents-only", "staff register vehicles themselves")
        made = await service.ask_for_vehicle(
            scope.conn, body.project_id, person_id, body.plate, body.vehicle_class, by=scope.caller.user_id
        )
        return VehicleRequestOut.of(made)

    return await once.answer(scope.conn, VehicleRequestOut, make)


@router.post("/vehicle-requests/{request_id}/decisions", status_code=201)
async def decide_request(request_id: Id, body: VehicleDecisionIn, scope: Writer, once: Once) -> VehicleRequestOut:
    """Registers the vehicle that was asked for, or says why not."""

    async def make() -> VehicleRequestOut:
        found = await service.decide_request(
            scope.conn, request_id, body.note, approve=body.approve, by=scope.caller.user_id
        )
        return VehicleRequestOut.of(found)

    return await once.answer(scope.conn, VehicleRequestOut, make)


async def giver(scope: Scope, project_id: int) -> int | None:
    """The record of the resident who asks; None for staff. Raises NotFound."""
    if scope.caller.kind == "staff":
        return None
    return await service.person_in(scope.conn, scope.caller.persons, project_id)
