"""Pages of lots and lanes: what there is, how it is changed, lanes made and retired."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.devices import service as devices
from cloud.devices.records import Device
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.routing import page_router
from cloud.parking.counts.counting import counts
from cloud.parking.places import lanes, service
from cloud.parking.places.models import LaneIn, LotClassIn, LotIn, LotPatch
from cloud.parking.records import Lot
from cloud.parking.spaces import service as spaces

router = page_router()

Reading = Annotated[Scope, allow_page("parking.read")]
Writing = Annotated[Scope, allow_page("parking.write")]

_ALL: Final = PageRequest(MAX_LIMIT)


@router.get("/parking-lots")
async def lots(request: Request, scope: Reading) -> Response:
    """Lots of the project, with who is inside, and a form for another one."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    return await _lots(request, scope, {}, None)


@router.post("/parking-lots")
async def create_lot(request: Request, scope: Writing) -> Response:
    """A new lot; what is wrong is said beside the form."""
    typed = await forms.typed(request)
    page = await shown(request, scope)

    async def make() -> None:
        body = forms.read(LotIn, {**typed, "project_id": page.project.id})
        await service.create_lot(scope.conn, **body.model_dump())

    problem = await forms.refused(scope.conn, make)
    if problem is not None:
        return await _lots(request, scope, typed, problem)
    return RedirectResponse("/parking-lots?done=saved", 303)


