"""Where intervals lie in the local calendar: day, time of day, type of day. Pure numpy, no clock."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud.kit.periods import day_start

Ints = NDArray[np.int64]

WORK_DAY, REST_DAY = 0, 1
"""Types of days."""

DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Slots:
    """Intervals of usage; all arrays are of the same length.

    `start_ms`: since 1970 UTC. `local_day`: days since 1970-01-01 of the local date. `slot_ms`: local time of day at
    the start, as clocks show it. `day_type`: of that date. `day_length_ms`: of that date, 23 or 25 hours too.
    """

    start_ms: Ints
    length_ms: Ints
    local_day: Ints
    slot_ms: Ints
    day_type: Ints
    day_length_ms: Ints

    def take(self, which: slice | Ints) -> "Slots":
        """Some of the intervals."""
        return Slots(*(getattr(self, name)[which] for name in Slots.__slots__))


def slots(
    start_ms: Ints,
    length_ms: Ints,
    zone: ZoneInfo,
    *,
    rest_days: Collection[date] = (),
    work_days: Collection[date] = (),
) -> Slots:
    """Intervals with their place in the calendar of `zone`.

    Saturday and Sunday are rest days, except `work_days`; `rest_days` (holidays) are too.
    """
    local = start_ms + offsets_ms(start_ms, zone)
    day = local // DAY_MS
    days, position = np.unique(day, return_inverse=True)
    types = np.where((days + 3) % 7 >= 5, REST_DAY, WORK_DAY).astype(np.int64)
    types[np.isin(days, _numbers(rest_days))] = REST_DAY
    types[np.isin(days, _numbers(work_days))] = WORK_DAY
    return Slots(start_ms, length_ms, day, local % DAY_MS, types[position], _lengths_ms(days, zone)[position])


def slots_by_zone(start_ms: Ints, length_ms: Ints, zone: Ints, zones: Sequence[ZoneInfo]) -> Slots:
    """`slots` of intervals in several zones: `zone` is the position in `zones` of each."""
    columns = {name: np.empty(len(start_ms), np.int64) for name in Slots.__slots__}
    for nth in np.unique(zone).tolist():
        mine = np.flatnonzero(zone == nth)
        found = slots(start_ms[mine], length_ms[mine], zones[nth])
        for name, column in columns.items():
            column[mine] = getattr(found, name)
    return Slots(**columns)


def offsets_ms(instants_ms: Ints, zone: ZoneInfo) -> Ints:
    """How far local time is ahead of UTC at each instant (within 1900 to 2199)."""
    blocks, position = np.unique(instants_ms // DAY_MS, return_inverse=True)
    before = np.array([_offset_ms(int(block) * DAY_MS, zone) for block in blocks], np.int64)
    after = np.array([_offset_ms(int(block + 1) * DAY_MS, zone) for block in blocks], np.int64)
    found = before[position]
    # Clocks change at most once in a day: only in those days each instant has to be asked for.
    for n in np.flatnonzero((before != after)[position]):
        found[n] = _offset_ms(int(instants_ms[n]), zone)
    return found


def _offset_ms(instant_ms: int, zone: ZoneInfo) -> int:
    offset = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


def _lengths_ms(days: Ints, zone: ZoneInfo) -> Ints:
    """How long each local day is."""
    dates = [_EPOCH + timedelta(days=int(day)) for day in days]
    lengths = [day_start(day + timedelta(days=1), zone) - day_start(day, zone) for day in dates]
    return np.array([length // timedelta(milliseconds=1) for length in lengths], np.int64)


def _numbers(days: Collection[date]) -> Ints:
    return np.array([(day - _EPOCH).days for day in sorted(days)], np.int64)
