"""How many vehicles were inside in each hour of the week, from when they came and left. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_HOUR = timedelta(hours=1)
_WEEK_HOURS = 7 * 24


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours one after the other: `edges` in milliseconds since 1970, one more than hours; `cells` of a local week."""

    edges: Ints
    cells: Ints


@dataclass(frozen=True, slots=True)
class Inside:
    """By hour of the week (Monday 0:00 first): vehicle-milliseconds, milliseconds looked at, most vehicles at once."""

    vehicle_ms: Ints
    looked_ms: Ints
    most: Ints


def hours_between(start: datetime, end: datetime, zone: ZoneInfo) -> Hours:
    """The hours from `start` to before `end`, each with its place in the local week; the last may be shorter.

    `start` begins a local hour. Where clocks go back an hour of the week comes twice, where they go forward not at all.
    """
    begins = list(_hours(start, end))
    local = [at.astimezone(zone) for at in begins]
    edges = [round(at.timestamp() * 1000) for at in [*begins, end]]
    cells = [at.weekday() * 24 + at.hour for at in local]
    return Hours(np.array(edges, np.int64), np.array(cells, np.int64))


def inside_by_hour(starts_ms: Ints, ends_ms: Ints, hours: Hours) -> Inside:
    """Adds up stays, each from its start to before its end, whole numbers throughout.

    A vehicle that leaves in the millisecond in which another comes was not inside with it.
    """
    first, last = hours.edges[0], hours.edges[-1]
    kept = (starts_ms < last) & (ends_ms > first) & (ends_ms > starts_ms)
    starts = np.sort(np.maximum(starts_ms[kept], first) - first)
    ends = np.sort(np.minimum(ends_ms[kept], last) - first)
    edges = hours.edges - first
    up_to_edge = _elapsed(starts, edges) - _elapsed(ends, edges)
    vehicle_ms, looked_ms, most = (np.zeros(_WEEK_HOURS, np.int64) for _ in range(3))
    np.add.at(vehicle_ms, hours.cells, np.diff(up_to_edge))
    np.add.at(looked_ms, hours.cells, np.diff(edges))
    np.maximum.at(most, hours.cells, _most_in_hours(starts, ends, edges))
    return Inside(vehicle_ms, looked_ms, most)


def _elapsed(moments: Ints, edges: Ints) -> Ints:
    """For each edge the time that passed since all moments before it, added up."""
    before = np.searchsorted(moments, edges)
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(moments)])
    elapsed: Ints = before * edges - sums[before]
    return elapsed


def _most_in_hours(starts: Ints, ends: Ints, edges: Ints) -> Ints:
    """The most vehicles at once in each hour: at its beginning or right after one came."""
    at_edge = np.searchsorted(starts, edges[:-1], "right") - np.searchsorted(ends, edges[:-1], "right")
    after_start = np.searchsorted(starts, starts, "right") - np.searchsorted(ends, starts, "right")
    most = at_edge.astype(np.int64)
    np.maximum.at(most, np.searchsorted(edges, starts, "right") - 1, after_start)
    return most


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    at = start
    while at < end:
        yield at
        at += _HOUR
