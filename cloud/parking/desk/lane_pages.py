"""Pages of the guard's desk: all lanes live, and what is done at one: opening, taking money, the plate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.devices import service as devices
from cloud.devices.records import Command
from cloud.estate.shown import OptionalId, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, GatemeterError, NotFound
from cloud.kit.paging import PageRequest
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking import service
from cloud.parking.desk.openings import OTHER, REASONS
from cloud.parking.desk.repository import LaneNow, lanes_now
from cloud.parking.desk.watching import SHOWN_AT_MOST
from cloud.parking.pictures import service as pictures
from cloud.parking.records import Debt, Quote
from cloud.parking.shifts import service as shifts
from cloud.parking.stays import corrections, incidents
from cloud.parking.stays.corrections import Candidate
from cloud.parking.stays.incident_repository import IncidentFilter

router = page_router()

Operating = Annotated[Scope, allow_page("parking.operate")]

METHODS: Final = ("cash", "wechat", "alipay", "card")
"""In the order of the numbers by which a guard chooses."""
_OFFERED: Final = 8
"""Plates that a guard can choose by a number, beside the one that he types."""
_DECIDED: Final = ("done", "failed", "expired", "uncertain")

Act = Literal["open", "cash", "plate"]


@dataclass(frozen=True, slots=True)
class ShownLane:
    """A lane as a card; `quote` is None when nothing can be priced, `order` the last order to open for its vehicle.

    `waits`: the vehicle stands at the closed barrier, as far as anybody knows. `owed`: for stays that are over, by the
    plate of one that stands at an entry; at an exit the quote has it.
    """

    lane: LaneNow
    quote: Quote | None
    order: Command | None
    owed: Sequence[Debt] = ()

    @property
    def waits(self) -> bool:
        """Whether somebody may have to do something."""
        last = self.lane.last
        return last is not None and last.outcome == "arrived"

    @property
    def stands_at_entry(self) -> bool:
        """Whether it was not let in."""
        return self.waits and self.lane.direction == "entry"

    @property
    def stuck(self) -> bool:
        """Whether neither money nor the barrier lets it through by itself."""
        undecided = self.quote is None or (self.order is not None and self.order.state in _DECIDED)
        return self.waits and (self.stands_at_entry or undecided)


@router.get("/parking/desk")
async def desk(request: Request, scope: Operating, lane: OptionalId = None) -> Response:
    """Every lane of the project with the vehicle that it saw last."""
    page = await shown(request, scope)
    return page.page(
        "parking/lanes.html",
        lanes=await _lanes(scope.conn, page.project.id),
        chosen=lane,
        action=None,
        kept_days=await pictures.kept_days(scope.conn, page.project.id),
        **await _common(page, scope),
    )


@router.get("/parking/desk/lanes/{lane_id}/{action}")
async def show_action(request: Request, scope: Operating, lane_id: int, action: Act) -> Response:
    """The form of what is to be done at a lane; the desk shows it beside the lanes."""
    return await _action(request, scope, lane_id, action, {}, None)


@router.post("/parking/desk/lanes/{lane_id}/open")
async def open_by_hand(request: Request, scope: Operating, lane_id: int, sent: FormOnce) -> Response:
    """Opens a barrier by hand."""
    typed = await forms.typed(request)

    async def order() -> str:
        await service.open_lane(
            scope.conn, lane_id, typed.get("reason", "")[:200], scope.caller.actor, typed.get("code", OTHER)
        )
        return f"/parking/desk?lane={lane_id}&done=opened"

    try:
        return await sent.lead(scope.conn, order)
    except GatemeterError as error:
        return await _action(request, scope, lane_id, "open", typed, error)


@router.post("/parking/desk/lanes/{lane_id}/cash")
async def take_money(
    request: Request,
    scope: Annotated[Scope, allow_page("parking.collect")],
    lane_id: int,
    sent: FormOnce,
    session_id: Annotated[int, Form(ge=1)],
    amount: Annotated[Decimal, Form()],
    method: Annotated[str, Form(max_length=40)],
) -> Response:
    """Takes the amount that was shown; the barrier opens when the vehicle waits at it."""

    async def pay() -> str:
        caller = scope.caller
        paid = await service.pay(scope.conn, session_id, amount, method, caller.actor, created_by=caller.user_id)
        done = "paid" if paid.command_id is None else "paid-and-opened"
        return f"/parking/desk?lane={lane_id}&done={done}"

    try:
        return await sent.lead(scope.conn, pay)
    except GatemeterError as error:
        return await _action(request, scope, lane_id, "cash", {"method": method}, error)


@router.post("/parking/desk/lanes/{lane_id}/plate")
async def correct_plate(
    request: Request,
    scope: Operating,
    lane_id: int,
    sent: FormOnce,
    passage_id: Annotated[UUID, Form()],
    plate: Annotated[str, Form(max_length=64)] = "",
    candidate: Annotated[str, Form(max_length=64)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Says which plate the vehicle of a passage has: one that was typed, else one of those offered."""

    async def say() -> str:
        await corrections.correct_plate(scope.conn, passage_id, plate or candidate, reason, scope.caller.actor)
        return f"/parking/desk?lane={lane_id}&done=corrected"

    try:
        return await sent.lead(scope.conn, say)
    except GatemeterError as error:
        typed = {"plate": plate, "candidate": candidate, "reason": reason}
        return await _action(request, scope, lane_id, "plate", typed, error)


