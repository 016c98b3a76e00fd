"""Pages of the reports of parking: a table and, where there is one, a chart; the same as files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, OptionalId, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import i18n
from cloud.kit.charts import Chart, Series
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import local_day, month_of
from cloud.kit.routing import page_router
from cloud.parking import service as parking
from cloud.reports.parking import service, tables
from cloud.reports.parking.records import (
    REPORTS,
    OccupancyRow,
    ReportName,
    RevenueRow,
    Row,
    TurnoverRow,
    TurnoverStep,
)
from cloud.reports.parking.repository import Wanted

router = page_router()

_Reads = Annotated[Scope, allow_page("parking.report")]
_Format = Literal["", "csv", "xlsx"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the page is asked for, with the usual days filled in."""

    wanted: Wanted
    step: TurnoverStep


@router.get("/parking/reports")
async def reports(_: _Reads) -> Response:
    """The first report."""
    return RedirectResponse(f"/parking/reports/{REPORTS[0]}", 303)


@router.get("/parking/reports/{report}")
async def report(
    request: Request,
    scope: _Reads,
    report: ReportName,
    since: Annotated[OptionalDay, Query(alias="from")] = None,
    until: OptionalDay = None,
    lot_id: OptionalId = None,
    step: TurnoverStep = "day",
    form: Annotated[_Format, Query(alias="format")] = "",
) -> Response:
    """A report of this month unless other days are asked for; `until` is the last day that counts."""
    page = await shown(request, scope)
    asked = await _asked(page, since, until, lot_id, step)
    rows = await tables.rows_of(scope.conn, report, asked.wanted, step)
    if form:
        return tables.file_of(report, form, rows, asked.wanted, page.project.currency)
    return page.page(
        f"reports/parking_{report}.html",
        report=report,
        rows=rows,
        heat=_heat(rows),
        totals=_totals(rows),
        lots=(await parking.list_lots(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        lot_id=lot_id,
        first=asked.wanted.first,
        last=asked.wanted.last - timedelta(days=1),
        step=step,
    )


@router.get("/parking/reports/{report}/chart")
async def chart(
    request: Request,
    scope: _Reads,
    report: Literal["turnover", "revenue"],
    since: Annotated[OptionalDay, Query(alias="from")] = None,
    until: OptionalDay = None,
    lot_id: OptionalId = None,
    step: TurnoverStep = "day",
) -> Response:
    """What the page's chart is drawn from."""
    page = await shown(request, scope)
    asked = await _asked(page, since, until, lot_id, step)
    if report == "turnover":
        stays = await service.turnover(scope.conn, asked.wanted, step)
        with page.speaking():
            return _turnover_chart(stays, asked).answer()
    paid = await service.revenue(scope.conn, asked.wanted)
    with page.speaking():
        return _revenue_chart(paid, asked.wanted, page.project.currency).answer()


async def _asked(page: Shown, since: date | None, until: date | None, lot_id: int | None, step: TurnoverStep) -> _Asked:
    month = month_of(local_day(datetime.now(UTC), page.project.zone))
    first = since or month.start
    last = until or max(first, month.end - timedelta(days=1))
    wanted = await service.wanted(page.conn, page.project.id, first, last + timedelta(days=1), lot_id)
    return _Asked(wanted, step)


def _days(wanted: Wanted) -> list[date]:
    return [wanted.first + timedelta(days=nth) for nth in range((wanted.last - wanted.first).days)]


def _turnover_chart(rows: Sequence[TurnoverRow], asked: _Asked) -> Chart:
    stays = {row.step: row.stays for row in rows}
    days = _days(asked.wanted) if stays and asked.step == "day" else []
    hours = [f"{hour:02}" for hour in range(24)] if stays and asked.step == "hour" else []
    steps = [day.isoformat() for day in days] + hours
    return Chart(
        unit="",
        labels=[str(day.day) for day in days] + hours,
        titles=[i18n.show_date(day) for day in days] + [f"{hour}:00" for hour in hours],
        series=[Series(i18n.gettext("Stays that ended"), "bar", "now", [str(stays.get(step, 0)) for step in steps])],
        gaps=[],
    )


def _revenue_chart(rows: Sequence[RevenueRow], wanted: Wanted, currency: str) -> Chart:
    amounts: dict[date, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.currency == currency:
            amounts[row.day] += row.amount
    days = _days(wanted) if amounts else []
    return Chart(
        unit=currency,
        labels=[str(day.day) for day in days],
        titles=[i18n.show_date(day) for day in days],
        series=[Series(i18n.gettext("Paid"), "bar", "now", [str(amounts.get(day, Decimal(0))) for day in days])],
        gaps=[],
    )


def _heat(rows: Sequence[Row]) -> dict[int, dict[int, OccupancyRow]]:
    """Cells by hour and weekday."""
    cells: dict[int, dict[int, OccupancyRow]] = defaultdict(dict)
    for row in rows:
        if isinstance(row, OccupancyRow):
            cells[row.hour][row.weekday] = row
    return dict(sorted(cells.items()))


def _totals(rows: Sequence[Row]) -> dict[str, Decimal]:
    """Revenue by currency."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if isinstance(row, RevenueRow):
            found[row.currency] += row.amount
    return dict(found)
