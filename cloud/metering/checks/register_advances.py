"""V14, first half: usage of a local day against what the register itself advanced between the readings at its ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString

import numpy as np

from cloud.kit.db import Conn
from cloud.metering import repository
from cloud.metering.checks.findings import Finding
from cloud.metering.derivation.usage import TOLERANCE_S
from cloud.metering.periods import advances
from cloud.metering.records import BoundaryReading
from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Ints, Rows
from cloud.metering.validation.subjects import Subject, weighed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
    """A local day that rows between readings cover whole; `usage` is their sum."""

    subject: Subject
    from_ms: int
    until_ms: int
    usage: int

    def finding(self, advance: int) -> Finding:
        subject = self.subject
        return Finding(
            subject.project_id, subject.meter_id, subject.channel, "register-sum", self.from_ms, self.until_ms,
            self.usage, advance,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ends:
    day: _Day
    opening: BoundaryReading
    closing: BoundaryReading


async def judge(conn: Conn, subjects: Sequence[Subject], rows: Rows, day_edges: Ints, first: Ints, until: Ints) -> Sums:
    """V14 for the whole days in [first, until) of each subject; found: Σ intervals, expected: advance of the register.

    A day without a reading at both ends, or over an exchange without its readings, is not judged.
    """
    days = _days(subjects, rows, day_edges, first, until)
    ends = await _ends(conn, days)
    # Nearly all days have one register and no rollover: only the rest is worth looking up what happened in it.
    plain = np.array([_plain(one) for one in ends], np.int64)
    suspects = [ends[n] for n in np.flatnonzero(_differ([one.day for one in ends], plain)).tolist()]
    return await _told(conn, suspects) if suspects else Sums([], [])


def _days(subjects: Sequence[Subject], rows: Rows, day_edges: Ints, first: Ints, until: Ints) -> list[_Day]:
    days, usage, covered_ms = intervals.day_usage(rows, day_edges)
    begin, end = day_edges[days.day], day_edges[days.day + 1]
    whole = weighed(subjects, "register-sum")[days.which]
    whole &= (begin >= first[days.which]) & (begin < until[days.which]) & (covered_ms == end - begin)
    columns = (days.which[whole], begin[whole], end[whole], usage[whole])
    return [_Day(subjects[which], *rest) for which, *rest in zip(*(one.tolist() for one in columns), strict=True)]


async def _ends(conn: Conn, days: Sequence[_Day]) -> list[_Ends]:
    """Days with the boundary readings of both their ends."""
    at = {ms: _EPOCH + timedelta(milliseconds=ms) for day in days for ms in (day.from_ms, day.until_ms)}
    wanted = {(day.subject.meter_id, day.subject.channel, at[ms]) for day in days for ms in (day.from_ms, day.until_ms)}
    found = await repository.boundaries(conn, sorted(wanted), TOLERANCE_S)
    ends = []
    for day in days:
        opening = found.get((day.subject.meter_id, at[day.from_ms]))
        closing = found.get((day.subject.meter_id, at[day.until_ms]))
        if opening is not None and closing is not None:
            ends.append(_Ends(day, opening, closing))
    return ends


def _plain(ends: _Ends) -> int:
    """The advance if nothing but the register in force now counted."""
    multiplier = ends.day.subject.multiplier_e4
    counted = [(value * multiplier + _UNIT // 2) // _UNIT for value in (ends.opening.value, ends.closing.value)]
    return counted[1] - counted[0]


def _differ(days: Sequence[_Day], advance: Ints) -> Sequence[bool]:
    usage = np.array([day.usage for day in days], np.int64)
    multiplier = np.array([day.subject.multiplier_e4 for day in days], np.int64)
    resolution = np.array([day.subject.resolution for day in days], np.int64)
    differ: list[bool] = intervals.register_sum(usage, advance, multiplier, resolution).tolist()
    return differ


async def _told(conn: Conn, suspects: Sequence[_Ends]) -> Sums:
    """What holds of the suspects when exchanges, multipliers and rollovers count."""
    counters = await advances.counters(
        conn, sorted({one.day.subject.meter_id for one in suspects}), min(one.opening.taken_at for one in suspects),
        max(one.closing.taken_at for one in suspects), _TOLERANCE,
    )  # fmt: skip
    known = [(one, counters[one.day.subject.meter_id].advance(one.opening, one.closing)) for one in suspects]
    counted = [(one, advance) for one, advance in known if advance is not None]
    differ = _differ([one.day for one, _ in counted], np.array([advance for _, advance in counted], np.int64))
    wrong = [pair for pair, differs in zip(counted, differ, strict=True) if differs]
    dirty = await _dirty(conn, [one for one, _ in wrong])
    found = [one.day.finding(advance) for one, advance in wrong]
    return Sums(
        [one for n, one in enumerate(found) if n not in dirty], [one for n, one in enumerate(found) if n in dirty]
    )


async def _dirty(conn: Conn, ends: Sequence[_Ends]) -> set[int]:
    query = {
        "meters": [one.day.subject.meter_id for one in ends],
        "channels": [one.day.subject.channel for one in ends],
        "from": [one.opening.taken_at - _TOLERANCE for one in ends],
        "until": [one.closing.taken_at for one in ends],
    }
    return {row["nth"] for row in await (await conn.execute(_DIRTY, query)).fetchall()}
