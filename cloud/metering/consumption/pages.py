"""The usage page of staff: bars of a project, building, unit or meter, a comparison with other days, its top meters."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from babel.dates import format_date
from fastapi import Depends, Query, Request
from pydantic import BeforeValidator, Field
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.records import Building, Unit
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import i18n
from cloud.kit.charts import Chart, Series, decimals
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.inputs import Day
from cloud.kit.pages import translator_of
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import Period, local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.consumption import comparison, selection
from cloud.metering.consumption.comparison import RANK_KEY_LENGTH, Comparison
from cloud.metering.consumption.comparison_api import change_percent
from cloud.metering.consumption.selection import Bar, Selector, UsageGroup
from cloud.metering.consumption.series import edges
from cloud.metering.consumption.windows import (
    LONGEST_DAYS,
    Window,
    WindowKind,
    counterparts,
    custom_window,
    steps,
    usual_step,
    window,
)
from cloud.metering.readings.place_query import Place, channel_of
from cloud.metering.records import Medium, Meter, Step
from cloud.metering.supervision.models import hundredths

router = page_router()

CHANNELS: Final[dict[Medium, tuple[str, ...]]] = {
    "electricity": (
        "energy_import_total", "energy_import_sharp", "energy_import_peak", "energy_import_flat",
        "energy_import_valley", "energy_import_deep_valley", "energy_export_total", "reactive_energy_import_total",
    ),
    "water": ("volume_total", "volume_reverse_total"),
    "heat": ("heat_total", "cooling_total"),
}  # fmt: skip
"""Registers to choose from; the first is the one that is billed."""

_AT_LEAST_S: Final[dict[Step, int]] = {"15min": 900, "30min": 1_800, "hour": 3_600, "day": 86_400, "month": 2_419_200}
_RANKED_SHOWN: Final = 20
_CODES_SHOWN: Final = 20
_HATCHED_FROM: Final = 20
"""A bar of several meters is hatched when one part in so many of its time is estimated or missing."""

_ReadsUsage = Annotated[Scope, allow_page("usage.read")]
_OptionalDay = Annotated[Day | None, BeforeValidator(lambda value: value or None)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the page asks for, as it stands there."""

    building_id: int | None
    unit_id: int | None
    code: str | None
    medium: Medium | None
    channel: str | None
    kind: WindowKind
    on: date | None
    since: date | None
    until: date | None
    step: Step | None


def _asked(
    building_id: OptionalId = None,
    unit_id: OptionalId = None,
    code: OptionalText = None,
    medium: Annotated[Medium | None, BeforeValidator(lambda value: value or None)] = None,
    channel: OptionalText = None,
    kind: WindowKind = "month",
    on: _OptionalDay = None,
    since: _OptionalDay = None,
    until: Annotated[_OptionalDay, Field(description="The last day, included.")] = None,
    step: Annotated[Step | None, BeforeValidator(lambda value: value or None)] = None,
) -> Asked:
    return Asked(building_id, unit_id, code, medium, channel, kind, on, since, until, step)


_AskedFor = Annotated[Asked, Depends(_asked)]


@dataclass(frozen=True, slots=True)
class _View:
    """What is looked at: the place with what it is part of, the days and the step."""

    place: Place
    building: Building | None
    unit: Unit | None
    meter: Meter | None
    window: Window
    step: Step
    today: date

    def named(self) -> dict[str, str | int]:
        """The place as the API names it."""
        chosen = self.place.selector
        if chosen.meter_id is not None:
            return {"meter_id": chosen.meter_id}
        if chosen.unit_id is not None:
            return {"unit_id": chosen.unit_id, "medium": chosen.medium}
        if chosen.building_id is not None:
            return {"building_id": chosen.building_id, "medium": chosen.medium}
        return {"project_id": chosen.project_id, "medium": chosen.medium}

    def neighbour(self, day: date) -> str:
        """Parameters of the window before or after, which begins or holds `day`."""
        if self.window.kind != "custom":
            return self.address(on=day)
        return self.address(since=day, until=day + timedelta(days=self.window.period.days - 1))

    def address(self, **changed: object) -> str:
        """Parameters of the same view, some of them changed."""
        period = self.window.period
        custom = self.window.kind == "custom"
        said: dict[str, object] = {
            "building_id": self.building.id if self.building else "",
            "unit_id": self.unit.id if self.unit else "",
            "code": self.meter.code if self.meter else "",
            "medium": self.place.selector.medium,
            "channel": self.place.channel.code,
            "kind": self.window.kind,
            **({"since": period.start, "until": period.end - timedelta(days=1)} if custom else {"on": period.start}),
            "step": self.step,
        }
        return urlencode({name: value for name, value in (said | changed).items() if value not in ("", None)})


