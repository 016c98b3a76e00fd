"""Pages of reservations: for staff all of a project and the rules of its lots, for residents their own."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalId, OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.parking.counts.counting import counts
from cloud.parking.places import service as places
from cloud.parking.reservations import booking, service
from cloud.parking.reservations.models import ReservationIn, ReservationRuleIn
from cloud.parking.reservations.records import ReservationFilter
from cloud.parking.vehicles import service as vehicles

router = page_router()

_Reads = Annotated[Scope, allow_page("parking.read")]
_Books = Annotated[Scope, allow_page("parking.reserve")]
_State = Literal["", "booked", "arrived", "done", "no-show", "cancelled"]
_SHOWN = 25


@router.get("/parking/reservations")
async def reservations(
    request: Request,
    scope: _Reads,
    state: _State = "",
    lot_id: OptionalId = None,
    plate: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Reservations of the project, a form for a new one, and what may be reserved."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/reservations", 303)
    page = await shown(request, scope)
    asked = ReservationFilter(page.project.id, lot_id, state or None, plate.strip().upper() if plate else None)
    return await _page(page, asked, cursor)


@router.get("/my/reservations")
async def my_reservations(request: Request, scope: _Books, cursor: str | None = None) -> Response:
    """Reservations of the resident, and a form for a new one."""
    page = await shown(request, scope)
    return await _page(page, ReservationFilter(page.project.id), cursor)


@router.post("/parking/reservations")
async def book(request: Request, scope: _Books) -> Response:
    """Reserves a place, or says why not."""
    page = await shown(request, scope)
    values = await forms.typed(request)
    try:
        body = forms.read(ReservationIn, forms.with_times(values, page.project.zone, "since", "until"))
        # What is refused halfway leaves nothing behind, though the page is answered.
        async with scope.conn.transaction():
            await booking.book(scope, body)
    except GatemeterError as error:
        return await _page(page, ReservationFilter(page.project.id), None, values, error)
    return RedirectResponse(f"{_home(scope)}?done=reserved", 303)


@router.post("/parking/reservations/{reservation_id}/cancel")
async def cancel(scope: _Books, reservation_id: int, reason: Annotated[str, Form(max_length=500)] = "") -> Response:
    """Gives a reservation up."""
    await booking.cancel(scope, reservation_id, reason)
    return RedirectResponse(f"{_home(scope)}?done=given-up", 303)


@router.post("/parking/reservation-rules/{lot_id}")
async def set_rule(request: Request, scope: Annotated[Scope, allow_page("parking.write")], lot_id: int) -> Response:
    """Says how many places of a lot may be reserved and how."""
    page = await shown(request, scope)
    values = await forms.typed(request)
    try:
        async with scope.conn.transaction():
            await service.set_rule(scope.conn, forms.read(ReservationRuleIn, values).rule(lot_id))
    except GatemeterError as error:
        return await _page(page, ReservationFilter(page.project.id), None, {}, error)
    return RedirectResponse("/parking/reservations?done=saved", 303)


async def _page(
    page: Shown,
    asked: ReservationFilter,
    cursor: str | None,
    values: dict[str, str] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    conn, project = page.conn, page.project
    lots = (await places.list_lots(conn, PageRequest(MAX_LIMIT), project.id)).items
    rules = await service.rules_of(conn, [lot.id for lot in lots])
    is_resident = page.caller.kind == "resident"
    offered = {one.lot_id for one in rules if one.places and (one.of_person or not is_resident)}
    own = await vehicles.list_vehicles(conn, PageRequest(MAX_LIMIT), project.id) if is_resident else None
    now = datetime.now(UTC)
    return page.page(
        "parking/reservations.html",
        status=problem.status if problem else 200,
        found=await service.list_reservations(conn, page_request(_SHOWN, cursor), asked),
        asked=asked,
        lots=lots,
        rules=rules,
        offered=[lot for lot in lots if lot.id in offered],
        free={one.lot_id: one.free for one in await counts(conn, [project.id], now)},
        plates=[(one.plate, one.plate) for one in (own.items if own else ()) if (one.valid_until or now) >= now],
        values=values or {},
        problem=problem,
        now=now,
        is_resident=is_resident,
        may_reserve=page.caller.may("parking.reserve", project.id),
        may_set=page.caller.may("parking.write", project.id),
    )


def _home(scope: Scope) -> str:
    return "/my/reservations" if scope.caller.kind == "resident" else "/parking/reservations"
