"""Usage of a period for a bill that cannot wait: what is measured, and an estimate of what is missing."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.periods import day_start, in_ms, local_day
from cloud.metering import repository
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.derivation.estimation import HISTORY_DAYS, History, Profile, estimate_open
from cloud.metering.derivation.local_days import Slots, slots
from cloud.metering.records import Meter, UsageRow

_MEASURED = frozenset({0, 1, 7})
"""Methods that stand on readings at both ends of the row."""

Hole = tuple[datetime, datetime]


_LONGEST = timedelta(days=400)
"""A silence is estimated from its beginning, at most so far back."""
_AT_ONCE: Final = 100
"""Periods whose rows are in memory at once."""


@dataclass(frozen=True, slots=True)
class EstimatedUsage:
    """`quantity` is `measured` and `estimated` together; `method` is the highest rung used, 0 when all is measured.

    `estimated_s`: seconds that no measured row covers; `open_s`: those of them that no row covers at all, so that no
    reading bounds them. `parts`: the quantity of each stretch between successive edges.
    """

    quantity: int
    method: int
    measured: int
    estimated: int
    estimated_s: int
    open_s: int
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A row, or an interval that was estimated."""

    start_ms: int
    length_ms: int
    quantity: int

    def within(self, start_ms: int, end_ms: int) -> int:
        """Its share of [start, end) by time: the difference of two rounded parts, so that neighbours add up."""

        def until(at_ms: int) -> int:
            passed = min(max(at_ms - self.start_ms, 0), self.length_ms)
            return (2 * self.quantity * passed + self.length_ms) // (2 * self.length_ms)

        return until(end_ms) - until(start_ms)


@dataclass(frozen=True, slots=True)
class Asked:
    """Usage of a meter that is asked for in [start, end), whatever is missing.

    `edges`: instants inside the period, rising, that `EstimatedUsage.parts` are divided at. Rows that touch a `doubted`
    stretch do not count.
    """

    meter: Meter
    channel: int
    start: datetime
    end: datetime
    edges: tuple[datetime, ...] = ()
    doubted: tuple[Hole, ...] = ()


async def estimated_usages(conn: Conn, asked: Sequence[Asked]) -> list[EstimatedUsage]:
    """Usage of meters of one project over their periods, in the base unit of the channel, in the order asked.

    Rows that usage has count as they are, but for those in doubt; a row that reaches over an end gives its part by
    time. What no row covers is estimated by the ladder from the 28 days before it, and is never stored: the bill keeps
    it, and the readings that come later make the difference. A silence that began before `start` is estimated from
    where it began, so that the estimates of successive periods are those of the whole.

    The same few statements for some and for many; `_AT_ONCE` at a time, since each brings up to a month of intervals.
    """
    found: list[EstimatedUsage] = []
    for start in range(0, len(asked), _AT_ONCE):
        found += await _estimated(conn, asked[start : start + _AT_ONCE])
    return found


async def estimated_usage(
    conn: Conn,
    meter: Meter,
    channel: int,
    start: datetime,
    end: datetime,
    *,
    edges: Sequence[datetime] = (),
    doubted: Sequence[Hole] = (),
) -> EstimatedUsage:
    """Likewise of one meter."""
    one = Asked(meter, channel, start, end, tuple(edges), tuple(doubted))
    return (await estimated_usages(conn, [one]))[0]


async def _estimated(conn: Conn, asked: Sequence[Asked]) -> list[EstimatedUsage]:
    zone = (await estate.get_project(conn, asked[0].meter.project_id)).zone
    thresholds = await load_thresholds(conn, sorted({one.meter.id for one in asked}))
    rows = await repository.usage_of_many(conn, [(one.meter.id, one.channel, one.start, one.end) for one in asked])
    counts = [
        _Count(one, _believed(found, one.doubted), zone, thresholds[one.meter.id].day())
        for one, found in zip(asked, rows, strict=True)
    ]
    open_ = [count for count in counts if count.is_silent_at_start]
    ends = await repository.usage_ends(conn, [(one.asked.meter.id, one.asked.channel, one.begin) for one in open_])
    for count, last in zip(open_, ends, strict=True):
        count.silent_before(last)
    wanted = [(count, hole) for count in counts for hole in count.holes]
    history = [(one.asked.meter.id, one.asked.channel, *one.remembers(hole)) for one, hole in wanted]
    for (count, hole), before in zip(wanted, await repository.usage_of_many(conn, history), strict=True):
        count.fill(hole, before)
    return [count.result() for count in counts]


