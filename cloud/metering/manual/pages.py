"""Pages where staff type readings in: one of a meter, and a round from meter to meter."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Request
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import day_start, local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.assets import forms
from cloud.metering.assets.pages import zone_of
from cloud.metering.edits import service as edits
from cloud.metering.imports.rows import FUTURE
from cloud.metering.manual import help as reading_help
from cloud.metering.manual import photos, submissions
from cloud.metering.manual import service as manual
from cloud.metering.manual.forms import Fit, channels_of, fit_of, photo_of, places_of
from cloud.metering.manual.help import Unread
from cloud.metering.manual.models import ManualReadingIn
from cloud.metering.manual.pictures import picture
from cloud.metering.models import channel_number
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter
from gateway.contract.quantities import BY_NUMBER

router = page_router()

Writing = Annotated[Scope, allow_page("readings.write")]

_RECENT: Final = 10
_ROUND: Final = 30
_ROUND_BEGINS: Final = timedelta(days=25)
"""Meters are read once a month: what was read within these days is read already."""


@router.get("/meters/{meter_id}/new-reading")
async def form(request: Request, scope: Writing, meter_id: int) -> Response:
    """The form for one reading, with what helps to read right."""
    return await _page(request, scope, await service.get_meter(scope.conn, meter_id), {})


@router.post("/meters/{meter_id}/new-reading")
async def enter(request: Request, scope: Writing, meter_id: int) -> Response:
    """Stores a reading, or asks first whether it is what the register shows."""
    meter = await service.get_meter(scope.conn, meter_id)
    values = await forms.typed(request)
    try:
        # What is refused halfway leaves nothing behind, though the page is answered.
        async with scope.conn.transaction():
            fit = await _enter(request, scope, meter, values)
    except GatemeterError as error:
        return await _page(request, scope, meter, values, problem=error)
    if fit is not None:
        return await _page(request, scope, meter, values, fit=fit)
    return RedirectResponse(f"/meters/{meter_id}/new-reading?done=saved", 303)


@router.get("/reading-round")
async def reading_round(
    request: Request,
    scope: Writing,
    building_id: OptionalId = None,
    medium: OptionalText = None,
    since: Annotated[date | None, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))] = None,
    at: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Meters without a reading since a day, unit by unit, with a field each; `at`: when they are read, now if empty."""
    page = await shown(request, scope)
    now = datetime.now(UTC)
    since = since or local_day(now, page.project.zone) - _ROUND_BEGINS
    known: Medium | None = next((one for one in MAIN_CHANNEL if one == medium), None)
    if at is not None:
        forms.local_instant(at, page.project.zone, "at")
    wanted = Unread(page.project.id, day_start(since, page.project.zone), building_id, known)
    found = await reading_help.unread(scope.conn, page_request(_ROUND, cursor, key_length=2), wanted)
    here = EstateFilter(project_id=page.project.id)
    return page.page(
        "metering/reading_round.html",
        meters=found,
        places=await places_of(scope, found.items),
        helps=await reading_help.help_of(scope.conn, found.items, now),
        buildings=(await estate.list_buildings(scope.conn, PageRequest(MAX_LIMIT), here)).items,
        waiting=await submissions.count_waiting(scope.conn, page.project.id),
        wanted=wanted,
        since=since,
        at=at or "",
        zone=page.project.zone,
    )


@router.post("/reading-round/{meter_id}")
async def enter_row(request: Request, scope: Writing, meter_id: int) -> Response:
    """One row of a round: stored, asked or refused, answered with the row as it is now."""
    meter = await service.get_meter(scope.conn, meter_id)
    values = await forms.typed(request)
    problem: GatemeterError | None = None
    fit: Fit | None = None
    try:
        async with scope.conn.transaction():
            fit = await _enter(request, scope, meter, values)
    except GatemeterError as error:
        problem = error
    page = await shown(request, scope)
    context: dict[str, Any] = {
        "meter": meter,
        "place": (await places_of(scope, [meter])).get(meter.id, ""),
        "help": (await reading_help.help_of(scope.conn, [meter], datetime.now(UTC)))[meter.id],
        "values": values,
        "at": values.get("taken_at", ""),
        "problem": problem,
        "fit": fit,
        "stored": problem is None and fit is None,
        "zone": await zone_of(scope.conn, meter),
    }
    return page.page("metering/reading_round_row.html", **context)


@router.get("/reading-photos/{photo_id}")
async def photo(scope: Annotated[Scope, allow_page("readings.read")], photo_id: int) -> Response:
    """The picture of a register, for those who may see its reading."""
    return picture(await photos.get_photo(scope.conn, photo_id))


async def _enter(request: Request, scope: Scope, meter: Meter, values: Mapping[str, str]) -> Fit | None:
    """Stores the reading; the question about it where it does not fit and nobody confirmed. Raises GatemeterError."""
    zone = await zone_of(scope.conn, meter)
    taken_at = values.get("taken_at") or datetime.now(zone).strftime("%Y-%m-%dT%H:%M")
    fields: dict[str, Any] = forms.with_times({**values, "taken_at": taken_at}, zone, "taken_at")
    # What was confirmed is the value that was asked about: another one is asked about again.
    sure = values.get("confirm") == values.get("value")
    body = forms.read(ManualReadingIn, {**fields, "confirm": sure})
    content = await photo_of(request)
    quantity = BY_NUMBER[channel_number(body.channel, meter)]
    looked = await manual.read_typed(scope.conn, meter.id, body.value, body.taken_at, body.unit, quantity)
    actor = scope.caller.actor
    if looked.question is not None and not sure:
        return fit_of(looked.meter, looked.reading, looked.around, looked.question)
    await manual.enter(scope.conn, looked, actor, note=body.note, photo=content, confirmed=body.confirmed(actor))
    return None


async def _page(
    request: Request,
    scope: Scope,
    meter: Meter,
    values: Mapping[str, str],
    *,
    problem: GatemeterError | None = None,
    fit: Fit | None = None,
) -> Response:
    page = await shown(request, scope)
    zone, now = await zone_of(scope.conn, meter), datetime.now(UTC)
    channel = meter.main_channel.number
    recent = await service.list_readings(
        scope.conn, PageRequest(_RECENT), meter.id, channel, day_start(meter.installed_on, zone), now + FUTURE
    )
    times = [one.taken_at for one in recent.items] or [now]
    span = (scope.conn, meter.id, channel, min(times), max(times))
    return page.page(
        "metering/new_reading.html",
        status=problem.status if problem else 200,
        meter=meter,
        tab="new-reading",
        may_write=scope.caller.may("meters.write", meter.project_id),
        place=(await places_of(scope, [meter])).get(meter.id, ""),
        channels=channels_of(meter),
        help=(await reading_help.help_of(scope.conn, [meter], now))[meter.id],
        values={"taken_at": now.astimezone(zone).strftime("%Y-%m-%dT%H:%M"), **values},
        recent=recent.items,
        pictures=await photos.of_readings(*span),
        entries=await manual.entries(*span),
        edited=await edits.edits_in_force(*span),
        problem=problem,
        fit=fit,
        zone=zone,
    )
