"""Pages of visitor passes and of vehicles that residents say are theirs, for staff and for residents."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.sent_forms import FormOnce
from cloud.parking import service as parking
from cloud.parking.visitors import service
from cloud.parking.visitors.api import giver
from cloud.parking.visitors.service import WantedPass

router = APIRouter(include_in_schema=False)

Reading = Annotated[Scope, allow_page("parking.read")]
Inviting = Annotated[Scope, allow_page("parking.invite")]
Writing = Annotated[Scope, allow_page("parking.write")]

_SHOWN: Final = 30


@router.get("/visitor-passes")
async def list_passes(
    request: Request, scope: Reading, plate: OptionalText = None, every: bool = False, cursor: str | None = None
) -> Response:
    """Visitor passes that can be used, or all; residents see those they gave."""
    page = await shown(request, scope)
    now = datetime.now(UTC)
    zone = page.project.zone
    holding_at, problem = None if every else now, None
    try:
        found = await service.list_passes(scope.conn, page_request(_SHOWN, cursor), page.project.id, plate, holding_at)
    except InvalidInput as error:  # part of a plate is none
        problem, found = error, await service.list_passes(scope.conn, PageRequest(), page.project.id, None, holding_at)
    return page.page(
        "parking/passes.html",
        found=found,
        problem=problem,
        lots=(await parking.list_lots(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        policy=await parking.money_policy(scope.conn, page.project.id),
        plate=plate or "",
        every=every,
        now=now,
        since=now.astimezone(zone).strftime("%Y-%m-%dT%H:%M"),
        until=(now + timedelta(hours=4)).astimezone(zone).strftime("%Y-%m-%dT%H:%M"),
        may_invite=scope.caller.may("parking.invite", page.project.id),
    )


@router.post("/visitor-passes")
async def give_pass(
    request: Request,
    scope: Inviting,
    sent: FormOnce,
    plate: Annotated[str, Form(max_length=64)],
    since: Annotated[str, Form(max_length=20)],
    until: Annotated[str, Form(max_length=20)],
    free: Annotated[bool, Form()] = False,
    lot_ids: Annotated[list[int] | None, Form()] = None,
    note: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Lets a plate in for a time of the project's clocks."""
    page = await shown(request, scope)
    zone = page.project.zone
    begins, ends = _moment(since, zone, "since"), _moment(until, zone, "until")
    wanted = WantedPass(plate, begins, ends, free, tuple(lot_ids or ()), note)
    person_id = await giver(scope, page.project.id)

    async def made() -> str:
        await service.give_pass(scope.conn, page.project.id, wanted, person_id=person_id, by=scope.caller.user_id)
        return "/visitor-passes?done=saved"

    return await sent.lead(scope.conn, made)


@router.post("/visitor-passes/{pass_id}/revoke")
async def revoke_pass(scope: Inviting, pass_id: int) -> Response:
    """Takes it back."""
    await service.revoke_pass(scope.conn, pass_id)
    return RedirectResponse("/visitor-passes?done=saved", 303)


@router.get("/my/vehicles")
async def my_vehicles(request: Request, scope: Reading) -> Response:
    """The resident's vehicles, and those that he asked for."""
    return await _my_vehicles(request, scope)


@router.post("/my/vehicles")
async def ask_for_vehicle(
    request: Request, scope: Inviting, sent: FormOnce, plate: Annotated[str, Form(max_length=64)]
) -> Response:
    """The resident names a vehicle of his; what is wrong with it is said beside the form."""
    page = await shown(request, scope)
    person_id = await service.person_in(scope.conn, scope.caller.persons, page.project.id)

    async def ask() -> str:
        await service.ask_for_vehicle(scope.conn, page.project.id, person_id, plate, by=scope.caller.user_id)
        return "/my/vehicles?done=saved"

    try:
        return await sent.lead(scope.conn, ask)
    except (InvalidInput, Conflict) as error:
        return await _my_vehicles(request, scope, typed=plate, problem=error)


async def _my_vehicles(
    request: Request, scope: Scope, *, typed: str = "", problem: InvalidInput | Conflict | None = None
) -> Response:
    page = await shown(request, scope)
    return page.page(
        "parking/my_vehicles.html",
        status=problem.status if problem else 200,
        typed=typed,
        problem=problem,
        vehicles=(await parking.list_vehicles(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        requests=(await service.list_requests(scope.conn, PageRequest(_SHOWN), page.project.id)).items,
        policy=await parking.money_policy(scope.conn, page.project.id),
        now=datetime.now(UTC),
        may_ask=scope.caller.kind == "resident",
    )


@router.get("/vehicle-requests")
async def list_requests(request: Request, scope: Writing, every: bool = False, cursor: str | None = None) -> Response:
    """Vehicles that residents say are theirs."""
    page = await shown(request, scope)
    found = await service.list_requests(
        scope.conn, page_request(_SHOWN, cursor), page.project.id, None if every else "asked"
    )
    people = await estate.people_by_id(
        scope.conn, request.app.state.sealer, sorted({one.person_id for one in found.items})
    )
    return page.page("parking/vehicle_requests.html", found=found, every=every, people=people)


@router.post("/vehicle-requests/{request_id}/decide")
async def decide_request(
    scope: Writing,
    request_id: int,
    decision: Annotated[Literal["approve", "reject"], Form()],
    note: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Registers it, or says why not."""
    await service.decide_request(scope.conn, request_id, note, approve=decision == "approve", by=scope.caller.user_id)
    return RedirectResponse("/vehicle-requests?done=saved", 303)


def _moment(text: str, zone: ZoneInfo, field: str) -> datetime:
    """What a form's field of date and time says by the project's clocks. Raises InvalidInput."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("bad-date", "expected a date and a time", field=field) from error
    if not 1970 <= moment.year <= 9000:
        raise InvalidInput("bad-date", "expected a date and a time", field=field)
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