@router.get("/usage")
async def usage(request: Request, scope: _ReadsUsage, asked: _AskedFor, meter_id: OptionalId = None) -> Response:
    """Bars and figures of a place; `meter_id` is how other pages name a meter."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/usage", 303)
    page = await shown(request, scope)
    missing = None
    try:
        view = await _view(page, asked, meter_id)
    except NotFound as error:
        missing, view = error, await _view(page, _without_meter(asked), None)
    group = await _bars(scope.conn, view)
    found = await _compared(scope.conn, view)
    with i18n.speaking(translator_of(request, scope.caller)):
        rows = [_row(bar, view, group.meters) for bar in group.bars]
    return page.page(
        "metering/usage.html",
        view=view,
        missing=missing,
        buildings=(await estate.list_buildings(scope.conn, PageRequest(MAX_LIMIT), _here(page))).items,
        units=await _units_of(scope.conn, view),
        channels=CHANNELS[view.place.selector.medium],
        offered=_offered(view.window, view.meter),
        group=group,
        rows=rows,
        compared=None if found is None else compared_context(found),
        channel=view.place.channel.code,
        anchor=asked.on or view.today,
        last=view.window.period.end - timedelta(days=1),
    )


@router.get("/usage/bars")
async def usage_bars(request: Request, scope: _ReadsUsage, asked: _AskedFor) -> Response:
    """Data of the bars."""
    page = await shown(request, scope)
    view = await _view(page, asked, None)
    group = await _bars(scope.conn, view)
    with i18n.speaking(translator_of(request, scope.caller)):
        return _chart(view, group).answer()


@router.get("/usage/ranking")
async def usage_ranking(request: Request, scope: _ReadsUsage, asked: _AskedFor, cursor: str | None = None) -> Response:
    """The meters of the place that used most."""
    page = await shown(request, scope)
    view = await _view(page, asked, None)
    place = view.place
    days = counterparts(view.window, view.today)
    period = view.window.period if days is None else days.now
    wanted = page_request(_RANKED_SHOWN, cursor, key_length=RANK_KEY_LENGTH)
    found = await comparison.ranking(
        scope.conn, wanted, place.selector, place.channel.number, period, place.project.zone
    )
    meters = await service.meters_by_id(scope.conn, (one.meter_id for one in found.items))
    units = await estate.units_by_id(scope.conn, [one.unit_id for one in meters.values() if one.unit_id])
    return page.page(
        "metering/usage_ranking.html",
        view=view,
        period=period,
        ranked=found,
        meters=meters,
        units=units,
        channel=place.channel.code,
    )


@router.get("/usage/codes")
async def usage_codes(
    request: Request, scope: _ReadsUsage, code: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Numbers of meters that begin with what somebody has typed."""
    page = await shown(request, scope)
    found = await selection.codes_like(scope.conn, page.project.id, code, _CODES_SHOWN) if code else []
    return page.page("metering/usage_codes.html", codes=found)


def compared_context(found: Comparison) -> dict[str, Any]:
    """What `parts/compared.html` draws: the totals, and percentages as people read them."""
    changes = [("before", found.before)] + ([("last_year", found.last_year)] if found.last_year else [])
    return {
        "now": found.now,
        "estimated": hundredths(found.now.bar.estimated_s, found.now.bar.covered_s),
        "changes": [(name, change, change_percent(change)) for name, change in changes],
    }


def _here(page: Shown) -> EstateFilter:
    return EstateFilter(project_id=page.project.id)


def _without_meter(asked: Asked) -> Asked:
    return Asked(None, None, None, asked.medium, None, asked.kind, asked.on, asked.since, asked.until, asked.step)


async def _units_of(conn: Conn, view: _View) -> list[Unit]:
    if view.building is None:
        return []
    wanted = EstateFilter(project_id=view.building.project_id, building_id=view.building.id)
    return list((await estate.list_units(conn, PageRequest(MAX_LIMIT), wanted)).items)


async def _view(page: Shown, asked: Asked, meter_id: int | None) -> _View:
    """Raises NotFound, InvalidInput."""
    conn, project = page.conn, page.project
    meter = await _meter(page, asked, meter_id)
    building_id, unit_id = (None, meter.unit_id) if meter is not None else (asked.building_id, asked.unit_id)
    unit = None if unit_id is None else (await estate.units_by_id(conn, [unit_id])).get(unit_id)
    # A unit of another building is what was chosen before the building was.
    if unit is not None and building_id not in (None, unit.building_id):
        unit = None
    building_id = building_id if unit is None else unit.building_id
    building = None if building_id is None else await estate.get_building(conn, building_id)
    if building is not None and building.project_id != project.id:
        raise NotFound("no-such-building", f"there is no building {building.id} in this project", field="building_id")
    medium: Medium = meter.medium if meter is not None else asked.medium or "electricity"
    channel = channel_of(asked.channel if asked.channel in CHANNELS[medium] else None, medium)
    selector = Selector(
        project.id,
        medium,
        building_id=building.id if building is not None and unit is None and meter is None else None,
        unit_id=unit.id if unit is not None and meter is None else None,
        meter_id=None if meter is None else meter.id,
    )
    today = local_day(datetime.now(UTC), project.zone)
    looked_at = _window(asked, today)
    offered = _offered(looked_at, meter)
    usual = usual_step(looked_at)
    step = asked.step if asked.step in offered else usual if usual in offered else offered[0]
    return _View(Place(selector, project, channel), building, unit, meter, looked_at, step, today)


