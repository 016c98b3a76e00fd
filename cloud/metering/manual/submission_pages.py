"""Pages of readings that residents hand in: theirs, and the queue where staff look at them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.assets import forms
from cloud.metering.assets.pages import zone_of
from cloud.metering.manual import help as reading_help
from cloud.metering.manual import service as manual
from cloud.metering.manual import submissions
from cloud.metering.manual.forms import Fit, fit_of, photo_of, places_of
from cloud.metering.manual.models import SubmissionIn
from cloud.metering.manual.service import ManualReading
from cloud.metering.manual.submissions import HandedIn, State, SubmissionFilter
from gateway.contract.quantities import BY_NUMBER

router = page_router()

Reading = Annotated[Scope, allow_page("readings.read")]
Writing = Annotated[Scope, allow_page("readings.write")]
HandingIn = Annotated[Scope, allow_page("readings.submit")]

_SHOWN: Final = 30
_MINE: Final = 20


@router.get("/my/readings")
async def mine(request: Request, scope: HandingIn, meter_id: OptionalId = None, cursor: str | None = None) -> Response:
    """The resident's meters, a form for a reading, and what he handed in before."""
    return await _mine(request, scope, meter_id, cursor, {})


@router.post("/my/readings")
async def hand_in(request: Request, scope: HandingIn) -> Response:
    """Hands a reading in."""
    values = await forms.typed(request)
    meter_id = int(values["meter_id"]) if values.get("meter_id", "").isdecimal() else 0
    try:
        # What is refused halfway leaves nothing behind, though the page is answered.
        async with scope.conn.transaction():
            meter = await service.get_meter(scope.conn, meter_id)
            fields: dict[str, Any] = forms.with_times(values, await zone_of(scope.conn, meter), "taken_at")
            fields.pop("meter_id")
            body = forms.read(SubmissionIn, fields)
            wanted = HandedIn(
                meter.id, body.value, body.taken_at, scope.caller.user_id, scope.caller.actor,
                note=body.note, photo=await photo_of(request),
            )  # fmt: skip
            await submissions.hand_in(scope.conn, wanted)
    except GatemeterError as error:
        return await _mine(request, scope, meter_id, None, values, error)
    return RedirectResponse(f"/my/readings?meter_id={meter.id}&done=handed-in", 303)


@router.get("/reading-submissions")
async def queue(
    request: Request,
    scope: Reading,
    state: OptionalText = "waiting",
    meter_id: OptionalId = None,
    cursor: str | None = None,
) -> Response:
    """What was handed in, with what is doubtful about each; what waits unless something else is asked for."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/readings", 303)
    page = await shown(request, scope)
    chosen: State | None = next((one for one in get_args(State) if one == state), None)
    wanted = SubmissionFilter(page.project.id, meter_id, chosen)
    found = await submissions.list_submissions(scope.conn, page_request(_SHOWN, cursor), wanted)
    meters = await service.meters_by_id(scope.conn, [one.meter_id for one in found.items])
    waiting = [one for one in found.items if one.state == "waiting" and one.meter_id in meters]
    looked = await manual.doubts(
        scope.conn,
        [meters[one.meter_id] for one in waiting],
        [ManualReading(one.meter_id, one.channel, one.taken_at, one.value) for one in waiting],
    )
    return page.page(
        "metering/submissions.html",
        found=found,
        meters=meters,
        places=await places_of(scope, meters.values()),
        doubts={one.id: question for one, (_, question) in zip(waiting, looked, strict=True)},
        wanted=wanted,
        states=get_args(State),
        zone=page.project.zone,
    )


@router.get("/reading-submissions/{submission_id}")
async def one(request: Request, scope: Reading, submission_id: int) -> Response:
    """One submission: photo, neighbours, what is doubtful, and the decision."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/readings", 303)
    return await _one(request, scope, submission_id, {})


