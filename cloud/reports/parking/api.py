"""REST: reports of parking."""

from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.routing import rest_router
from cloud.metering.exports.table_files import MEDIA_TYPES
from cloud.reports.parking import service, tables
from cloud.reports.parking.models import (
    OccupancyOut,
    OccupancyReport,
    OpeningsOut,
    OpeningsReport,
    ReportFileQuery,
    ReportQuery,
    RevenueOut,
    RevenueReport,
    TurnoverOut,
    TurnoverQuery,
    TurnoverReport,
    UnmatchedOut,
    UnmatchedReport,
)
from cloud.reports.parking.records import ReportName
from cloud.reports.parking.repository import Wanted

router = rest_router("reports")

Reader = Annotated[Scope, allow("parking.report")]
_Query = Annotated[ReportQuery, Query()]
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            "text/csv": {"example": "step,stays,mean_s,median_s\n2026-01-01,412,5400,3720\n"},
            MEDIA_TYPES["xlsx"]: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("/parking-reports/turnover")
async def turnover(scope: Reader, query: Annotated[TurnoverQuery, Query()]) -> TurnoverReport:
    """Stays that ended, with their mean and median length, by day or by hour of the day."""
    rows = await service.turnover(scope.conn, await _wanted(scope, query), query.step)
    return TurnoverReport(items=[TurnoverOut.model_validate(row) for row in rows])


@router.get("/parking-reports/occupancy")
async def occupancy(scope: Reader, query: _Query) -> OccupancyReport:
    """Vehicles inside on average and at most, by hour of the week; hours that were not yet are absent."""
    rows = await service.occupancy(scope.conn, await _wanted(scope, query))
    return OccupancyReport(
        items=[
            OccupancyOut(
                weekday=row.weekday,
                hour=row.hour,
                mean=str(row.mean),
                most=row.most,
                percent=None if row.percent is None else str(row.percent),
            )
            for row in rows
        ]
    )


@router.get("/parking-reports/revenue")
async def revenue(scope: Reader, query: _Query) -> RevenueReport:
    """What was paid for stays, by day, lane of the exit and method."""
    rows = await service.revenue(scope.conn, await _wanted(scope, query))
    return RevenueReport(items=[RevenueOut.of(row) for row in rows])


@router.get("/parking-reports/openings")
async def openings(scope: Reader, query: _Query) -> OpeningsReport:
    """Barriers opened by hand, by lane, person and reason."""
    rows = await service.openings(scope.conn, await _wanted(scope, query))
    return OpeningsReport(items=[OpeningsOut.model_validate(row) for row in rows])


@router.get("/parking-reports/unmatched")
async def unmatched(scope: Reader, query: _Query) -> UnmatchedReport:
    """Stays whose entry or exit nobody saw, by the day they ended and by lot."""
    rows = await service.unmatched(scope.conn, await _wanted(scope, query))
    return UnmatchedReport(items=[UnmatchedOut.model_validate(row) for row in rows])


@router.get("/parking-reports/{report}/file", response_class=Response, responses=_FILES)
async def report_file(report: ReportName, scope: Reader, query: Annotated[ReportFileQuery, Query()]) -> Response:
    """A report as a CSV or XLSX file."""
    asked = await _wanted(scope, query)
    project = await estate.get_project(scope.conn, asked.project_id)
    rows = await tables.rows_of(scope.conn, report, asked, query.step)
    return tables.file_of(report, query.form, rows, asked, project.currency)


async def _wanted(scope: Scope, query: ReportQuery) -> Wanted:
    return await service.wanted(scope.conn, query.project_id, query.first, query.last, query.lot_id)