@router.get("/parking/desk/next-incident")
async def next_incident(request: Request, scope: Operating) -> Response:
    """The latest incident that nobody has looked at; the list when there is none."""
    page = await shown(request, scope)
    wanted = IncidentFilter(page.project.id, state="open")
    found = (await incidents.list_incidents(scope.conn, PageRequest(1), wanted)).items
    return RedirectResponse(f"/parking/passages/{found[0].passage_id}" if found else "/parking/incidents", 303)


async def _action(
    request: Request,
    scope: Scope,
    lane_id: int,
    action: Act,
    values: Mapping[str, str],
    problem: GatemeterError | None,
) -> Response:
    page = await shown(request, scope)
    lanes = await _lanes(scope.conn, page.project.id)
    acted = next((one for one in lanes if one.lane.lane_id == lane_id), None)
    if acted is None:
        raise NotFound("no-lane", f"there is no lane {lane_id} in use", field="lane_id")
    return page.page(
        "parking/lanes.html",
        status=problem.status if problem else 200,
        lanes=lanes,
        chosen=lane_id,
        action=action,
        acted=acted,
        reasons=REASONS,
        methods=METHODS,
        candidates=await _candidates(scope.conn, acted) if action == "plate" else [],
        values=values,
        problem=problem,
        kept_days=await pictures.kept_days(scope.conn, page.project.id),
        **await _common(page, scope),
    )


async def _common(page: Shown, scope: Scope) -> dict[str, Any]:
    project_id = page.project.id
    return {
        "shift": await shifts.current_shift(scope.conn, project_id, scope.caller.user_id),
        "may_collect": scope.caller.may("parking.collect", project_id),
        "may_write": scope.caller.may("parking.write", project_id),
        "now": datetime.now(UTC),
    }


async def _candidates(conn: Conn, acted: ShownLane) -> list[Candidate]:
    last = acted.lane.last
    return [] if last is None else (await corrections.candidates(conn, last.passage_id))[:_OFFERED]


async def _lanes(conn: Conn, project_id: int) -> list[ShownLane]:
    now = datetime.now(UTC)
    lanes = [await _shown_lane(conn, lane, now) for lane in await lanes_now(conn, [project_id], now - SHOWN_AT_MOST)]
    plates = {one.lane.lane_id: one.lane.last.plate for one in lanes if one.lane.last and one.stands_at_entry}
    owed = await service.owing(conn, project_id, sorted(set(plates.values()) - {""})) if plates else {}
    return [replace(one, owed=owed.get(plates.get(one.lane.lane_id, ""), ())) for one in lanes]


async def _shown_lane(conn: Conn, lane: LaneNow, now: datetime) -> ShownLane:
    """What is due is asked only of vehicles that stand at an exit."""
    last = lane.last
    if last is None or lane.direction != "exit" or last.outcome != "arrived":
        return ShownLane(lane, None, None)
    order = None if last.open_command_id is None else await devices.get_command(conn, last.open_command_id)
    if last.session_id is None:
        return ShownLane(lane, None, order)
    try:
        return ShownLane(lane, await service.quote(conn, last.session_id, now), order)
    except Conflict:
        return ShownLane(lane, None, order)
