"""Files of readings: every row is answered in its order; what is good is stored, what is not says why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, LiteralString
from zoneinfo import ZoneInfo

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.periods import day_start
from cloud.metering import manual, service
from cloud.metering.import_table import TableRow, instant, read_table
from cloud.metering.manual import ManualReading
from cloud.metering.records import Meter
from gateway.contract.quantities import BY_CODE

_AT_ONCE: Final = 20_000

_METERS: LiteralString = """
    SELECT m.id, m.code, r.serial FROM meter m JOIN current_register r ON r.meter_id = m.id
    WHERE m.project_id = %(project_id)s AND (m.code = ANY (%(codes)s) OR r.serial = ANY (%(serials)s))
"""
_STORED: LiteralString = """
    SELECT w.nth - 1 AS nth, r.value
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(times)s::timestamptz[])
         WITH ORDINALITY AS w (meter_id, channel, taken_at, nth)
    JOIN reading r ON r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at = w.taken_at
"""


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What became of one line, or would become of it: `code`, `field` and `detail` say why it was refused."""

    line: int
    outcome: Literal["stored", "repeated", "other-value", "refused"]
    code: str = ""
    field: str = ""
    detail: str = ""


async def import_readings(conn: Conn, project_id: int, content: bytes, *, dry_run: bool) -> list[RowAnswer]:
    """Reads a CSV or XLSX file of register values and stores its good rows; a dry run only says what would happen.

    Safe to repeat: what is there already is answered `repeated`, and a stored value is never replaced. Two rows for
    one instant: the first counts. Raises InvalidInput when the file as a whole cannot be read, NotFound.
    """
    project = await estate.get_project(conn, project_id)
    rows = read_table(content).rows
    meters = await _meters(conn, project_id, rows)
    answers: list[RowAnswer] = []
    for start in range(0, len(rows), _AT_ONCE):
        answers += await _some(conn, rows[start : start + _AT_ONCE], meters, project.zone, dry_run=dry_run)
    if not dry_run and any(answer.outcome == "stored" for answer in answers):
        await service.ask_for_usage(conn)
    return answers


async def _meters(conn: Conn, project_id: int, rows: Sequence[TableRow]) -> dict[tuple[str, str], Meter | None]:
    """Meters by ("meter", code) and ("serial", serial); None where two meters bear one serial."""
    query = {
        "project_id": project_id,
        "codes": sorted({row.cells.get("meter", "") for row in rows} - {""}),
        "serials": sorted({row.cells.get("serial", "") for row in rows} - {""}),
    }
    named = await (await conn.execute(_METERS, query)).fetchall()
    by_id = await service.meters_by_id(conn, (row["id"] for row in named))
    found: dict[tuple[str, str], Meter | None] = {}
    for row in named:
        meter = by_id[row["id"]]
        found["meter", row["code"]] = meter
        key = ("serial", row["serial"])
        found[key] = None if key in found else meter
    return found


async def _some(
    conn: Conn, rows: Sequence[TableRow], meters: dict[tuple[str, str], Meter | None], zone: ZoneInfo, *, dry_run: bool
) -> list[RowAnswer]:
    answers = [RowAnswer(row.line, "stored") for row in rows]
    good: list[tuple[int, ManualReading]] = []
    now = datetime.now(UTC)
    for nth, row in enumerate(rows):
        try:
            good.append((nth, _reading(row, meters, zone, now)))
        except InvalidInput as error:
            answers[nth] = RowAnswer(row.line, "refused", error.code, error.field or "", error.detail)
    before = await _values(conn, [reading for _, reading in good])
    for nth, reading in good:
        key = (reading.meter_id, reading.channel, reading.taken_at)
        there = before.setdefault(key, None)
        if there is None:
            before[key] = reading.value
        else:
            outcome: Literal["repeated", "other-value"] = "repeated" if there == reading.value else "other-value"
            answers[nth] = replace(answers[nth], outcome=outcome)
    fresh = [(nth, reading) for nth, reading in good if answers[nth].outcome == "stored"]
    if fresh and not dry_run:
        for (nth, reading), value in zip(
            fresh, await manual.store_all(conn, [reading for _, reading in fresh]), strict=True
        ):
            if value != reading.value:  # somebody was faster
                answers[nth] = replace(answers[nth], outcome="other-value")
    return answers


async def _values(conn: Conn, readings: Sequence[ManualReading]) -> dict[tuple[int, int, datetime], int | None]:
    query = {
        "meters": [one.meter_id for one in readings],
        "channels": [one.channel for one in readings],
        "times": [one.taken_at for one in readings],
    }
    found = await (await conn.execute(_STORED, query)).fetchall()
    keys = [(one.meter_id, one.channel, one.taken_at) for one in readings]
    return {keys[row["nth"]]: row["value"] for row in found}


def _reading(
    row: TableRow, meters: dict[tuple[str, str], Meter | None], zone: ZoneInfo, now: datetime
) -> ManualReading:
    name = "meter" if row.cells.get("meter") else "serial"
    meter = meters.get((name, row.cells.get(name, "")))
    if meter is None:
        raise InvalidInput("unknown-meter", "expected the code or serial of one meter of the project", field=name)
    quantity = BY_CODE.get(row.cells.get("channel") or meter.main_channel.code)
    if quantity is None:
        raise InvalidInput("unknown-channel", "expected the code of a channel", field="channel")
    taken_at = instant(row.cells.get("time", ""), zone)
    manual.check_time(taken_at, day_start(meter.installed_on, zone), now)
    value = manual.base_value(row.cells.get("value", ""), row.cells.get("unit", ""), quantity, meter)
    return ManualReading(meter.id, quantity.number, taken_at, value)
