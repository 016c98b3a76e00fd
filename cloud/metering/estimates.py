"""Usage of a period for a bill that cannot wait: what is measured, and an estimate of what is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.periods import day_start, in_ms, local_day
from cloud.metering import repository
from cloud.metering.estimation import HISTORY_DAYS, History, estimate_open
from cloud.metering.local_days import Slots, slots
from cloud.metering.records import Meter, UsageRow
from cloud.metering.subjects_repository import load_thresholds

_MEASURED = frozenset({0, 1, 7})
"""Methods that stand on readings at both ends of the row."""

Hole = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class EstimatedUsage:
    """`quantity` is `measured` and `estimated` together; `method` is the lowest rung used, 0 when all is measured."""

    quantity: int
    method: int
    measured: int
    estimated: int


async def estimated_usage(conn: Conn, meter: Meter, channel: int, start: datetime, end: datetime) -> EstimatedUsage:
    """Usage of a meter in [start, end), in the base unit of the channel, whatever is missing.

    Rows that usage has count as they are; a row that reaches over an end gives its part by time. What no row covers
    is estimated by the ladder from the 28 days before it, and is never stored: the bill keeps it, and the readings
    that come later make the difference.
    """
    zone = (await estate.get_project(conn, meter.project_id)).zone
    rows = await repository.usage(conn, meter.id, channel, start, end)
    measured = sum(row.quantity for row in rows if row.method in _MEASURED and _is_inside(row, start, end))
    known = sum(_part(row, start, end) for row in rows)
    estimated, method = known - measured, max((row.method for row in rows if row.method not in _MEASURED), default=0)
    profile = (await load_thresholds(conn, [meter.id]))[meter.id].day()
    for hole in _holes(rows, *_in_service(meter, start, end, zone)):
        before = await repository.usage(conn, meter.id, channel, hole[0] - timedelta(days=HISTORY_DAYS + 1), hole[0])
        quantities, rung = estimate_open(_slots_of(hole, meter, zone), _history(before, meter, zone), profile)
        estimated, method = estimated + int(quantities.sum()), max(method, rung)
    return EstimatedUsage(measured + estimated, method, measured, estimated)


def _in_service(meter: Meter, start: datetime, end: datetime, zone: ZoneInfo) -> Hole:
    """The part of [start, end) in which the meter is there; empty when it ends before it starts."""
    removed = end if meter.removed_on is None else day_start(meter.removed_on + timedelta(days=1), zone)
    return max(start, day_start(meter.installed_on, zone)), min(end, removed)


def _holes(rows: Sequence[UsageRow], start: datetime, end: datetime) -> Iterator[Hole]:
    """Stretches of [start, end) that no row covers; `rows` by start."""
    reached = start
    for row in rows:
        if row.start > reached:
            yield reached, min(row.start, end)
        reached = max(reached, _end(row))
    if reached < end:
        yield reached, end


def _slots_of(hole: Hole, meter: Meter, zone: ZoneInfo) -> Slots:
    """The hole in intervals of the meter."""
    start, end = hole
    if meter.interval_s == 86_400:
        first, last = local_day(start, zone), local_day(end - timedelta(milliseconds=1), zone)
        inner = [in_ms(day_start(first + timedelta(days=n), zone)) for n in range(1, (last - first).days + 1)]
        starts = np.array([in_ms(start), *inner], np.int64)
    else:
        starts = np.arange(in_ms(start), in_ms(end), meter.interval_s * 1000, dtype=np.int64)
    return slots(starts, np.diff(starts, append=in_ms(end)), zone)


def _history(rows: Sequence[UsageRow], meter: Meter, zone: ZoneInfo) -> History:
    """Measured rows of the meter's interval."""
    day = meter.interval_s == 86_400
    used = [row for row in rows if row.method in _MEASURED and (day or row.length_s == meter.interval_s)]
    starts = np.array([in_ms(row.start) for row in used], np.int64)
    lengths = np.array([row.length_s * 1000 for row in used], np.int64)
    return History(slots(starts, lengths, zone), np.array([row.quantity for row in used], np.int64))


def _is_inside(row: UsageRow, start: datetime, end: datetime) -> bool:
    return row.start >= start and _end(row) <= end


def _part(row: UsageRow, start: datetime, end: datetime) -> int:
    """The row's share of [start, end) by time: the difference of two rounded parts, so that neighbours add up."""
    length = row.length_s * 1000

    def until(at: datetime) -> int:
        passed = min(max(in_ms(at) - in_ms(row.start), 0), length)
        return (2 * row.quantity * passed + length) // (2 * length)

    return until(end) - until(start)


def _end(row: UsageRow) -> datetime:
    return row.start + timedelta(seconds=row.length_s)
