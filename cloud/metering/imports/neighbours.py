"""What the store holds at and around the rows of an import: whole stretches where rows lie close, else row by row."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import Conn
from cloud.metering.imports import sql
from cloud.metering.imports.judging import Series, Stored
from cloud.metering.readings.neighbours import Neighbour

Instant = tuple[int, int, int]
"""Meter, channel and time in ms."""
Within = tuple[int, int]
"""Times in ms between which the register of an instant is in force; the second is not part of it."""

_CLOSE: Final = 4
_SOME: Final = 100
"""A stretch is read as a whole when it holds at most so many readings for each row, and so many more."""


@dataclass(slots=True)
class _Stretch:
    """Readings of one register from the first instant to the last, in the order of time."""

    here: dict[int, int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    """Of those that count."""
    seen: int = 0

    def add(self, ms: int, value: int, counts: int | None) -> None:
        self.seen += 1
        self.here[ms] = value
        if counts is not None:
            self.times.append(ms)
            self.values.append(counts)

    def around(self, ms: int, within: Within, first: Stored, last: Stored) -> Stored:
        """`first` and `last`: what is known around the ends of the stretch."""
        at = bisect_left(self.times, ms) - 1
        before = Neighbour(self.times[at], self.values[at]) if at >= 0 else first.before
        at = bisect_right(self.times, ms)
        after = Neighbour(self.times[at], self.values[at]) if at < len(self.times) else last.after
        return Stored(
            self.here.get(ms),
            before if before is not None and before.time_ms >= within[0] else None,
            after if after is not None and after.time_ms < within[1] else None,
        )


async def stored_around(conn: Conn, wanted: Mapping[Instant, Within]) -> dict[Instant, Stored]:
    """What the store holds at and around each instant, within its register in force."""
    by_series: dict[Series, list[int]] = {}
    for meter_id, channel, ms in wanted:
        by_series.setdefault((meter_id, channel), []).append(ms)
    for times in by_series.values():
        times.sort()
    stretches = await _stretches(conn, by_series)
    single = [
        (*series, ms)
        for series, times in by_series.items()
        for ms in ({times[0], times[-1]} if series in stretches else times)
    ]
    found = await _one_by_one(conn, single, [wanted[one] for one in single])
    for series, stretch in stretches.items():
        times = by_series[series]
        first, last = found[(*series, times[0])], found[(*series, times[-1])]
        for ms in times:
            found[(*series, ms)] = stretch.around(ms, wanted[(*series, ms)], first, last)
    return found


async def _stretches(conn: Conn, by_series: Mapping[Series, Sequence[int]]) -> dict[Series, _Stretch]:
    """The readings of those registers whose rows do not lie far apart."""
    if not by_series:
        return {}
    most = [_CLOSE * len(times) + _SOME for times in by_series.values()]
    query = {
        "meters": Int8Column(np.array([meter_id for meter_id, _ in by_series], np.int64)),
        "channels": Int2Column(np.array([channel for _, channel in by_series], np.int64)),
        "from": TimeColumn(np.array([times[0] for times in by_series.values()], np.int64)),
        "until": TimeColumn(np.array([times[-1] for times in by_series.values()], np.int64)),
        "most": Int8Column(np.array(most, np.int64)),
    }
    order = list(by_series)
    stretches = [_Stretch() for _ in order]
    for row in await (await conn.execute(sql.BETWEEN, query)).fetchall():
        stretches[row["nth"]].add(row["ms"], row["value"], row["counts"])
    # At its limit a stretch may not be whole.
    return {order[nth]: one for nth, one in enumerate(stretches) if one.seen < most[nth]}


async def _one_by_one(conn: Conn, wanted: Sequence[Instant], within: Sequence[Within]) -> dict[Instant, Stored]:
    if not wanted:
        return {}
    meters, channels, times = (np.array(column, np.int64) for column in zip(*wanted, strict=True))
    since, until = (np.array(column, np.int64) for column in zip(*within, strict=True))
    query = {
        "meters": Int8Column(meters),
        "channels": Int2Column(channels),
        "times": TimeColumn(times),
        "since": TimeColumn(since),
        "until": TimeColumn(until),
    }
    found = await (await conn.execute(sql.AROUND, query)).fetchall()
    return {
        key: Stored(row["here"], _neighbour(row["before_ms"], row["before"]), _neighbour(row["after_ms"], row["after"]))
        for key, row in zip(wanted, found, strict=True)
    }


def _neighbour(ms: int | None, value: int | None) -> Neighbour | None:
    return None if ms is None or value is None else Neighbour(ms, value)
