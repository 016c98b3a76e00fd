"""Shifts as a file for spreadsheets: a row for each shift and method of payment."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.metering.exports.table_files import MEDIA_TYPES, Column, Format, Row, writer_of
from cloud.parking.shifts import service
from cloud.parking.shifts.records import ShiftDetail, ShiftFilter, Taking

MOST_SHIFTS: Final = 5000
"""Of one file: the latest."""


async def shift_rows(conn: Conn, wanted: ShiftFilter) -> list[Row]:
    """The rows of the shifts that are wanted, the latest shift first."""
    rows: list[Row] = []
    after: tuple[int, ...] | None = None
    for _ in range(MOST_SHIFTS // MAX_LIMIT):
        page = await service.list_shifts(conn, PageRequest(MAX_LIMIT, after), wanted)
        for shift in page.items:
            rows += _rows_of(await service.detail(conn, shift.id))
        if page.next_cursor is None:
            break
        after = (page.items[-1].id,)
    return rows


def shift_file(form: Format, rows: Sequence[Row], project: Project) -> Response:
    """The rows as a file; amounts with the decimals of the project's currency."""
    digits = minor_digits(project.currency)
    columns = [
        *(Column(name, "text") for name in ("desk", "guard", "state")),
        *(Column(name, "time") for name in ("began_at", "ended_at")),
        *(Column(name, "whole") for name in ("entries", "exits", "incidents", "openings")),
        Column("method", "text"),
        Column("payments", "whole"),
        *(Column(name, "decimal", digits) for name in ("taken", "returned", "counted", "difference")),
        *(Column(name, "text") for name in ("currency", "note", "confirmed_by", "confirmed_note")),
    ]
    writer = writer_of(form, columns, project.zone)
    try:
        content = writer.add(rows) + b"".join(writer.end())
    finally:
        writer.close()
    headers = {"Content-Disposition": f'attachment; filename="parking-shifts.{form}"', "Cache-Control": "no-store"}
    return Response(content, media_type=MEDIA_TYPES[form], headers=headers)


def _rows_of(found: ShiftDetail) -> list[Row]:
    shift, totals = found.shift, found.totals
    head = (shift.desk, shift.guard, shift.state, shift.began_at, shift.ended_at, totals.entries, totals.exits,
            totals.incidents, sum(totals.openings.values()))  # fmt: skip
    tail = (shift.currency, shift.note, shift.confirmed_name, shift.confirmed_note)
    return [(*head, *_money(one), *tail) for one in found.takings]


def _money(one: Taking) -> Row:
    return one.method, one.payments, one.taken, one.returned, one.counted, one.difference