class _Count:
    """What is known of one period, and what is estimated of it hole by hole."""

    def __init__(self, asked: Asked, rows: Sequence[UsageRow], zone: ZoneInfo, profile: Profile) -> None:
        self.asked = asked
        self._zone = zone
        self._profile = profile
        self._inside = [
            row for row in rows if row.method in _MEASURED and row.start >= asked.start and _end(row) <= asked.end
        ]
        self._method = max((row.method for row in rows if row.method not in _MEASURED), default=0)
        self._parts = [_Part(in_ms(row.start), row.length_s * 1000, row.quantity) for row in rows]
        self.begin, self._stop = _in_service(asked.meter, asked.start, asked.end, zone)
        self.holes = list(_holes(rows, self.begin, self._stop))
        self._since = self.begin

    @property
    def is_silent_at_start(self) -> bool:
        """Whether nothing is known where it begins: the silence may be older."""
        return bool(self.holes) and self.holes[0][0] == self.begin

    def silent_before(self, last: datetime | None) -> None:
        """Where the last row before the silence ends."""
        if last is not None:
            self._since = min(max(last, self.begin - _LONGEST), self.begin)

    def remembers(self, hole: Hole) -> Hole:
        """The days before the silence of a hole that say what such hours usually use."""
        since = self._silence(hole)
        return since - timedelta(days=HISTORY_DAYS + 1), since

    def fill(self, hole: Hole, before: Sequence[UsageRow]) -> None:
        """Estimates a hole from the rows `before` it."""
        meter = self.asked.meter
        gap = _slots_of((self._silence(hole), hole[1]), meter, self._zone)
        history = _history(_believed(before, self.asked.doubted), meter, self._zone)
        quantities, rung = estimate_open(gap, history, self._profile)
        # What was estimated before the hole is here for the shape alone.
        kept = gap.start_ms + gap.length_ms > in_ms(hole[0])
        columns = (gap.start_ms[kept], gap.length_ms[kept], quantities[kept])
        self._parts += [_Part(*one) for one in zip(*(column.tolist() for column in columns), strict=True)]
        self._method = max(self._method, rung)

    def result(self) -> EstimatedUsage:
        """All of it, once the holes are filled."""
        sums = _sums(self._parts, [in_ms(at) for at in (self.asked.start, *self.asked.edges, self.asked.end)])
        measured, quantity = sum(row.quantity for row in self._inside), sum(sums)
        span_s = max(round((self._stop - self.begin).total_seconds()), 0)
        return EstimatedUsage(
            quantity=quantity,
            method=self._method,
            measured=measured,
            estimated=quantity - measured,
            estimated_s=max(span_s - sum(row.length_s for row in self._inside), 0),
            open_s=sum(round((until - at).total_seconds()) for at, until in self.holes),
            parts=tuple(sums),
        )

    def _silence(self, hole: Hole) -> datetime:
        return self._since if hole[0] == self.begin else hole[0]


def _believed(rows: Sequence[UsageRow], doubted: Sequence[Hole]) -> list[UsageRow]:
    return [row for row in rows if not any(_is_doubted(row, *stretch) for stretch in doubted)]


def _is_doubted(row: UsageRow, start: datetime, end: datetime) -> bool:
    """A finding about one reading is about the rows on both sides of it."""
    if start == end:
        return row.start <= start <= _end(row)
    return row.start < end and _end(row) > start


def _sums(parts: Sequence[_Part], instants: Sequence[int]) -> list[int]:
    """Usage between each instant and the next; `instants` rise."""
    sums = [0] * (len(instants) - 1)
    for part in parts:
        for nth in range(max(bisect_right(instants, part.start_ms) - 1, 0), len(sums)):
            if instants[nth] >= part.start_ms + part.length_ms:
                break
            sums[nth] += part.within(instants[nth], instants[nth + 1])
    return sums


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


def _end(row: UsageRow) -> datetime:
    return row.start + timedelta(seconds=row.length_s)
