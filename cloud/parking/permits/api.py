"""REST: permits and their plates."""

from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router, take_in
from cloud.parking.permits import cards_api, classes, endings, lanes, service
from cloud.parking.permits.models import (
    ClassIn,
    EndedOut,
    EndingIn,
    LanesIn,
    PermitChangeIn,
    PermitDetailOut,
    PermitIn,
    PermitOut,
    PermitQuery,
    PlateEndIn,
    PlateIn,
    SuspensionIn,
)

router = rest_router("parking")
take_in(router, cards_api.router)

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-permits")
async def list_permits(scope: Reader, query: Annotated[PermitQuery, Query()]) -> Listed[PermitOut]:
    """Permits, newest first; residents see their own."""
    page = await service.list_permits(scope.conn, query.page(), query.wanted())
    return Listed(items=[PermitOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/parking-permits/{permit_id}")
async def get_permit(permit_id: Id, scope: Reader) -> PermitDetailOut:
    """A permit with all its plates, periods and months."""
    detail = await service.get_detail(scope.conn, permit_id)
    project = await estate.get_project(scope.conn, detail.permit.project_id)
    return PermitDetailOut.whole(detail, project.currency)


@router.post("/parking-permits", status_code=201)
async def create_permit(body: PermitIn, scope: Writer, once: Once) -> PermitOut:
    """A permit that costs nothing: an owner's space, staff, VIP, visitors. Gateways are told of it at once."""

    async def make() -> PermitOut:
        project = await estate.get_project(scope.conn, body.project_id)
        new = body.new(project.zone)
        return PermitOut.of(await service.create_permit(scope.conn, project.id, new, by=scope.caller.user_id))

    return await once.answer(scope.conn, PermitOut, make)


@router.put("/parking-permits/{permit_id}/holding")
async def change_permit(permit_id: Id, body: PermitChangeIn, scope: Writer) -> PermitOut:
    """Who holds it, who pays, where it stands, whether it is renewed by itself."""
    changed = await service.change_permit(scope.conn, permit_id, body.holding(), renews=body.renews)
    return PermitOut.of(changed)


@router.post("/parking-permits/{permit_id}/class-changes", status_code=201)
async def change_class(permit_id: Id, body: ClassIn, scope: Writer, once: Once) -> PermitOut:
    """From now on it is only for vehicles of another class; what was before stays covered as it was."""

    async def make() -> PermitOut:
        return PermitOut.of(await classes.change_class(scope.conn, permit_id, body.vehicle_class or ""))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/lane-changes", status_code=201)
async def change_lanes(permit_id: Id, body: LanesIn, scope: Writer, once: Once) -> PermitOut:
    """Who comes in from now on has to come by one of these lanes; stays that have begun are what they are."""

    async def make() -> PermitOut:
        return PermitOut.of(await lanes.change_lanes(scope.conn, permit_id, body.lane_ids))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/plates", status_code=201)
async def add_plate(permit_id: Id, body: PlateIn, scope: Writer, once: Once) -> PermitOut:
    """Another vehicle, from now or from an instant on."""

    async def make() -> PermitOut:
        return PermitOut.of(await service.add_plate(scope.conn, permit_id, body.plate, body.valid_from))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/plate-removals", status_code=201)
async def remove_plate(permit_id: Id, body: PlateEndIn, scope: Writer, once: Once) -> PermitOut:
    """A vehicle is not of the permit any more, from now or from an instant on."""

    async def make() -> PermitOut:
        return PermitOut.of(await service.remove_plate(scope.conn, permit_id, body.plate, body.valid_until))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/suspensions", status_code=201)
async def suspend(permit_id: Id, body: SuspensionIn, scope: Writer, once: Once) -> PermitOut:
    """Covers nothing from now on, until it is resumed."""

    async def make() -> PermitOut:
        return PermitOut.of(await service.suspend(scope.conn, permit_id, body.reason))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/resumptions", status_code=201)
async def resume(permit_id: Id, scope: Writer, once: Once) -> PermitOut:
    """Covers again from now on."""

    async def make() -> PermitOut:
        return PermitOut.of(await service.resume(scope.conn, permit_id))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/endings", status_code=201)
async def end_permit(permit_id: Id, body: EndingIn, scope: Writer, once: Once) -> EndedOut:
    """Ends it, and gives back the months that have not begun by then."""

    async def make() -> EndedOut:
        ended = await endings.end_permit(
            scope.conn, permit_id, body.reason, ends_at=body.ends_at, method=body.method, by=scope.caller.user_id
        )
        return EndedOut.of(ended)

    return await once.answer(scope.conn, EndedOut, make)