def _offered(looked_at: Window, meter: Meter | None) -> list[Step]:
    """Steps to choose from; of one meter those that are not shorter than its interval, if there are any."""
    found = steps(looked_at.period)
    shortest = 0 if meter is None else meter.interval_s
    return [step for step in found if _AT_LEAST_S[step] >= shortest] or found


async def _meter(page: Shown, asked: Asked, meter_id: int | None) -> Meter | None:
    if meter_id is not None:
        found: Meter | None = await service.get_meter(page.conn, meter_id)
    elif asked.code is not None:
        found = await service.meter_by_code(page.conn, page.project.id, asked.code)
    else:
        return None
    if found is None or found.project_id != page.project.id:
        raise NotFound("no-meter", "no meter of this project has this number", field="code")
    return found


def _window(asked: Asked, today: date) -> Window:
    if asked.kind != "custom":
        return window(asked.kind, asked.on or today)
    last = asked.until or today
    first = asked.since or last - timedelta(days=29)
    if not 0 <= (last - first).days < LONGEST_DAYS:
        raise InvalidInput("bad-period", f"expected 1 to {LONGEST_DAYS} days", field="until")
    return custom_window(Period(first, last + timedelta(days=1)))


async def _bars(conn: Conn, view: _View) -> UsageGroup:
    place = view.place
    instants = edges(view.window.period, view.step, place.project.zone)
    return await selection.total_of(conn, place.selector, place.channel.number, instants, view.step, place.project.zone)


async def _compared(conn: Conn, view: _View) -> Comparison | None:
    days = counterparts(view.window, view.today)
    if days is None:
        return None
    return await comparison.compare(conn, view.place.selector, view.place.channel.number, days, view.place.project.zone)


def _row(bar: Bar, view: _View, meters: int) -> dict[str, Any]:
    """A row of the table: shares of the time in percent."""
    return {
        "title": _title(bar, view),
        "quantity": bar.quantity,
        "estimated": hundredths(bar.estimated_s, bar.covered_s),
        "known": hundredths(bar.covered_s, meters * _length_s(bar)),
        "future": bar.start >= datetime.now(UTC),
    }


def _chart(view: _View, group: UsageGroup) -> Chart:
    channel = view.place.channel
    now = datetime.now(UTC)
    values = decimals([bar.quantity for bar in group.bars], channel.display_exponent)
    return Chart(
        unit=channel.display_unit,
        labels=[_label(bar, view) for bar in group.bars],
        titles=[_marked(bar, view, group.meters) for bar in group.bars],
        series=[Series(i18n.gettext("Usage"), "bar", view.place.selector.medium, values)],
        gaps=[nth for nth, bar in enumerate(group.bars) if bar.end <= now and _is_uncertain(bar, group.meters)],
    )


def _is_uncertain(bar: Bar, meters: int) -> bool:
    length = meters * _length_s(bar)
    doubtful = length - bar.covered_s + bar.estimated_s
    return doubtful > 0 if meters == 1 else doubtful * _HATCHED_FROM >= length > 0


def _length_s(bar: Bar) -> int:
    return int((bar.end - bar.start).total_seconds())


def _marked(bar: Bar, view: _View, meters: int) -> str:
    """The bar's time, and in words what part of it is estimated or not known."""
    said = [_title(bar, view)]
    if bar.estimated_s:
        said.append(i18n.gettext("Estimated: %(percent)s %%") % {"percent": hundredths(bar.estimated_s, bar.covered_s)})
    length = meters * _length_s(bar)
    if 0 < bar.covered_s < length:
        said.append(i18n.gettext("Known: %(percent)s %%") % {"percent": hundredths(bar.covered_s, length)})
    return " · ".join(said)


def _label(bar: Bar, view: _View) -> str:
    local = bar.start.astimezone(view.place.project.zone)
    if view.step == "month":
        return f"{local.month}" if view.window.kind == "year" else f"{local:%Y-%m}"
    if view.step == "day":
        return f"{local.day}" if view.window.kind == "month" else f"{local.month}/{local.day}"
    return f"{local:%H:%M}" if view.window.period.days == 1 else f"{local.month}/{local.day} {local:%H:%M}"


def _title(bar: Bar, view: _View) -> str:
    zone = view.place.project.zone
    start, end = bar.start.astimezone(zone), bar.end.astimezone(zone)
    if view.step == "month":
        return i18n.show_month(start)
    if view.step == "day":
        return format_date(start, "full", locale=i18n.current().locale)
    hours = f"{start:%H:%M}–{end:%H:%M}"
    return hours if view.window.period.days == 1 else f"{i18n.show_date(start)} {hours}"
