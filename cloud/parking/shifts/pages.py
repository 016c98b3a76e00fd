"""Pages of shifts: the list, one with its totals, beginning, handing over, confirming."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal

from fastapi import Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.records import Project
from cloud.estate.shown import OptionalDay, OptionalId, OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import page_request
from cloud.kit.periods import day_start
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking.shifts import service
from cloud.parking.shifts.models import CountedIn, ShiftIn
from cloud.parking.shifts.records import ShiftFilter
from cloud.parking.shifts.table import shift_file, shift_rows

router = page_router()

Collecting = Annotated[Scope, allow_page("parking.collect")]

_SHOWN: Final = 25
_COUNTED: Final = "counted-"
"""Fields of the handover: `counted-cash`, one for each method."""
StateAsked = Literal["", "open", "ended", "confirmed"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which shifts a page is asked for; days are local ones, `until` included."""

    desk: OptionalText = None
    user_id: OptionalId = None
    state: StateAsked = ""
    since: OptionalDay = None
    until: OptionalDay = None

    def wanted(self, project: Project) -> ShiftFilter:
        """The same as the services know it."""
        return ShiftFilter(
            project.id,
            self.desk,
            self.user_id,
            self.state or None,
            None if self.since is None else day_start(self.since, project.zone),
            None if self.until is None else day_start(self.until + timedelta(days=1), project.zone),
        )


@router.get("/parking/shifts")
async def list_shifts(
    request: Request, scope: Collecting, asked: Annotated[_Asked, Depends()], cursor: str | None = None
) -> Response:
    """Shifts, the latest first, and where one begins."""
    page = await shown(request, scope)
    return await _list(page, scope, asked, cursor=cursor)


@router.get("/parking/shifts.csv")
async def shifts_file(request: Request, scope: Collecting, asked: Annotated[_Asked, Depends()]) -> Response:
    """The same as a file."""
    page = await shown(request, scope)
    return shift_file("csv", await shift_rows(scope.conn, asked.wanted(page.project)), page.project)


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
        return await _list(page, scope, _Asked(), values=typed, problem=error)


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
    asked: _Asked,
    *,
    cursor: str | None = None,
    values: Mapping[str, str] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    project_id = page.project.id
    return page.page(
        "parking/shifts.html",
        status=problem.status if problem else 200,
        shifts=await service.list_shifts(scope.conn, page_request(_SHOWN, cursor), asked.wanted(page.project)),
        mine=await service.current_shift(scope.conn, project_id, scope.caller.user_id),
        desks=await service.desks(scope.conn, project_id),
        asked=asked,
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
