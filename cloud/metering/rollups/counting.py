"""Sums by local hour, day and month of rows that are about to be stored; pure numpy int64, no clock.

The database counts the same from rows (`gm.count_hours`); who has the rows in memory counts them for a fraction of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud.kit.periods import in_ms
from cloud.metering.derivation.local_days import DAY_MS, offsets_ms

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_HOUR_MS: Final = 3_600_000
_ORIGIN: Final = (2024, 1, 1)
"""Local hours are counted from there, as `gm.hour_of` does."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of rows by register and the time they begin in, in this order; arrays of the same length.

    `zone`: position of the register's in the zones. `begin`: of rows and hours in milliseconds since 1970; days and
    months are local dates, in days since 1970-01-01. `rows`: how many. A row by itself is a sum too.
    """

    register: Ints
    zone: Ints
    begin: Ints
    quantity: Ints
    rows: Ints
    covered_s: Ints
    estimated_s: Ints

    def take(self, which: Ints | Mask) -> "Sums":
        """Some of them."""
        return Sums(*(getattr(self, name)[which] for name in Sums.__slots__))

    def added_up(self, begin: Ints) -> "Sums":
        """Those of a register with the same of the given times as one; the times ascend as the old ones do."""
        if not len(begin):
            return self
        changes = (self.register[1:] != self.register[:-1]) | (begin[1:] != begin[:-1])
        first = np.concatenate(([0], np.flatnonzero(changes) + 1))
        added = (np.add.reduceat(one, first) for one in (self.quantity, self.rows, self.covered_s, self.estimated_s))
        return Sums(self.register[first], self.zone[first], begin[first], *added)


def within_hours(zone: Ints, start_ms: Ints, length_ms: Ints, zones: Sequence[ZoneInfo]) -> Mask:
    """Which rows a local hour holds whole: days and months hold them too."""
    whole: Mask = start_ms + length_ms <= _hours(zone, start_ms, zones) + _HOUR_MS
    return whole


def by_hour(rows: Sums, zones: Sequence[ZoneInfo]) -> Sums:
    """By local hour."""
    return rows.added_up(_hours(rows.zone, rows.begin, zones))


def by_day(hours: Sums, zones: Sequence[ZoneInfo]) -> Sums:
    """Hours by the local day in which they begin, which `begin` numbers from 1970-01-01.

    When a day begins, the database says: where clocks go back over midnight, there are two answers.
    """
    return hours.added_up(_local_days(hours, zones))


def by_month(days: Sums) -> Sums:
    """Days by month, named by its first day."""
    months = days.begin.astype("datetime64[D]").astype("datetime64[M]")
    return days.added_up(months.astype("datetime64[D]").astype(np.int64))


def over_registers(hours: Sums, kind: Ints, top: Mask) -> tuple[Ints, Ints, Ints, Ints]:
    """Sums of all registers of one kind by hour: kind, hour, the four sums, and those of the registers that are `top`.

    `kind`, `top`: by register. The sums of an hour lie one after the other: quantity, rows, covered, estimated seconds.
    """
    order = np.lexsort((hours.begin, kind[hours.register]))
    sorted_hours = hours.take(order)
    kinds, begin = kind[sorted_hours.register], sorted_hours.begin
    first = np.flatnonzero((kinds[1:] != kinds[:-1]) | (begin[1:] != begin[:-1])) + 1
    first = np.concatenate(([0], first)) if len(begin) else first
    columns = np.stack([getattr(sorted_hours, name) for name in ("quantity", "rows", "covered_s", "estimated_s")], 1)
    of_top = np.where(top[sorted_hours.register][:, None], columns, 0)
    sums, top_sums = (np.add.reduceat(one, first).ravel() if len(first) else first for one in (columns, of_top))
    return kinds[first], begin[first], sums, top_sums


def _hours(zone: Ints, start_ms: Ints, zones: Sequence[ZoneInfo]) -> Ints:
    origin = np.array([in_ms(datetime(*_ORIGIN, tzinfo=one).astimezone(UTC)) for one in zones], np.int64)[zone]
    hours: Ints = origin + (start_ms - origin) // _HOUR_MS * _HOUR_MS
    return hours


def _local_days(sums: Sums, zones: Sequence[ZoneInfo]) -> Ints:
    """Number of the local day since 1970-01-01 in which each of the sums begins."""
    found = np.empty(len(sums.begin), np.int64)
    for nth in np.unique(sums.zone).tolist():
        mine = sums.zone == nth
        instants, position = np.unique(sums.begin[mine], return_inverse=True)
        found[mine] = ((instants + offsets_ms(instants, zones[nth])) // DAY_MS)[position]
    return found
