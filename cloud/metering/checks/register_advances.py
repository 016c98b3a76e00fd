"""V14, first half: usage of a local day against what the register itself advanced between the readings at its ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, LiteralString

import numpy as np

from cloud.kit.db import Conn
from cloud.kit.periods import from_ms
from cloud.metering import repository
from cloud.metering.checks.findings import Finding
from cloud.metering.derivation.judging import KEY_SHIFT
from cloud.metering.derivation.usage import TOLERANCE_S
from cloud.metering.periods import advances
from cloud.metering.records import BoundaryReading
from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Ints, Rows
from cloud.metering.validation.subjects import Subject, column, weighed

_TOLERANCE: Final = timedelta(seconds=TOLERANCE_S)
_UNIT: Final = 10_000
# Readings came of which usage knows nothing yet: the derivation has the next word.
_DIRTY: LiteralString = """
    SELECT DISTINCT w.nth - 1 AS nth
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::timestamptz[], %(until)s::timestamptz[])
         WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
    JOIN store.dirty_window d ON d.meter_id = w.meter_id AND d.channel = w.channel
     AND d.from_at <= w.until_at AND d.until_at >= w.from_at
"""


@dataclass(frozen=True, slots=True)
class Sums:
    """Days whose usage the register does not confirm, and those that cannot be judged now."""

    found: list[Finding]
    unsure: list[Finding]

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.found + other.found, self.unsure + other.unsure)


@dataclass(frozen=True, slots=True)
class _Day:
    """A local day that rows between readings cover whole; `usage` is their sum, the times are of the readings."""

    subject: Subject
    from_ms: int
    until_ms: int
    usage: int
    opening: BoundaryReading
    closing: BoundaryReading

    def finding(self, advance: int) -> Finding:
        subject = self.subject
        return Finding(
            subject.project_id, subject.meter_id, subject.channel, "register-sum", self.from_ms, self.until_ms,
            self.usage, advance,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Days:
    """Such days of many subjects, of which `which` says the position; `opened` and `closed`: instant and value."""

    which: Ints
    from_ms: Ints
    until_ms: Ints
    usage: Ints
    opened: tuple[Ints, Ints]
    closed: tuple[Ints, Ints]

    def day(self, subjects: Sequence[Subject], nth: int) -> _Day:
        ends = (BoundaryReading(from_ms(int(at[nth])), int(value[nth]), 0) for at, value in (self.opened, self.closed))
        which, begin, end, usage = (int(one[nth]) for one in (self.which, self.from_ms, self.until_ms, self.usage))
        return _Day(subjects[which], begin, end, usage, *ends)


async def judge(conn: Conn, subjects: Sequence[Subject], rows: Rows, day_edges: Ints, first: Ints, until: Ints) -> Sums:
    """V14 for the whole days in [first, until) of each subject; found: Σ intervals, expected: advance of the register.

    A day without a reading at both ends, or over an exchange without its readings, is not judged.
    """
    days = await _days(conn, subjects, rows, day_edges, first, until)
    # Nearly all days have one register and no rollover: only the rest is worth looking up what happened in it.
    multiplier, resolution = (one[days.which] for one in _registers(subjects))
    differ = intervals.register_sum(days.usage, _plain(days, multiplier), multiplier, resolution)
    suspects = [days.day(subjects, nth) for nth in np.flatnonzero(differ).tolist()]
    return await _told(conn, suspects) if suspects else Sums([], [])


async def _days(
    conn: Conn, subjects: Sequence[Subject], rows: Rows, day_edges: Ints, first: Ints, until: Ints
) -> _Days:
    """Whole days with a boundary reading at both ends."""
    days, usage, covered_ms = intervals.day_usage(rows, day_edges)
    begin, end = day_edges[days.day], day_edges[days.day + 1]
    whole = weighed(subjects, "register-sum")[days.which]
    whole &= (begin >= first[days.which]) & (begin < until[days.which]) & (covered_ms == end - begin)
    which, begin, end, usage = days.which[whole], begin[whole], end[whole], usage[whole]
    opening, closing = (which << KEY_SHIFT) + begin, (which << KEY_SHIFT) + end
    # Days that follow each other share a reading.
    keys = np.unique(np.concatenate([opening, closing]))
    at_ms, value = await _readings_at(conn, subjects, keys)
    opens, closes = np.searchsorted(keys, opening), np.searchsorted(keys, closing)
    both = (at_ms[opens] >= 0) & (at_ms[closes] >= 0)
    opens, closes = opens[both], closes[both]
    ends = (at_ms[opens], value[opens]), (at_ms[closes], value[closes])
    return _Days(which[both], begin[both], end[both], usage[both], *ends)


async def _readings_at(conn: Conn, subjects: Sequence[Subject], keys: Ints) -> tuple[Ints, Ints]:
    """When the boundary readings of (subject, instant) were taken, -1 without one, and their values."""
    at_ms, value = np.full(len(keys), -1, np.int64), np.zeros(len(keys), np.int64)
    if len(keys):
        which = keys >> KEY_SHIFT
        meters = column(subjects, lambda one: one.meter_id)[which]
        channels = column(subjects, lambda one: one.channel)[which]
        instants = keys - (which << KEY_SHIFT)
        nth, taken_ms, values = await repository.boundary_columns(conn, meters, channels, instants, TOLERANCE_S)
        at_ms[nth], value[nth] = taken_ms, values
    return at_ms, value


def _registers(subjects: Sequence[Subject]) -> tuple[Ints, Ints]:
    """Multipliers (ten-thousandths) and resolutions."""
    return column(subjects, lambda one: one.multiplier_e4), column(subjects, lambda one: one.resolution)


def _plain(days: _Days, multiplier_e4: Ints) -> Ints:
    """The advances if nothing but the register in force now counted."""
    # Objects are integers of any size: a stand times a multiplier may be longer than 64 bits.
    closed, opened = (
        (value.astype(object) * multiplier_e4 + _UNIT // 2) // _UNIT for _, value in (days.closed, days.opened)
    )
    advance: Ints = (closed - opened).astype(np.int64)
    return advance


def _differ(days: Sequence[_Day], advance: Ints) -> Sequence[bool]:
    usage = np.array([day.usage for day in days], np.int64)
    differ: list[bool] = intervals.register_sum(usage, advance, *_registers([day.subject for day in days])).tolist()
    return differ


async def _told(conn: Conn, suspects: Sequence[_Day]) -> Sums:
    """What holds of the suspects when exchanges, multipliers and rollovers count."""
    counters = await advances.counters(
        conn, sorted({one.subject.meter_id for one in suspects}), min(one.opening.taken_at for one in suspects),
        max(one.closing.taken_at for one in suspects), _TOLERANCE,
    )  # fmt: skip
    known = [(one, counters[one.subject.meter_id].advance(one.opening, one.closing)) for one in suspects]
    counted = [(one, advance) for one, advance in known if advance is not None]
    differ = _differ([one for one, _ in counted], np.array([advance for _, advance in counted], np.int64))
    wrong = [pair for pair, differs in zip(counted, differ, strict=True) if differs]
    dirty = await _dirty(conn, [one for one, _ in wrong])
    found = [one.finding(advance) for one, advance in wrong]
    return Sums(
        [one for n, one in enumerate(found) if n not in dirty], [one for n, one in enumerate(found) if n in dirty]
    )


async def _dirty(conn: Conn, days: Sequence[_Day]) -> set[int]:
    query = {
        "meters": [one.subject.meter_id for one in days],
        "channels": [one.subject.channel for one in days],
        "from": [one.opening.taken_at - _TOLERANCE for one in days],
        "until": [one.closing.taken_at for one in days],
    }
    return {row["nth"] for row in await (await conn.execute(_DIRTY, query)).fetchall()}
