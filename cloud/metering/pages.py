"""Consumption pages: a meter for staff, a resident's own meters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from fastapi import Query, Request
from starlette.responses import Response

from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import i18n
from cloud.kit.charts import Chart, Series, decimals
from cloud.kit.db import Conn
from cloud.kit.pages import translator_of
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router, take_in
from cloud.metering import service
from cloud.metering.apportionment import pages as apportionment_pages
from cloud.metering.assets import pages as asset_pages
from cloud.metering.consumption import comparison
from cloud.metering.consumption import pages as usage_pages
from cloud.metering.consumption.comparison import Comparison
from cloud.metering.consumption.pages import compared_context
from cloud.metering.consumption.selection import Selector
from cloud.metering.consumption.spans import Span, span
from cloud.metering.consumption.windows import WindowKind, counterparts, window
from cloud.metering.edits import pages as edit_pages
from cloud.metering.exceptions import pages as exception_pages
from cloud.metering.exchanges import pages as exchange_pages
from cloud.metering.exports import pages as export_pages
from cloud.metering.imports import pages as import_pages
from cloud.metering.manual import pages as manual_pages
from cloud.metering.manual import submission_pages
from cloud.metering.records import Meter, Step, UsageBar
from cloud.metering.supervision import leaks, set_aside
from cloud.metering.supervision import pages as supervision_pages
from cloud.metering.thresholds import pages as threshold_pages
from cloud.metering.unusable import pages as unusable_pages

router = page_router()
take_in(
    router,
    asset_pages.router,
    exchange_pages.router,
    apportionment_pages.router,
    supervision_pages.router,
    exception_pages.router,
    edit_pages.router,
    threshold_pages.router,
    manual_pages.router,
    submission_pages.router,
    usage_pages.router,
    export_pages.router,
    import_pages.router,
    unusable_pages.router,
)

_READINGS_SHOWN = 25
_QUARTER_S = 900
_KINDS: dict[Step, WindowKind] = {"15min": "day", "30min": "day", "hour": "day", "day": "month", "month": "year"}
"""The window that a page shows so many steps of."""


@dataclass(frozen=True, slots=True)
class _View:
    """The bars of one meter that a page shows, and what they come to."""

    meter: Meter
    span: Span
    bars: list[UsageBar]
    total: int
    compared: Comparison | None

    def context(self, base: str) -> dict[str, Any]:
        """What `parts/consumption.html` draws; `base` is the page's address up to its own parameters."""
        return {
            "span": self.span,
            "base": base,
            "channel": self.meter.main_channel.code,
            "quarters": self.meter.interval_s <= _QUARTER_S,
            "total": self.total,
            "compared": None if self.compared is None else compared_context(self.compared),
            "has_gaps": any(bar.uncertain for bar in self.bars),
            "chart_url": f"/meters/{self.meter.id}/bars?step={self.span.step}&on={self.span.anchor.isoformat()}",
        }


@router.get("/meters/{meter_id}")
async def meter(
    request: Request,
    scope: Annotated[Scope, allow_page("meters.read")],
    meter_id: int,
    step: Step = "day",
    on: date | None = None,
    cursor: str | None = None,
) -> Response:
    """Usage of a meter as bars, and its newest readings."""
    page = await shown(request, scope)
    found = await service.get_meter(scope.conn, meter_id)
    zone = _zone(page, found)
    view = await _view(scope.conn, found, step, on, zone)
    readings = await service.list_readings(
        scope.conn,
        page_request(_READINGS_SHOWN, cursor),
        meter_id,
        found.main_channel.number,
        datetime.combine(found.installed_on, datetime.min.time(), zone) - timedelta(days=1),
        datetime.now(UTC) + timedelta(days=1),
    )
    units = await estate.units_by_id(scope.conn, [found.unit_id] if found.unit_id else [])
    return page.page(
        "metering/show.html",
        meter=found,
        tab="usage",
        may_write=scope.caller.may("meters.write", found.project_id),
        place=units[found.unit_id].label if found.unit_id in units else found.place,
        readings=readings,
        aside=(await set_aside.of_meters(scope.conn, [meter_id])).get(meter_id),
        may_mend=scope.caller.may("readings.write", found.project_id),
        zone=zone,
        **view.context(f"/meters/{meter_id}?"),
    )


