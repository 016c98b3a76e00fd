"""Reports of parking as files for spreadsheets."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

from cloud.kit.db import Conn
from cloud.kit.money import minor_digits
from cloud.metering.exports.table_files import MEDIA_TYPES, Cell, Column, Format, writer_of
from cloud.reports.parking import service
from cloud.reports.parking.records import ReportName, Row, TurnoverStep
from cloud.reports.parking.repository import Wanted

_COLUMNS: Final[Mapping[ReportName, Sequence[Column]]] = {
    "turnover": (
        Column("step", "text"),
        Column("stays", "whole"),
        Column("mean_s", "whole"),
        Column("median_s", "whole"),
    ),
    "occupancy": (
        Column("weekday", "whole"),
        Column("hour", "whole"),
        Column("mean", "decimal", 1),
        Column("most", "whole"),
        Column("percent", "decimal", 1),
    ),
    "revenue": (
        Column("day", "text"),
        Column("lot", "text"),
        Column("lane", "text"),
        Column("method", "text"),
        Column("payments", "whole"),
        Column("amount", "decimal", 2),
        Column("currency", "text"),
    ),
    "openings": (
        Column("lot", "text"),
        Column("lane", "text"),
        Column("actor", "text"),
        Column("code", "text"),
        Column("reason", "text"),
        Column("openings", "whole"),
        Column("confirmed", "whole"),
        Column("last_at", "time"),
    ),
    "unmatched": (
        Column("day", "text"),
        Column("lot", "text"),
        Column("missing", "text"),
        Column("stays", "whole"),
    ),
}


async def rows_of(conn: Conn, report: ReportName, asked: Wanted, step: TurnoverStep = "day") -> Sequence[Row]:
    """The rows of a report."""
    match report:
        case "turnover":
            return await service.turnover(conn, asked, step)
        case "occupancy":
            return await service.occupancy(conn, asked)
        case "revenue":
            return await service.revenue(conn, asked)
        case "openings":
            return await service.openings(conn, asked)
        case "unmatched":
            return await service.unmatched(conn, asked)


def file_of(report: ReportName, form: Format, rows: Sequence[Row], asked: Wanted, currency: str) -> Response:
    """The rows as a file; amounts with the decimals of the project's currency."""
    columns = [
        Column(one.name, one.kind, minor_digits(currency)) if one.name == "amount" else one for one in _COLUMNS[report]
    ]
    writer = writer_of(form, columns, ZoneInfo(asked.zone))
    try:
        content = writer.add([[_cell(row, one) for one in columns] for row in rows]) + b"".join(writer.end())
    finally:
        writer.close()
    return Response(
        content,
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="parking-{report}-{asked.first}-{asked.last}.{form}"',
            "Cache-Control": "no-store",
        },
    )


def _cell(row: Row, column: Column) -> Cell:
    value: Any = getattr(row, column.name)
    return value.isoformat() if isinstance(value, date) and column.kind == "text" else value
