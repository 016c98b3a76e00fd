"""Pages of shifts: the list, one with its totals, beginning, handing over, confirming."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, OptionalId, OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import page_request
from cloud.kit.sent_forms import FormOnce
from cloud.parking.shifts import service
from cloud.parking.shifts.models import CountedIn, ShiftIn
from cloud.parking.shifts.records import ShiftFilter
from cloud.parking.shifts.table import shift_file, shift_rows

router = APIRouter(include_in_schema=False)

Collecting = Annotated[Scope, allow_page("parking.collect")]

_SHOWN: Final = 25
_COUNTED: Final = "counted-"
"""Fields of the handover: `counted-cash`, one for each method."""
StateAsked = Literal["", "open", "ended", "confirmed"]


@router.get("/parking/shifts")
async def list_shifts(
    request: Request,
    scope: Collecting,
    desk: OptionalText = None,
    user_id: OptionalId = None,
    state: StateAsked = "",
    since: OptionalDay = None,
    until: OptionalDay = None,
    cursor: str | None = None,
) -> Response:
    """Shifts, the latest first, and where one begins."""
    page = await shown(request, scope)
    wanted = _wanted(page, desk, user_id, state, since, until)
    return await _list(page, scope, wanted, {"since": since, "until": until}, cursor=cursor)


@router.get("/parking/shifts.csv")
async def shifts_file(
    request: Request,
    scope: Collecting,
    desk: OptionalText = None,
    user_id: OptionalId = None,
    state: StateAsked = "",
    since: OptionalDay = None,
    until: OptionalDay = None,
) -> Response:
    """The same as a file."""
    page = await shown(request, scope)
    wanted = _wanted(page, desk, user_id, state, since, until)
    return shift_file("csv", await shift_rows(scope.conn, wanted), page.project)


@router.post("/parking/shifts")
async def begin(request: Request, scope: Collecting, sent: FormOnce) -> Response:
    """Begins the reader's shift."""
    typed = await forms.typed(request)
    page = await shown(request, scope)

    async def make() -> str:
        body = forms.read(ShiftIn, {**typed, "project_id": page.project.id})
        caller = scope.caller
        await service.begin(scope.conn, body.project_id, body.desk, caller.user_id, caller.display_name)
        return "/parking/desk?done=shift-begun" if caller.may("parking.operate") else "/parking/shifts?done=shift-begun"

    try:
        return await sent.lead(scope.conn, make)
    except GatemeterError as error:
        return await _list(page, scope, ShiftFilter(page.project.id), {}, values=typed, problem=error)


@router.get("/parking/shifts/{shift_id}")
async def shift(request: Request, scope: Collecting, shift_id: int) -> Response:
    """A shift: what happened, what was taken, and handing it over."""
    return await _shift(request, scope, shift_id, {}, None)


@router.post("/parking/shifts/{shift_id}/handover")
async def hand_over(request: Request, scope: Collecting, shift_id: int) -> Response:
    """Ends a shift with what was counted."""
    typed = await forms.typed(request)

    async def end() -> None:
        found = await service.get_shift(scope.conn, shift_id)
        await service.hand_over(
            scope.conn,
            shift_id,
            _counted(typed),
            typed.get("note", "")[:500],
            user_id=scope.caller.user_id,
            actor=scope.caller.actor,
            may_end_others=scope.caller.may("parking.write", found.project_id),
        )

    return await _answer(request, scope, shift_id, typed, await forms.refused(scope.conn, end), "handed-over")


@router.post("/parking/shifts/{shift_id}/confirmation")
async def confirm(
    request: Request, scope: Collecting, shift_id: int, note: Annotated[str, Form(max_length=500)] = ""
) -> Response:
    """Another person confirms what was handed over."""
    caller = scope.caller

    async def say() -> None:
        await service.confirm(scope.conn, shift_id, note, user_id=caller.user_id, name=caller.display_name)

    return await _answer(request, scope, shift_id, {}, await forms.refused(scope.conn, say), "shift-confirmed")


async def _answer(
    request: Request, scope: Scope, shift_id: int, typed: Mapping[str, str], problem: GatemeterError | None, done: str
) -> Response:
    if problem is None:
        return RedirectResponse(f"/parking/shifts/{shift_id}?done={done}", 303)
    return await _shift(request, scope, shift_id, typed, problem)


async def _list(
    page: Shown,
    scope: Scope,
    wanted: ShiftFilter,
    days: Mapping[str, Any],
    *,
    cursor: str | None = None,
    values: Mapping[str, str] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    project_id = page.project.id
    return page.page(
        "parking/shifts.html",
        status=problem.status if problem else 200,
        shifts=await service.list_shifts(scope.conn, page_request(_SHOWN, cursor), wanted),
        mine=await service.current_shift(scope.conn, project_id, scope.caller.user_id),
        desks=await service.desks(scope.conn, project_id),
        wanted=wanted,
        days=days,
        values=values or {},
        problem=problem,
    )


async def _shift(
    request: Request, scope: Scope, shift_id: int, values: Mapping[str, str], problem: GatemeterError | None
) -> Response:
    page = await shown(request, scope)
    detail = await service.detail(scope.conn, shift_id)
    found, user_id = detail.shift, scope.caller.user_id
    return page.page(
        "parking/shift.html",
        status=problem.status if problem else 200,
        detail=detail,
        openings=await service.openings_of(scope.conn, shift_id),
        may_end=found.user_id == user_id or scope.caller.may("parking.write", found.project_id),
        may_confirm=found.user_id != user_id,
        values=values,
        problem=problem,
    )


def _counted(typed: Mapping[str, str]) -> dict[str, Decimal]:
    """What was counted, by method. Raises InvalidInput."""
    found = {}
    for name, value in typed.items():
        if name.startswith(_COUNTED):
            body = forms.read(CountedIn, {"method": name.removeprefix(_COUNTED), "amount": value})
            found[body.method] = body.amount
    return found


def _wanted(
    page: Shown,
    desk: str | None,
    user_id: int | None,
    state: StateAsked,
    since: OptionalDay,
    until: OptionalDay,
) -> ShiftFilter:
    zone = page.project.zone
    first = None if since is None else datetime.combine(since, time(), zone).astimezone(UTC)
    end = None if until is None else datetime.combine(until + timedelta(days=1), time(), zone).astimezone(UTC)
    return ShiftFilter(page.project.id, desk, user_id, state or None, first, end)
