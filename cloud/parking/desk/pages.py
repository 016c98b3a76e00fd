"""Pages of the guard's desk and of stays: who is inside, who waits to pay, opening by hand."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.devices import service as devices
from cloud.devices.records import Command
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking import service
from cloud.parking.charging.public_address import place_for
from cloud.parking.desk.watching import AtExit, at_exits, unclaimed
from cloud.parking.plates import bare_plate
from cloud.parking.records import Quote, Session, SessionFilter
from cloud.parking.stays.tickets import ticket_of_vehicle

router = page_router()

_SESSIONS_SHOWN = 25


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A vehicle at an exit; `quote` is None when nobody can price its stay, `order` the last order to open for it."""

    at: AtExit
    session: Session | None
    quote: Quote | None
    order: Command | None


@router.get("/parking")
async def desk(
    request: Request,
    scope: Annotated[Scope, allow_page("parking.read")],
    state: Literal["", "open", "closed", "unmatched"] = "",
    plate: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Lots, vehicles waiting at exits, lanes, and the stays."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    page = await shown(request, scope)
    now = datetime.now(UTC)
    project_id = page.project.id
    wanted = SessionFilter(project_id=project_id, state=state or None, plate=bare_plate(plate or "") or None)
    return page.page(
        "parking/desk.html",
        lots=await service.cars_inside(scope.conn, project_id),
        lanes=(await service.list_lanes(scope.conn, PageRequest(MAX_LIMIT), project_id)).items,
        waiting=[await _waiting(scope.conn, one, now) for one in await at_exits(scope.conn, project_id, now)],
        sessions=await service.list_sessions(scope.conn, page_request(_SESSIONS_SHOWN, cursor, key_length=2), wanted),
        wanted=wanted,
        unclaimed=await unclaimed(scope.conn, project_id),
        now=now,
        **_may(scope, project_id),
    )


@router.get("/parking/sessions/{session_id}")
async def session(request: Request, scope: Annotated[Scope, allow_page("parking.read")], session_id: int) -> Response:
    """A stay: its passages, what it costs and why, what was paid."""
    page = await shown(request, scope)
    detail = await service.get_session(scope.conn, session_id)
    stay = detail.session
    staff = scope.caller.kind == "staff"
    ticket = await ticket_of_vehicle(scope.conn, stay.project_id, stay.plate) if staff else None
    return page.page(
        "parking/session.html",
        detail=detail,
        quote=await _quote(scope.conn, session_id),
        ticket=ticket,
        place=ticket and await place_for(request, scope.conn, stay.project_id, ticket=ticket.code),
        **_may(scope, stay.project_id),
    )


@router.post("/parking/sessions/{session_id}/pay")
async def pay(
    scope: Annotated[Scope, allow_page("parking.collect")],
    session_id: int,
    sent: FormOnce,
    amount: Annotated[Decimal, Form()],
    method: Annotated[str, Form(max_length=40)],
) -> Response:
    """Takes the amount due; the barrier opens when the vehicle waits at it."""

    async def take() -> str:
        paid = await service.pay(
            scope.conn, session_id, amount, method, scope.caller.actor, created_by=scope.caller.user_id
        )
        done = "paid" if paid.command_id is None else "paid-and-opened"
        return f"/parking/sessions/{session_id}?done={done}"

    return await sent.lead(scope.conn, take)


@router.post("/parking/sessions/{session_id}/close")
async def close_session(
    scope: Annotated[Scope, allow_page("parking.operate")],
    session_id: int,
    reason: Annotated[str, Form(max_length=200)],
) -> Response:
    """Ends a stay whose vehicle is known to be gone, with the reason."""
    await service.close_session(scope.conn, session_id, reason, scope.caller.actor)
    return RedirectResponse(f"/parking/sessions/{session_id}?done=closed", 303)


@router.post("/parking/lanes/{lane_id}/open")
async def open_lane(
    scope: Annotated[Scope, allow_page("parking.operate")],
    lane_id: int,
    sent: FormOnce,
    reason: Annotated[str, Form(max_length=200)],
) -> Response:
    """Opens a barrier by hand, with the reason: each opening is accounted for, so none is sent twice."""

    async def order() -> str:
        await service.open_lane(scope.conn, lane_id, reason, scope.caller.actor)
        return "/parking?done=opened"

    return await sent.lead(scope.conn, order)


@router.get("/my/stays")
async def my_stays(
    request: Request, scope: Annotated[Scope, allow_page("parking.read")], cursor: str | None = None
) -> Response:
    """Stays of the resident's own vehicles; row-level security leaves no others."""
    page = await shown(request, scope)
    return page.page(
        "parking/mine.html",
        sessions=await service.list_sessions(
            scope.conn, page_request(_SESSIONS_SHOWN, cursor, key_length=2), SessionFilter(project_id=page.project.id)
        ),
        vehicles=(await service.list_vehicles(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        now=datetime.now(UTC),
    )


async def _waiting(conn: Conn, one: AtExit, now: datetime) -> _Waiting:
    order = None if one.open_command_id is None else await devices.get_command(conn, one.open_command_id)
    if one.session_id is None:
        return _Waiting(one, None, None, order)
    detail = await service.get_session(conn, one.session_id)
    return _Waiting(one, detail.session, await _quote(conn, one.session_id, now), order)


def _may(scope: Scope, project_id: int) -> dict[str, bool]:
    """What the reader may do here besides reading."""
    return {
        "may_operate": scope.caller.may("parking.operate", project_id),
        "may_collect": scope.caller.may("parking.collect", project_id),
    }


async def _quote(conn: Conn, session_id: int, now: datetime | None = None) -> Quote | None:
    """What the stay costs; None when its entry or its rule is unknown, which the page says."""
    try:
        return await service.quote(conn, session_id, now)
    except Conflict:
        return None
