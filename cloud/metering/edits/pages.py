"""Pages of readings and their edits: readings of a channel, one reading with what can be done about it, edits."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import Conflict, Forbidden, GatemeterError, InvalidInput
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.periods import day_start, local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.assets import forms
from cloud.metering.assets import service as assets
from cloud.metering.assets.pages import actor, zone_of
from cloud.metering.edits import effects as edit_effects
from cloud.metering.edits import service as edits
from cloud.metering.edits.effects import Effect
from cloud.metering.edits.service import Action, EditFilter, NewEdit
from cloud.metering.exceptions import service as exceptions
from cloud.metering.exceptions.models import EditIn, base_value
from cloud.metering.exceptions.repository import ExceptionFilter
from cloud.metering.models import channel_number
from cloud.metering.readings import listing as reading_list
from cloud.metering.readings.listing import ListedReading, Only, ReadingFilter
from cloud.metering.records import Meter, MeterException, Reading
from gateway.contract.quantities import BY_NUMBER, Kind

router = page_router()

Looking = Annotated[Scope, allow_page("readings.read")]
Writing = Annotated[Scope, allow_page("readings.write")]

_SHOWN: Final = 50
_VERSIONS: Final = PageRequest(100)
_DAYS: Final = timedelta(days=31)
_SURE: Final = frozenset({"sure", "seen"})
_OptionalOnly = Annotated[Only | None, BeforeValidator(lambda value: value or None)]


@router.get("/meters/{meter_id}/readings")
async def readings(
    request: Request,
    scope: Looking,
    meter_id: int,
    channel: OptionalText = None,
    since: OptionalDay = None,
    until: OptionalDay = None,
    only: _OptionalOnly = None,
    cursor: str | None = None,
) -> Response:
    """Readings of a channel on local days from `since` to and with `until`: the last month of them unless said."""
    _staff_only(scope)
    page = await shown(request, scope)
    meter = await service.get_meter(scope.conn, meter_id)
    zone = await zone_of(scope.conn, meter)
    channels = await assets.channels_of(scope.conn, meter_id)
    number = channel_number(channel, meter)
    last = until or _last_day(channels, number, zone)
    first = since or last - _DAYS
    wanted = ReadingFilter(meter_id, number, day_start(first, zone), day_start(last + timedelta(days=1), zone), only)
    return page.page(
        "metering/readings.html",
        meter=meter,
        tab="readings",
        may_write=scope.caller.may("meters.write", meter.project_id),
        may_edit=scope.caller.may("readings.write", meter.project_id) and _is_edited(number),
        found=await reading_list.list_readings(scope.conn, page_request(_SHOWN, cursor), wanted),
        quantity=BY_NUMBER[number],
        channels=sorted({*(BY_NUMBER[one.channel].code for one in channels), BY_NUMBER[number].code}),
        choices_of=get_args(Only),
        only=only,
        since=first,
        until=last,
        zone=zone,
    )


@router.get("/meters/{meter_id}/reading")
async def reading(
    request: Request, scope: Looking, meter_id: int, channel: str, at: datetime, action: Action = "set"
) -> Response:
    """One reading: what is known of it, what was decided about it, and the form for another decision."""
    _staff_only(scope)
    meter = await service.get_meter(scope.conn, meter_id)
    listed = await reading_list.get_reading(scope.conn, meter_id, channel_number(channel, meter), _aware(at))
    return await _page(request, scope, meter, listed, {"action": action})


@router.post("/meters/{meter_id}/reading")
async def edit(request: Request, scope: Writing, meter_id: int) -> Response:
    """Says first what an edit does; the same sent once more, with the second button, is done."""
    typed = await forms.typed(request)
    values = {name: value for name, value in typed.items() if name not in _SURE}
    if values.get("action") != "set":
        values.pop("value", None)
    meter = await service.get_meter(scope.conn, meter_id)
    body = forms.read(EditIn, {"reason": "-", "action": "use", **_place(values)})
    listed = await reading_list.get_reading(scope.conn, meter_id, channel_number(body.channel, meter), body.taken_at)
    try:
        new = _new_edit(scope, listed, values)
        sure = typed.get("sure") == "yes" and typed.get("seen") == await _seen(scope, listed, values)
        if not sure:
            await edits.check(scope.conn, new)
            effect = await edit_effects.effect(scope.conn, listed, new.action, new.value)
            return await _page(request, scope, meter, listed, values, effect=effect)
        async with scope.conn.transaction():
            await edits.add_edit(scope.conn, new)
    except (InvalidInput, Conflict) as error:
        return await _page(request, scope, meter, listed, values, problem=error)
    return RedirectResponse(f"/meters/{meter_id}/reading?{urlencode({**_place(values, 'at'), 'done': 'edited'})}", 303)


@router.get("/reading-edits")
async def all_edits(
    request: Request,
    scope: Looking,
    meter_id: OptionalId = None,
    by: OptionalText = None,
    since: OptionalDay = None,
    until: OptionalDay = None,
    cursor: str | None = None,
) -> Response:
    """Edits of readings of the project, made on local days from `since` to and with `until`."""
    return await _edits(request, scope, None, meter_id, by, since, until, cursor)


@router.get("/meters/{meter_id}/edits")
async def edits_of_meter(
    request: Request,
    scope: Looking,
    meter_id: int,
    by: OptionalText = None,
    since: OptionalDay = None,
    until: OptionalDay = None,
    cursor: str | None = None,
) -> Response:
    """Edits of readings of a meter."""
    meter = await service.get_meter(scope.conn, meter_id)
    return await _edits(request, scope, meter, meter_id, by, since, until, cursor)


async def _edits(
    request: Request,
    scope: Scope,
    meter: Meter | None,
    meter_id: int | None,
    by: str | None,
    since: date | None,
    until: date | None,
    cursor: str | None,
) -> Response:
    _staff_only(scope)
    page = await shown(request, scope)
    zone = page.project.zone if meter is None else await zone_of(scope.conn, meter)
    start = day_start(since, zone) if since else None
    end = day_start(until + timedelta(days=1), zone) if until else None
    project_id = page.project.id if meter is None else meter.project_id
    wanted = EditFilter(project_id, meter_id, actor=by, start=start, end=end)
    found = await edits.list_edits(scope.conn, page_request(_SHOWN, cursor), wanted)
    return page.page(
        "metering/edits.html",
        meter=meter,
        tab="readings",
        may_write=scope.caller.may("meters.write", project_id),
        meters=await service.meters_by_id(scope.conn, [one.meter_id for one in found.items]),
        found=found,
        quantities=BY_NUMBER,
        meter_id=meter_id,
        by=by,
        since=since,
        until=until,
        zone=zone,
    )


async def _page(
    request: Request,
    scope: Scope,
    meter: Meter,
    listed: ListedReading,
    values: Mapping[str, str],
    *,
    effect: Effect | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    one = listed.reading
    versions = EditFilter(meter.project_id, meter.id, one.channel, one.taken_at)
    return page.page(
        "metering/reading.html",
        status=problem.status if problem else 200,
        meter=meter,
        tab="readings",
        may_write=scope.caller.may("meters.write", meter.project_id),
        may_edit=scope.caller.may("readings.write", meter.project_id) and _is_edited(one.channel),
        listed=listed,
        quantity=BY_NUMBER[one.channel],
        versions=(await edits.list_edits(scope.conn, _VERSIONS, versions)).items,
        findings=await _findings(scope, one),
        actions=[name for name in get_args(Action) if name != "original" or listed.edit is not None],
        values=values,
        seen=await _seen(scope, listed, values) if effect else "",
        effect=effect,
        problem=problem,
        zone=await zone_of(scope.conn, meter),
    )


async def _findings(scope: Scope, one: Reading) -> list[MeterException]:
    """Findings about this very reading."""
    at = one.taken_at
    wanted = ExceptionFilter(meter_id=one.meter_id, start=at, end=at + timedelta(microseconds=1))
    found = (await exceptions.list_exceptions(scope.conn, _VERSIONS, wanted)).items
    return [each for each in found if each.channel == one.channel and each.from_at == each.until_at == at]


async def _seen(scope: Scope, listed: ListedReading, values: Mapping[str, str]) -> str:
    """What was looked at before it was confirmed: other values, or what others decided meanwhile, are shown first."""
    one = listed.reading
    wanted = EditFilter(None, one.meter_id, one.channel, one.taken_at)
    latest = (await edits.list_edits(scope.conn, PageRequest(1), wanted)).items
    return urlencode([*sorted(values.items()), ("version", latest[0].version if latest else 0)])


def _new_edit(scope: Scope, listed: ListedReading, values: Mapping[str, str]) -> NewEdit:
    """Raises InvalidInput."""
    body = forms.read(EditIn, values)
    one = listed.reading
    if body.action == "set" and body.value is None:
        raise InvalidInput("bad-value", "expected the value that counts instead", field="value")
    value = None if body.value is None else base_value(body.value, BY_NUMBER[one.channel])
    return NewEdit(one.meter_id, one.channel, one.taken_at, body.action, body.reason, actor(scope), value)


def _place(values: Mapping[str, str], at: Literal["taken_at", "at"] = "taken_at") -> dict[str, str]:
    """What names the reading in a form."""
    return {"channel": values.get("channel", ""), at: values.get("taken_at", "")}


def _last_day(channels: list[Reading], number: int, zone: ZoneInfo) -> date:
    """The local day of the channel's newest reading; today without one."""
    newest = next((one.taken_at for one in channels if one.channel == number), datetime.now(UTC))
    return local_day(newest, zone)


def _is_edited(number: int) -> bool:
    """Usage is derived from registers alone: there is nothing to edit a voltage for."""
    return BY_NUMBER[number].kind is Kind.CUMULATIVE


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise InvalidInput("bad-time", "expected a time with its offset", field="at")
    return at


def _staff_only(scope: Scope) -> None:
    if scope.caller.kind != "staff":
        raise Forbidden("no-permission", "this page is for staff")
