"""Pages of losses, night flows and the health of meters."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import i18n
from cloud.kit.charts import Chart, Series, decimals
from cloud.kit.db import Conn
from cloud.kit.pages import translator_of
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.consumption.months_shown import latest_month, month_shown
from cloud.metering.exports.csv_answer import csv_answer
from cloud.metering.records import MAIN_CHANNEL, Medium
from cloud.metering.supervision import leaks, losses, meter_health, set_aside
from cloud.metering.supervision.losses import Loss
from cloud.metering.supervision.meter_health import HealthFilter, estimated_share
from cloud.metering.supervision.meter_health_repository import MeterHealth
from cloud.metering.supervision.models import hundredths, thousandths

router = page_router()

_RANKED = 50
_EXPORTED = PageRequest(100_000)

_Medium = Literal["", "electricity", "water", "heat"]
_Trouble = Literal["", "silent", "gaps", "estimates", "rollback", "due", "set-aside"]
_ReadsUsage = Annotated[Scope, allow_page("usage.read")]
_ReadsMeters = Annotated[Scope, allow_page("meters.read")]


@router.get("/losses")
async def all_losses(
    request: Request, scope: _ReadsUsage, medium: Medium = "electricity", month: OptionalText = None
) -> Response:
    """The tree of master meters with the loss of each in a month."""
    page = await shown(request, scope)
    zone = page.project.zone
    period = month_shown(month, zone)
    found = await losses.losses(scope.conn, page.project.id, medium, period, zone)
    return page.page(
        "metering/losses.html",
        losses=found,
        percent={one.balance.meter_id: hundredths(one.quantity, one.balance.master) for one in found},
        places=await _places(scope.conn, [one.balance.unit_id for one in found]),
        medium=medium,
        period=period,
        latest=latest_month(zone),
        channel=MAIN_CHANNEL[medium].code,
    )


@router.get("/losses/{meter_id}")
async def loss(request: Request, scope: _ReadsUsage, meter_id: int, month: OptionalText = None) -> Response:
    """One master meter: its sub-meters in a month, and its loss over a year."""
    page = await shown(request, scope)
    meter = await service.get_meter(scope.conn, meter_id)
    zone = (await estate.get_project(scope.conn, meter.project_id)).zone
    period = month_shown(month, zone)
    found: Loss | None = await losses.of_master(scope.conn, meter, period, zone)
    parts = await losses.parts(scope.conn, meter, period, zone)
    return page.page(
        "metering/loss.html",
        meter=meter,
        loss=found,
        parts=parts,
        percent=None if found is None else hundredths(found.quantity, found.balance.master),
        places=await _places(scope.conn, [part.meter.unit_id for part in parts]),
        period=period,
        latest=latest_month(zone),
        channel=meter.main_channel.code,
    )


@router.get("/losses/{meter_id}/bars")
async def loss_bars(request: Request, scope: _ReadsUsage, meter_id: int) -> Response:
    """The loss of a master meter, month by month; a month with missing readings is hatched."""
    meter = await service.get_meter(scope.conn, meter_id)
    zone = (await estate.get_project(scope.conn, meter.project_id)).zone
    months = await losses.trend(scope.conn, meter, local_day(datetime.now(UTC), zone), zone)
    known = [one is not None and one.balance.is_complete for _, one in months]
    values = [one.quantity if one is not None and good else None for (_, one), good in zip(months, known, strict=True)]
    with i18n.speaking(translator_of(request, scope.caller)):
        return Chart(
            unit=meter.main_channel.display_unit,
            labels=[str(month.start.month) for month, _ in months],
            titles=[i18n.show_month(month.start) for month, _ in months],
            series=[
                Series(i18n.gettext("Loss"), "bar", meter.medium, decimals(values, meter.main_channel.display_exponent))
            ],
            gaps=[n for n, good in enumerate(known) if not good],
        ).answer()


@router.get("/leaks")
async def all_leaks(request: Request, scope: _ReadsUsage) -> Response:
    """Water meters by their smallest flow at night."""
    page = await shown(request, scope)
    today = local_day(datetime.now(UTC), page.project.zone)
    found = await leaks.ranking(scope.conn, page.project.id, today, page.project.zone, _RANKED)
    return page.page(
        "metering/leaks.html",
        suspects=found,
        litres={one.meter.meter_id: Decimal(one.meter.flow).scaleb(-3) for one in found},
        places=await _places(scope.conn, [one.meter.unit_id for one in found]),
        ranked_nights=leaks.RANKED_NIGHTS,
    )


@router.get("/leaks/{meter_id}")
async def leak(request: Request, scope: _ReadsUsage, meter_id: int) -> Response:
    """The nights of one water meter."""
    page = await shown(request, scope)
    meter = await service.get_meter(scope.conn, meter_id)
    streaks = await leaks.streaks_of(scope.conn, [meter.id], datetime.now(UTC))
    return page.page(
        "metering/leak.html", meter=meter, streak=streaks[meter.id],
        places=await _places(scope.conn, [meter.unit_id]),
    )  # fmt: skip


@router.get("/leaks/{meter_id}/bars")
async def leak_bars(request: Request, scope: _ReadsUsage, meter_id: int) -> Response:
    """The smallest hourly flow of each of the last 30 nights."""
    meter = await service.get_meter(scope.conn, meter_id)
    zone = (await estate.get_project(scope.conn, meter.project_id)).zone
    nights = await leaks.nights_of(scope.conn, meter, local_day(datetime.now(UTC), zone), zone)
    with i18n.speaking(translator_of(request, scope.caller)):
        return Chart(
            unit="L/h",
            labels=[str(day.day) for day, _ in nights],
            titles=[i18n.show_date(day) for day, _ in nights],
            series=[Series(i18n.gettext("Night flow"), "bar", "water", decimals([flow for _, flow in nights], -3))],
            gaps=[n for n, (_, flow) in enumerate(nights) if flow is None],
        ).answer()


@router.get("/meter-health")
async def health(
    request: Request, scope: _ReadsMeters, medium: _Medium = "", only: _Trouble = "", cursor: str | None = None
) -> Response:
    """Meters as their last 30 days show them, with the totals of each kind of trouble."""
    page = await shown(request, scope)
    now = datetime.now(UTC)
    wanted = HealthFilter((page.project.id,), medium or None, only or None)
    found = await meter_health.health(scope.conn, page_request(None, cursor), wanted, now)
    return page.page(
        "metering/health.html",
        meters=found,
        totals=await meter_health.totals(scope.conn, wanted, now),
        estimated={row.id: hundredths(*estimated_share(row)) for row in found.items},
        volts={row.id: thousandths(row.battery_mv) for row in found.items if row.battery_mv is not None},
        places=await _places(scope.conn, [row.unit_id for row in found.items]),
        wanted=wanted,
        aside=await set_aside.of_meters(scope.conn, [row.id for row in found.items if row.set_aside]),
        may_mend=scope.caller.may("readings.write", page.project.id),
    )


@router.post("/meters/{meter_id}/attempts")
async def try_again(scope: Annotated[Scope, allow_page("readings.write")], meter_id: int) -> Response:
    """Has a meter that is set aside tried again; one that was mended meanwhile needs it no more."""
    asked = await set_aside.try_now(scope.conn, meter_id)
    return RedirectResponse(f"/meters/{meter_id}{'?done=attempt-asked' if asked else ''}", 303)


@router.get("/meter-health/export.csv")
async def health_csv(request: Request, scope: _ReadsMeters, medium: _Medium = "", only: _Trouble = "") -> Response:
    """The same as a file, with all meters."""
    page = await shown(request, scope)
    wanted = HealthFilter((page.project.id,), medium or None, only or None)
    found = await meter_health.health(scope.conn, _EXPORTED, wanted, datetime.now(UTC))
    places = await _places(scope.conn, [row.unit_id for row in found.items])
    header = (
        "meter", "medium", "place", "last_seen", "silent", "gaps", "estimated_percent", "rollovers",
        "refused_readings", "open_exceptions", "battery_v", "verification_due", "set_aside",
    )  # fmt: skip
    aside = await set_aside.of_meters(scope.conn, [row.id for row in found.items if row.set_aside])
    rows = [(*_health_row(row, places), "; ".join(one.reason for one in aside.get(row.id, []))) for row in found.items]
    return csv_answer("meter-health.csv", header, rows)


def _health_row(row: MeterHealth, places: dict[int, str]) -> Sequence[Any]:
    return (
        row.code, row.medium, places.get(row.unit_id or 0, row.place), row.seen_at.isoformat() if row.seen_at else "",
        int(row.silent), row.gap_count, hundredths(*estimated_share(row)), row.rollovers, row.refused_count,
        row.open_count, "" if row.battery_mv is None else thousandths(row.battery_mv), row.verification_due or "",
    )  # fmt: skip


async def _places(conn: Conn, unit_ids: Sequence[int | None]) -> dict[int, str]:
    """Labels of units."""
    units = await estate.units_by_id(conn, {unit_id for unit_id in unit_ids if unit_id is not None})
    return {unit.id: unit.label for unit in units.values()}
