"""Pages of permits: the list with its filters, one permit, the form of a new one, and a resident's own."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.forms import read, refused, typed
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.parking.permits import cards, classes, endings, lanes, service, standing
from cloud.parking.permits.models import ClassIn, LanesIn, PermitIn
from cloud.parking.permits.records import KINDS, STATES, Holding, Offer, Permit, PermitFilter, PermitKind, PermitState
from cloud.parking.permits.written import numbers_in
from cloud.parking.places import service as places
from cloud.parking.spaces import service as spaces
from cloud.payments import service as payments

router = page_router()

Reader = Annotated[Scope, allow_page("parking.read")]
Writer = Annotated[Scope, allow_page("parking.write")]

_READ_BY_HAND = ("account", "plates", "numbers")


@router.get("/parking/permits")
async def permits(
    request: Request,
    scope: Reader,
    plate: OptionalText = None,
    kind: Literal["", PermitKind] = "",
    state: Literal["", PermitState] = "",
    lot_id: OptionalId = None,
    lane_id: OptionalId = None,
    written: bool = False,
    matched: int | None = None,
    cursor: str | None = None,
) -> Response:
    """Permits of the project, newest first; `written`: those of whose spaces something is only written."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/permits", 303)
    page = await shown(request, scope)
    only = (kind or None, state or None, plate, lot_id, lane_id)
    wanted = PermitFilter(page.project.id, *only, written=written or None)
    problem: GatemeterError | None = None
    try:
        found = await service.list_permits(scope.conn, page_request(None, cursor), wanted)
    except InvalidInput as error:
        problem, found = error, await service.list_permits(scope.conn, PageRequest(), replace(wanted, plate=None))
    return page.page(
        "parking/permits.html",
        permits=found,
        wanted=wanted,
        problem=problem,
        matched=matched,
        kinds=KINDS,
        states=STATES,
        may_write=scope.caller.may("parking.write", page.project.id),
        may_collect=scope.caller.may("parking.collect", page.project.id),
        **await named(page),
    )


@router.get("/parking/permits/new")
async def new_permit(request: Request, scope: Writer) -> Response:
    """The form of a permit that costs nothing."""
    return await _form(await shown(request, scope), {})


@router.post("/parking/permits/new")
async def create_permit(request: Request, scope: Writer) -> Response:
    """Makes the permit that was typed; what is wrong is said above the form."""
    page = await shown(request, scope)
    values = await typed(request)
    form = await request.form()
    chosen = {name: form.getlist(name) for name in ("lot_ids", "lane_ids")}
    made: list[Permit] = []

    async def make() -> None:
        holding = await holding_typed(page, values)
        told = {name: value for name, value in values.items() if name not in _READ_BY_HAND}
        held = {"person_id": holding.person_id, "unit_id": holding.unit_id, "account_id": holding.account_id}
        whole = {**told, **held, **chosen, "project_id": page.project.id, "plates": holding.plates}
        body = read(PermitIn, whole)
        space_ids = await spaces.by_numbers(scope.conn, body.lot_ids, numbers_in(values.get("numbers", "")))
        new = body.new(page.project.zone)
        new = replace(new, holding=replace(new.holding, space_ids=tuple(space_ids)))
        made.append(await service.create_permit(scope.conn, page.project.id, new, by=scope.caller.user_id))

    problem = await refused(scope.conn, make)
    if problem is not None:
        return await _form(page, {**values, **chosen}, problem)
    return RedirectResponse(f"/parking/permits/{made[0].id}?done=saved", 303)


@router.get("/parking/permits/{permit_id}")
async def permit(request: Request, scope: Reader, permit_id: int, months: int = 1) -> Response:
    """One permit: its plates, its time, and what can be done with it."""
    return await show(await shown(request, scope), permit_id, months)


@router.post("/parking/permits/{permit_id}/plates")
async def change_plates(
    request: Request,
    scope: Writer,
    permit_id: int,
    plate: Annotated[str, Form(max_length=64)],
    change: Annotated[Literal["add", "remove"], Form()] = "add",
) -> Response:
    """A vehicle more or less from now on."""
    page = await shown(request, scope)
    work = service.add_plate if change == "add" else service.remove_plate
    problem = await refused(scope.conn, lambda: work(scope.conn, permit_id, plate))
    return await answer(page, permit_id, problem)


@router.post("/parking/permits/{permit_id}/state")
async def change_state(
    request: Request,
    scope: Writer,
    permit_id: int,
    change: Annotated[Literal["suspend", "resume", "end"], Form()],
    reason: Annotated[str, Form(max_length=300)] = "",
) -> Response:
    """Suspends, resumes or ends it, from now on."""
    page = await shown(request, scope)

    async def make() -> None:
        if change == "suspend":
            await service.suspend(scope.conn, permit_id, reason)
        elif change == "resume":
            await service.resume(scope.conn, permit_id)
        else:
            await endings.end_permit(scope.conn, permit_id, reason, by=scope.caller.user_id)

    return await answer(page, permit_id, await refused(scope.conn, make))