@router.get("/parking-lots/{lot_id}")
async def lot(request: Request, scope: Reading, lot_id: int) -> Response:
    """A lot: what is said of it, its lanes, its spaces by state."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    return await _lot(request, scope, lot_id, {}, None)


@router.post("/parking-lots/{lot_id}")
async def change_lot(request: Request, scope: Writing, lot_id: int) -> Response:
    """Name, capacity and the lot around; that it has none when the field was emptied."""
    typed = await forms.typed(request)

    async def change() -> None:
        body = forms.read(LotPatch, {"parent_id": None, **typed})
        await service.change_lot(scope.conn, body.changed(await service.get_lot(scope.conn, lot_id)))

    return await _answer(request, scope, lot_id, typed, await forms.refused(scope.conn, change))


@router.post("/parking-lots/{lot_id}/open")
async def open_or_close(scope: Writing, lot_id: int, wanted: Annotated[bool, Form()]) -> Response:
    """Opens the lot to new entries, or closes it to them."""
    known = await service.get_lot(scope.conn, lot_id)
    await service.change_lot(scope.conn, LotPatch(open=wanted).changed(known))
    return _to_lot(lot_id)


@router.post("/parking-lots/{lot_id}/classes")
async def set_class(request: Request, scope: Writing, lot_id: int) -> Response:
    """What is for one class of vehicles; neither number: nothing of its own."""
    typed = await forms.typed(request)

    async def change() -> None:
        named = forms.read(LotClassIn, typed).record()
        known = await service.get_lot(scope.conn, lot_id)
        others = (await service.classes_of(scope.conn, [lot_id]))[lot_id]
        wanted = [one for one in others if one.vehicle_class != named.vehicle_class]
        if named.kept or named.at_most is not None:
            wanted.append(named)
        await service.change_lot(scope.conn, known, wanted)

    return await _answer(request, scope, lot_id, typed, await forms.refused(scope.conn, change))


@router.post("/parking-lots/{lot_id}/lanes")
async def create_lane(request: Request, scope: Writing, lot_id: int) -> Response:
    """A new lane of the lot."""
    typed = await forms.typed(request)

    async def make() -> None:
        body = forms.read(LaneIn, {**typed, "lot_id": lot_id})
        await lanes.create_lane(scope.conn, **body.model_dump())

    return await _answer(request, scope, lot_id, typed, await forms.refused(scope.conn, make))


@router.post("/parking-lanes/{lane_id}/name")
async def rename_lane(scope: Writing, lane_id: int, name: Annotated[str, Form(max_length=200)]) -> Response:
    """Another name of a lane."""
    lane = await lanes.rename_lane(scope.conn, lane_id, name)
    return _to_lot(lane.lot_id)


@router.post("/parking-lanes/{lane_id}/retirement")
async def retire_lane(scope: Writing, lane_id: int) -> Response:
    """Takes a lane out of use."""
    return _to_lot((await lanes.retire_lane(scope.conn, lane_id)).lot_id)


async def _answer(
    request: Request, scope: Scope, lot_id: int, typed: Mapping[str, str], problem: GatemeterError | None
) -> Response:
    return _to_lot(lot_id) if problem is None else await _lot(request, scope, lot_id, typed, problem)


async def _lots(request: Request, scope: Scope, values: Mapping[str, str], problem: GatemeterError | None) -> Response:
    page = await shown(request, scope)
    project_id = page.project.id
    known = await service.lots_of(scope.conn, project_id)
    lanes = (await service.list_lanes(scope.conn, _ALL, project_id)).items
    room = {one.lot_id: one for one in await counts(scope.conn, [project_id], datetime.now(UTC))}
    return page.page(
        "parking/lots.html",
        status=problem.status if problem else 200,
        lots=_nested({lot.id: lot for lot in known}),
        room=room,
        lanes={lot.id: sum(lane.lot_id == lot.id for lane in lanes) for lot in known},
        lot_choices=[(lot.id, lot.name) for lot in known],
        values=values,
        problem=problem,
        may_write=scope.caller.may("parking.write", project_id),
    )


async def _lot(
    request: Request, scope: Scope, lot_id: int, values: Mapping[str, str], problem: GatemeterError | None
) -> Response:
    page = await shown(request, scope)
    found = await service.get_lot(scope.conn, lot_id)
    may_write = scope.caller.may("parking.write", found.project_id)
    counted = await counts(scope.conn, [found.project_id], datetime.now(UTC))
    return page.page(
        "parking/lot.html",
        status=problem.status if problem else 200,
        lot=found,
        room=next(one for one in counted if one.lot_id == lot_id),
        parent_choices=[(one.lot_id, one.name) for one in counted if one.lot_id != lot_id],
        classes=(await service.classes_of(scope.conn, [lot_id]))[lot_id],
        spaces=await spaces.counts(scope.conn, lot_id, datetime.now(UTC)),
        values=values,
        problem=problem,
        may_write=may_write,
        may_operate=scope.caller.may("parking.operate", found.project_id),
        **await _lanes(scope.conn, found, offered=may_write),
    )


async def _lanes(conn: Conn, lot: Lot, *, offered: bool) -> dict[str, Any]:
    """Lanes of the lot with their barriers, whose place can be taken, and the barriers that no lane has."""
    lanes = (await service.list_lanes(conn, _ALL, lot.project_id, retired=True)).items
    used = {lane.device_id for lane in lanes if lane.retired_at is None}
    own = [lane for lane in lanes if lane.lot_id == lot.id]
    replaced = {lane.replaces_id: lane for lane in own if lane.replaces_id is not None}
    free: list[Device] = []
    if offered:
        found = (await devices.list_devices(conn, _ALL, lot.project_id)).items
        free = [one for one in found if one.kind == "barrier" and one.id not in used]
    return {
        "lanes": [lane for lane in own if lane.retired_at is None],
        "retired": [lane for lane in own if lane.retired_at is not None],
        "replaced": replaced,
        "replaceable": [(lane.id, f"{lane.name} · {lane.code}") for lane in own if lane.id not in replaced],
        "barriers": await devices.devices_by_id(conn, {lane.device_id for lane in own}),
        "free_barriers": [(one.id, f"{one.gateway_code} / {one.code}") for one in free],
    }


def _nested(lots: Mapping[int, Lot]) -> list[tuple[int, Lot]]:
    """(depth, lot), each lot after the one around it."""
    found: list[tuple[int, Lot]] = []

    def add(parent: int | None, depth: int) -> None:
        for lot in lots.values():
            if lot.parent_id == parent:
                found.append((depth, lot))
                add(lot.id, depth + 1)

    add(None, 0)
    return found


def _to_lot(lot_id: int) -> Response:
    return RedirectResponse(f"/parking-lots/{lot_id}?done=saved", 303)