@router.post("/reading-submissions/{submission_id}")
async def decide(
    request: Request, scope: Writing, submission_id: int, decision: Annotated[Literal["accept", "reject"], Form()]
) -> Response:
    """Accepts a submission, with another value where one was typed, or rejects it."""
    values = await forms.typed(request)
    actor, reason = scope.caller.actor, values.get("reason", "")[:500]
    text = values.get("value", "")
    try:
        async with scope.conn.transaction():
            if decision == "reject":
                await submissions.reject(scope.conn, submission_id, actor, reason)
            else:
                found = await submissions.get_submission(scope.conn, submission_id)
                looked = await submissions.look(scope.conn, found, text)
                # What was confirmed is the value that was asked about: another one is asked about again.
                sure = values.get("confirm") == str(looked.reading.value)
                if looked.question is not None and not sure:
                    return await _one(
                        request,
                        scope,
                        submission_id,
                        values,
                        fit=fit_of(looked.meter, looked.reading, looked.around, looked.question),
                    )
                await submissions.accept(scope.conn, submission_id, actor, text=text, reason=reason, confirmed=sure)
    except GatemeterError as error:
        return await _one(request, scope, submission_id, values, problem=error)
    return RedirectResponse(f"/reading-submissions/{submission_id}?done=saved", 303)


async def _one(
    request: Request,
    scope: Scope,
    submission_id: int,
    values: Mapping[str, str],
    *,
    problem: GatemeterError | None = None,
    fit: Fit | None = None,
) -> Response:
    page = await shown(request, scope)
    found = await submissions.get_submission(scope.conn, submission_id)
    meter = await service.get_meter(scope.conn, found.meter_id)
    reading = ManualReading(meter.id, found.channel, found.taken_at, found.value)
    around, question = (await manual.doubts(scope.conn, [meter], [reading]))[0]
    return page.page(
        "metering/submission.html",
        status=problem.status if problem else 200,
        found=found,
        meter=meter,
        place=(await places_of(scope, [meter])).get(meter.id, ""),
        quantity=BY_NUMBER[found.channel],
        help=(await reading_help.help_of(scope.conn, [meter], datetime.now(UTC)))[meter.id],
        fit=fit or fit_of(meter, reading, around, question),
        asked=fit is not None,
        values=values,
        problem=problem,
        zone=await zone_of(scope.conn, meter),
        may_decide=scope.caller.may("readings.write", found.project_id),
    )


async def _mine(
    request: Request,
    scope: Scope,
    meter_id: int | None,
    cursor: str | None,
    values: Mapping[str, str],
    problem: GatemeterError | None = None,
) -> Response:
    if scope.caller.kind == "staff":
        return RedirectResponse("/reading-submissions", 303)
    page = await shown(request, scope)
    here = EstateFilter(project_id=page.project.id)
    units = (await estate.list_units(scope.conn, PageRequest(MAX_LIMIT), here)).items
    meters = [
        one for one in await service.meters_of_units(scope.conn, [unit.id for unit in units]) if not one.removed_on
    ]
    chosen = next((one for one in meters if one.id == meter_id), meters[0] if meters else None)
    now = datetime.now(UTC)
    context: dict[str, Any] = {}
    if chosen is not None:
        zone = await zone_of(scope.conn, chosen)
        context = {
            "found": await submissions.list_submissions(
                scope.conn, page_request(_MINE, cursor), SubmissionFilter(meter_id=chosen.id)
            ),
            "help": (await reading_help.help_of(scope.conn, [chosen], now))[chosen.id],
            "values": {"taken_at": now.astimezone(zone).strftime("%Y-%m-%dT%H:%M"), **values},
            "zone": zone,
        }
    return page.page(
        "metering/my_readings.html",
        status=problem.status if problem else 200,
        meters=meters,
        chosen=chosen,
        labels={unit.id: unit.label for unit in units},
        problem=problem,
        **context,
    )