@router.post("/parking/permits/{permit_id}/holding")
async def change_holding(request: Request, scope: Writer, permit_id: int) -> Response:
    """Who holds it and pays, where it stands, whether it is renewed by itself."""
    page = await shown(request, scope)
    values = await typed(request)

    async def make() -> None:
        holding = await holding_typed(page, values)
        found = await service.get_permit(scope.conn, permit_id)
        if holding.account_id is None:  # a person or a home without an account was said with the API
            holding = replace(holding, person_id=found.person_id, unit_id=found.unit_id)
        await service.change_permit(scope.conn, permit_id, holding, renews=values.get("renews") == "true")

    return await answer(page, permit_id, await refused(scope.conn, make))


@router.post("/parking/permits/{permit_id}/class")
async def change_class(request: Request, scope: Writer, permit_id: int) -> Response:
    """Only vehicles of another class from now on."""
    page = await shown(request, scope)
    values = await typed(request)

    async def make() -> None:
        wanted = read(ClassIn, {"vehicle_class": None, **values}).vehicle_class
        await classes.change_class(scope.conn, permit_id, wanted or "")

    return await answer(page, permit_id, await refused(scope.conn, make))


@router.post("/parking/permits/{permit_id}/lanes")
async def change_lanes(request: Request, scope: Writer, permit_id: int) -> Response:
    """Who comes in from now on has to come by one of the lanes that are ticked."""
    page = await shown(request, scope)
    chosen = (await request.form()).getlist("lane_ids")

    async def make() -> None:
        await lanes.change_lanes(scope.conn, permit_id, read(LanesIn, {"lane_ids": chosen}).lane_ids)

    return await answer(page, permit_id, await refused(scope.conn, make))


@router.get("/my/permits")
async def my_permits(request: Request, scope: Reader) -> Response:
    """The resident's own permits; row-level security leaves no others."""
    page = await shown(request, scope)
    wanted = PermitFilter(project_id=page.project.id)
    found = await service.list_permits(scope.conn, PageRequest(MAX_LIMIT), wanted)
    return page.page("parking/my_permits.html", permits=found.items, **await named(page))


async def answer(page: Shown, permit_id: int, problem: GatemeterError | None) -> Response:
    """To the page of the permit that was changed, or the same page with what was wrong."""
    if problem is not None:
        return await show(page, permit_id, problem=problem)
    return RedirectResponse(f"/parking/permits/{permit_id}?done=saved", 303)


async def show(page: Shown, permit_id: int, months: int = 1, problem: GatemeterError | None = None) -> Response:
    """The page of one permit, with what was wrong."""
    detail = await service.get_detail(page.conn, permit_id)
    account = None
    if detail.permit.account_id is not None:
        account = (await estate.accounts_by_id(page.conn, [detail.permit.account_id])).get(detail.permit.account_id)
    unit_id = detail.permit.unit_id
    units = {} if unit_id is None else await estate.units_by_id(page.conn, [unit_id])
    return page.page(
        "parking/permit.html",
        status=problem.status if problem else 200,
        permit=detail.permit,
        detail=detail,
        account=account,
        unit=None if unit_id is None else units.get(unit_id),
        offer=await _offer(page.conn, permit_id, months),
        months=months,
        methods=payments.METHODS,
        problem=problem,
        offered=[] if detail.permit.ended_at else await standing.offered(page.conn, permit_id),
        may_write=page.caller.may("parking.write", detail.permit.project_id),
        may_collect=page.caller.may("parking.collect", detail.permit.project_id),
        **await named(page),
    )


async def named(page: Shown) -> dict[str, Any]:
    """What pages say beside permits: lots, lanes and cards by id."""
    gates = await places.list_lanes(page.conn, PageRequest(MAX_LIMIT), page.project.id, retired=True)
    lots = await places.list_lots(page.conn, PageRequest(MAX_LIMIT), page.project.id)
    products = await cards.list_products(page.conn, PageRequest(MAX_LIMIT), page.project.id, withdrawn=True)
    return {
        "lots": {lot.id: lot.name for lot in lots.items},
        "lanes": {lane.id: lane for lane in gates.items if lane.direction == "entry"},
        "products": {product.id: product for product in products.items},
    }


async def holding_typed(page: Shown, values: Mapping[str, str]) -> Holding:
    """Whose a permit is, as it was typed: the person and the home of an account hold it. Raises InvalidInput."""
    plates = tuple(values.get("plates", "").replace(",", " ").replace("，", " ").replace("、", " ").split())
    told = Holding(plates, space=values.get("space", ""), note=values.get("note", ""))
    number = values.get("account", "")
    if not number:
        return told
    wanted = EstateFilter(project_id=page.project.id, number=number)
    found = await estate.list_accounts(page.conn, PageRequest(1), wanted)
    if not found.items:
        raise InvalidInput("no-such-account", "there is no account of this number", field="account")
    payer = found.items[0]
    return replace(told, person_id=payer.person_id, unit_id=payer.unit_id, account_id=payer.id)


async def _offer(conn: Conn, permit_id: int, months: int) -> Offer | None:
    """What a renewal costs; None of what is not renewed, or not for so long."""
    try:
        return await cards.renewal_offer(conn, permit_id, months)
    except GatemeterError:
        return None


async def _form(page: Shown, values: Mapping[str, Any], problem: GatemeterError | None = None) -> Response:
    known = await named(page)
    return page.page(
        "parking/permit_new.html",
        status=problem.status if problem else 200,
        values=values,
        problem=problem,
        kinds=[kind for kind in KINDS if kind != "monthly-card"],
        today=local_day(datetime.now(UTC), page.project.zone),
        offered=await standing.offered_in(page.conn, list(known["lots"])),
        **known,
    )