@router.get("/meters/{meter_id}/bars")
async def bars(
    request: Request,
    scope: Annotated[Scope, allow_page("usage.read")],
    meter_id: int,
    step: Step,
    on: Annotated[date, Query()],
) -> Response:
    """Data of the bars."""
    page = await shown(request, scope)
    found = await service.get_meter(scope.conn, meter_id)
    zone = _zone(page, found)
    view = await _view(scope.conn, found, step, on, zone)
    with i18n.speaking(translator_of(request, scope.caller)):
        return _chart(view, zone).answer()


@router.get("/my/usage")
async def my_usage(
    request: Request,
    scope: Annotated[Scope, allow_page("usage.read")],
    meter_id: OptionalId = None,
    step: Step = "day",
    on: date | None = None,
) -> Response:
    """Usage of the resident's own meters; row-level security leaves no others."""
    page = await shown(request, scope)
    units = (
        await estate.list_units(scope.conn, PageRequest(MAX_LIMIT), EstateFilter(project_id=page.project.id))
    ).items
    meters = await service.meters_of_units(scope.conn, [unit.id for unit in units])
    chosen = next((one for one in meters if one.id == meter_id), meters[0] if meters else None)
    context: dict[str, Any] = {}
    if chosen is not None:
        view = await _view(scope.conn, chosen, step, on, _zone(page, chosen))
        context = view.context(f"/my/usage?meter_id={chosen.id}&")
    labels = {unit.id: unit.label for unit in units}
    flow = None
    if chosen is not None and chosen.medium == "water":
        flow = (await leaks.streaks_of(scope.conn, [chosen.id], datetime.now(UTC)))[chosen.id]
    return page.page(
        "metering/mine.html", meters=meters, chosen=chosen, labels=labels,
        flowing_h=flow.hours if flow is not None and flow.is_warned else 0, **context,
    )  # fmt: skip


def _zone(page: Shown, meter: Meter) -> ZoneInfo:
    """The zone of the meter's project, which need not be the one that is shown."""
    return next((one.zone for one in page.projects if one.id == meter.project_id), page.project.zone)


async def _view(conn: Conn, meter: Meter, step: Step, on: date | None, zone: ZoneInfo) -> _View:
    today = local_day(datetime.now(UTC), zone)
    wanted = span(step, on or today, today)
    start, end = wanted.period.instants(zone)
    # Not the sum of the bars: a stretch without readings belongs to the total, though to no bar.
    total = await service.usage_between(conn, meter.id, meter.main_channel.number, start, end)
    bars = await service.usage_series(conn, meter.id, wanted.period, step, zone)
    days = counterparts(window(_KINDS[step], wanted.anchor), today)
    selector = Selector(meter.project_id, meter.medium, meter_id=meter.id)
    channel = meter.main_channel.number
    compared = None if days is None else await comparison.compare(conn, selector, channel, days, zone)
    return _View(meter, wanted, bars, total.quantity, compared)


def _chart(view: _View, zone: ZoneInfo) -> Chart:
    channel = view.meter.main_channel
    return Chart(
        unit=channel.display_unit,
        labels=[_label(bar, view.span.step, zone) for bar in view.bars],
        titles=[_title(bar, view.span.step, zone) for bar in view.bars],
        series=[
            Series(
                i18n.gettext("Usage"), "bar", view.meter.medium, decimals(_values(view.bars), channel.display_exponent)
            )
        ],
        gaps=[position for position, bar in enumerate(view.bars) if bar.uncertain],
    )


def _values(bars: Sequence[UsageBar]) -> list[int | None]:
    return [bar.quantity for bar in bars]


def _label(bar: UsageBar, step: Step, zone: ZoneInfo) -> str:
    local = bar.start.astimezone(zone)
    return {"day": f"{local.day}", "month": f"{local.month}", "hour": f"{local:%H}"}.get(step, f"{local:%H:%M}")


def _title(bar: UsageBar, step: Step, zone: ZoneInfo) -> str:
    start, end = bar.start.astimezone(zone), bar.end.astimezone(zone)
    if step in ("15min", "30min", "hour"):
        return f"{start:%H:%M}–{end:%H:%M}"
    return format_date(start, "full", locale=i18n.current().locale) if step == "day" else i18n.show_month(start)
