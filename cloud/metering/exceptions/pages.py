"""Pages of findings: a list with filters and one decision for several, one finding with its readings, edits."""

from datetime import timedelta
from typing import Annotated, Final, get_args

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.edits import service as edits
from cloud.metering.exceptions import service as exceptions
from cloud.metering.exceptions.models import base_value
from cloud.metering.exceptions.repository import ExceptionFilter
from cloud.metering.exceptions.service import Decision
from cloud.metering.records import ExceptionState, Rule
from gateway.contract.quantities import BY_NUMBER

router = page_router()

_SHOWN: Final = 50
_AROUND: Final = timedelta(hours=6)
_READINGS: Final = 60
_Reason = Annotated[str, Form(min_length=1, max_length=500)]


@router.get("/meter-exceptions")
async def findings(
    request: Request,
    scope: Annotated[Scope, allow_page("readings.read")],
    state: OptionalText = "open",
    rule: OptionalText = None,
    meter_id: OptionalId = None,
    cursor: str | None = None,
) -> Response:
    """Findings, newest first; the open ones unless others are asked for."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/home", 303)
    page = await shown(request, scope)
    known: Rule | None = next((one for one in get_args(Rule) if one == rule), None)
    chosen: ExceptionState | None = next((one for one in get_args(ExceptionState) if one == state), None)
    wanted = ExceptionFilter(page.project.id, meter_id, known, chosen)
    found = await exceptions.list_exceptions(scope.conn, page_request(_SHOWN, cursor), wanted)
    return page.page(
        "metering/exceptions.html",
        found=found,
        meters=await service.meters_by_id(scope.conn, [one.meter_id for one in found.items]),
        wanted=wanted,
        rules=get_args(Rule),
        states=get_args(ExceptionState),
        may_decide=scope.caller.may("readings.write", page.project.id),
    )


@router.post("/meter-exceptions")
async def decide_several(
    scope: Annotated[Scope, allow_page("readings.write")],
    decision: Annotated[Decision, Form()],
    reason: _Reason,
    ids: Annotated[list[int], Form()],
) -> Response:
    """One decision for the findings that were ticked."""
    await exceptions.decide(scope.conn, ids, decision, scope.caller.actor, reason)
    return RedirectResponse("/meter-exceptions", 303)


@router.get("/meter-exceptions/{exception_id}")
async def finding(
    request: Request, scope: Annotated[Scope, allow_page("readings.read")], exception_id: int
) -> Response:
    """One finding: usage of its day, the readings around it with their edits, and the decision."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/home", 303)
    page = await shown(request, scope)
    found = await exceptions.get_exception(scope.conn, exception_id)
    meter = await service.get_meter(scope.conn, found.meter_id)
    start, end = found.from_at - _AROUND, found.until_at + _AROUND
    zone = next((one.zone for one in page.projects if one.id == found.project_id), page.project.zone)
    readings = await service.list_readings(
        scope.conn, PageRequest(_READINGS), meter.id, found.channel, start, min(end, start + timedelta(days=3))
    )
    return page.page(
        "metering/exception.html",
        found=found,
        meter=meter,
        zone=zone,
        quantity=BY_NUMBER[found.channel],
        about_reading=found.rule in exceptions.ABOUT_READINGS,
        readings=readings.items,
        edited=await edits.edits_in_force(scope.conn, meter.id, found.channel, start, end),
        chart_url=f"/meters/{meter.id}/bars?step=hour&on={local_day(found.from_at, zone).isoformat()}",
        may_decide=scope.caller.may("readings.write", found.project_id),
    )


@router.post("/meter-exceptions/{exception_id}")
async def decide_one(
    scope: Annotated[Scope, allow_page("readings.write")],
    exception_id: int,
    decision: Annotated[Decision, Form()],
    reason: _Reason,
    value: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Decides one finding."""
    found = await exceptions.get_exception(scope.conn, exception_id)
    meant = base_value(value, BY_NUMBER[found.channel]) if value and decision == "correct" else None
    await exceptions.decide(scope.conn, [exception_id], decision, scope.caller.actor, reason, meant)
    return RedirectResponse(f"/meter-exceptions/{exception_id}", 303)


@router.post("/meter-exceptions/{exception_id}/reopen")
async def reopen(scope: Annotated[Scope, allow_page("readings.write")], exception_id: int, reason: _Reason) -> Response:
    """Takes a decision back."""
    await exceptions.reopen(scope.conn, exception_id, scope.caller.actor, reason)
    return RedirectResponse(f"/meter-exceptions/{exception_id}", 303)
