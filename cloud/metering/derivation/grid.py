"""Instants at which usage rows begin and end, for many registers at once; pure numpy int64, no clock.

A register's grid is its interval (15, 30 or 60 minutes) counted from local midnight of standard time, or the local
days of its project's zone, whatever their length.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud.kit.periods import day_start

Ints = NDArray[np.int64]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

_SOME_TIME: Final = datetime(2024, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(1970, 1, 2)
_LAST_DAY: Final = date(2100, 1, 1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The grids of many registers: each an interval and an offset, or (interval DAY_MS) the days of a zone.

    `offset_ms`: how far local time is from full UTC intervals. `zone`: position in `midnights`, which holds the first
    instants of consecutive local days, increasing. Times before the first or behind the last of them are an error.
    """

    interval_ms: Ints
    offset_ms: Ints
    zone: Ints
    midnights: tuple[Ints, ...] = ()

    def ordinal(self, which: Ints, time_ms: Ints) -> Ints:
        """Number of the last instant at or before each time, counted within the register's own grid."""
        found: Ints = (time_ms + self.offset_ms[which]) // self.interval_ms[which]
        for mask, midnights in self._days(which):
            found[mask] = np.searchsorted(midnights, time_ms[mask], "right") - 1
        return found

    def instant(self, which: Ints, ordinal: Ints) -> Ints:
        """The inverse of `ordinal`, in milliseconds since 1970."""
        found: Ints = ordinal * self.interval_ms[which] - self.offset_ms[which]
        for mask, midnights in self._days(which):
            found[mask] = midnights[ordinal[mask]]
        return found

    def floor(self, which: Ints, time_ms: Ints) -> Ints:
        """The last instant at or before each time."""
        return self.instant(which, self.ordinal(which, time_ms))

    def take(self, which: Ints) -> "Grid":
        """The grids of some of the registers."""
        return Grid(self.interval_ms[which], self.offset_ms[which], self.zone[which], self.midnights)

    def _days(self, which: Ints) -> list[tuple[NDArray[np.bool_], Ints]]:
        daily = self.interval_ms == DAY_MS
        if not daily.any():
            return []
        zone = np.where(daily, self.zone, -1)[which]
        return [(zone == n, midnights) for n, midnights in enumerate(self.midnights)]


@cache
def midnights(zone: ZoneInfo) -> Ints:
    """First instants of the local days from 1970 to 2100."""
    days = [_FIRST_DAY + timedelta(days=n) for n in range((_LAST_DAY - _FIRST_DAY).days + 1)]
    return np.array([int(day_start(day, zone).timestamp()) * 1000 for day in days], np.int64)


def grid_offset_ms(zone: ZoneInfo, interval_ms: int = HOUR_MS) -> int:
    """How far a zone's intervals are from full UTC ones: 30 minutes for hours of +05:30.

    Taken from standard time; the one zone that shifts by half an hour (Lord Howe) keeps the grid of its winter.
    """
    offset = _SOME_TIME.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1000 % interval_ms
