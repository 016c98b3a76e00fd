"""Pages of visitor passes and of vehicles that residents say are theirs, for staff and for residents."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking import service as parking
from cloud.parking.visitors import service
from cloud.parking.visitors.api import giver
from cloud.parking.visitors.models import PassIn

router = page_router()

Reading = Annotated[Scope, allow_page("parking.read")]
Inviting = Annotated[Scope, allow_page("parking.invite")]
Writing = Annotated[Scope, allow_page("parking.write")]

_SHOWN: Final = 30
_FIELD: Final = "%Y-%m-%dT%H:%M"
"""How a browser's field of day and time writes it."""


@router.get("/visitor-passes")
async def list_passes(
    request: Request, scope: Reading, plate: OptionalText = None, every: bool = False, cursor: str | None = None
) -> Response:
    """Visitor passes that can be used, or all; residents see those they gave."""
    return await _passes(request, scope, plate=plate, every=every, cursor=cursor)


@router.post("/visitor-passes")
async def give_pass(request: Request, scope: Inviting, sent: FormOnce) -> Response:
    """Lets a plate in for a time of the project's clocks; what is wrong is said beside the form."""
    page = await shown(request, scope)
    project = page.project
    typed = await forms.typed(request)
    lot_ids = (await request.form()).getlist("lot_ids")

    async def made() -> str:
        values = forms.with_times({"free": "false", **typed}, project.zone, "since", "until")
        wanted = forms.read(PassIn, {**values, "project_id": project.id, "lot_ids": lot_ids}).wanted()
        person_id = await giver(scope, project.id)
        await service.give_pass(scope.conn, project.id, wanted, person_id=person_id, by=scope.caller.user_id)
        return "/visitor-passes?done=saved"

    try:
        return await sent.lead(scope.conn, made)
    except (InvalidInput, NotFound, Conflict) as error:
        return await _passes(request, scope, values={**typed, "lot_ids": lot_ids}, problem=error)


@router.post("/visitor-passes/{pass_id}/revoke")
async def revoke_pass(scope: Inviting, pass_id: int) -> Response:
    """Takes it back."""
    await service.revoke_pass(scope.conn, pass_id)
    return RedirectResponse("/visitor-passes?done=saved", 303)


async def _passes(
    request: Request,
    scope: Scope,
    *,
    plate: str | None = None,
    every: bool = False,
    cursor: str | None = None,
    values: Mapping[str, Any] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    now = datetime.now(UTC)
    holding_at = None if every else now
    status = problem.status if problem else 200
    try:
        found = await service.list_passes(scope.conn, page_request(_SHOWN, cursor), page.project.id, plate, holding_at)
    except InvalidInput as error:  # part of a plate is none
        first = PageRequest(_SHOWN)
        problem, found = error, await service.list_passes(scope.conn, first, page.project.id, None, holding_at)
    local = now.astimezone(page.project.zone)
    usual = {"free": "true", "since": local.strftime(_FIELD), "until": (local + timedelta(hours=4)).strftime(_FIELD)}
    return page.page(
        "parking/passes.html",
        status=status,
        found=found,
        problem=problem,
        lots=(await parking.list_lots(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        policy=await parking.money_policy(scope.conn, page.project.id),
        plate=plate or "",
        every=every,
        now=now,
        values=usual if values is None else values,
        may_invite=scope.caller.may("parking.invite", page.project.id),
    )


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
