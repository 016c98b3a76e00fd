"""Usage against who lives there: V11 nothing used in an occupied unit, V12 something used where nobody should.

Both are judged for the days that changed, whenever their usage came. V12 is about a day. V11 is about a whole *rest*,
the time from the end of one row with usage to the beginning of the next: a change in one of its days judges all of it
again, so that the same usage has the same findings in whatever portions and order it came.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.metering.checks import findings
from cloud.metering.checks import unit_checks_repository as repository
from cloud.metering.checks.findings import FOREVER, Finding, Judged
from cloud.metering.checks.unit_checks_repository import Life, Stretch
from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Ints, Rows
from cloud.metering.validation.subjects import Subject, column, weighed

_SEARCHED_MS: Final = 400 * intervals.DAY_MS
"""So far back the last usage is looked for: a rest that began earlier begins with the occupancy or the meter."""


@dataclass(frozen=True, slots=True)
class JudgedDays:
    """Local days [`first`, `until`) of subjects in ms; `rows` of usage in and a little before them, `edges` of days.

    `horizon_ms`: usage from then on is of a day that is not over, and not judged.
    """

    subjects: Sequence[Subject]
    rows: Rows
    edges: Ints
    first: Ints
    until: Ints
    horizon_ms: int

    @property
    def judged(self) -> Judged:
        """The meters, and their days."""
        return Judged(column(self.subjects, lambda one: one.meter_id), self.first, self.until)


@dataclass(frozen=True, slots=True)
class _Rest:
    """The time between two rows with usage of a subject; None: the row is not among those that were read."""

    nth: int
    since_ms: int | None
    upto_ms: int | None


async def judge(conn: Conn, project: Project, days: JudgedDays) -> int:
    """V11 and V12 for these days; returns how many findings changed."""
    judged = days.judged
    by_meter = await repository.lives(conn, judged.meter, project.time_zone)
    lives = [by_meter[one.meter_id] for one in days.subjects]
    changed = await findings.keep(conn, project.id, judged, ["inactive"], list(_inactive(days, lives)))
    return changed + await _judge_rests(conn, project.id, days, lives)


def _inactive(days: JudgedDays, lives: Sequence[Life]) -> Iterator[Finding]:
    """V12, by local day; what is only estimated does not count."""
    rows = days.rows
    measured = Rows(rows.which, rows.start_ms, rows.length_ms, np.where(rows.real, rows.quantity, 0), rows.real)
    groups, usage, _ = intervals.day_usage(measured, days.edges)
    which, begin = groups.which, days.edges[groups.day]
    floor = column(days.subjects, lambda one: one.thresholds.inactive_floor)[which]
    much = (begin >= days.first[which]) & (begin < days.until[which]) & (usage > floor)
    at = np.flatnonzero(much & weighed(days.subjects, "inactive")[which])
    owners = zip(which[at].tolist(), begin[at].tolist(), strict=True)
    in_use = np.array([_is_in_use(days.subjects[n], lives[n], ms) for n, ms in owners], np.bool_)
    for group in at[intervals.inactive(usage[at], in_use, floor[at])].tolist():
        subject, day = days.subjects[which[group]], groups.day[group]
        yield Finding(
            subject.project_id, subject.meter_id, subject.channel, "inactive", int(days.edges[day]),
            int(days.edges[day + 1]), int(usage[group]), int(floor[group]),
        )  # fmt: skip


def _is_in_use(subject: Subject, life: Life, at_ms: int) -> bool:
    """Whether usage is what one expects in the day that begins then."""
    lived_in = subject.unit_id is None or any(since <= at_ms < upto for since, upto in life.occupied)
    return at_ms < life.gone_ms and lived_in


async def _judge_rests(conn: Conn, project_id: int, days: JudgedDays, lives: Sequence[Life]) -> int:
    """V11 for the rests that touch the days, of meters in units that somebody lives or lived in."""
    on = weighed(days.subjects, "zero").tolist()
    lived_in = [nth for nth, life in enumerate(lives) if life.occupied and on[nth]]
    rests, last_used = _rests(days, lived_in)
    before = await repository.ends_of_last_used(
        conn, {one.nth: _before(days, one.nth) for one in rests if one.since_ms is None}
    )
    after = await repository.starts_of_first_used(
        conn, {one.nth: _after(days, one.nth) for one in rests if one.upto_ms is None}
    )
    whole = [
        (
            one.nth,
            before.get(one.nth, 0) if one.since_ms is None else one.since_ms,
            after.get(one.nth, days.horizon_ms) if one.upto_ms is None else one.upto_ms,
        )
        for one in rests
    ]
    found = await _zero(conn, days, lives, whole)
    # Rests are judged whole. Where nobody ever lived no rest is one: whatever was found there goes.
    begins = {nth: before.get(nth, last_used.get(nth, 0)) for nth in lived_in}
    judged = Judged.between(days.judged.meter, 0, FOREVER)
    judged.until_ms[lived_in] = days.until[lived_in] + 1
    for nth, since in begins.items():
        judged.from_ms[nth] = since
    for nth, _, upto in whole:
        judged.until_ms[nth] = max(judged.until_ms[nth], upto + 1)
    return await findings.keep(conn, project_id, judged, ["zero"], found)


def _rests(days: JudgedDays, chosen: Sequence[int]) -> tuple[list[_Rest], dict[int, int]]:
    """Rests of these subjects that may be long enough; and when the last usage before the days ends, if rows tell."""
    used = np.flatnonzero(days.rows.quantity > 0)
    edges = np.searchsorted(days.rows.which[used], np.arange(len(days.subjects) + 1))
    rests: list[_Rest] = []
    last_used: dict[int, int] = {}
    for nth in chosen:
        mine = used[edges[nth] : edges[nth + 1]]
        starts = days.rows.start_ms[mine]
        ends = starts + days.rows.length_ms[mine]
        earlier = int(np.searchsorted(starts, days.first[nth]))
        if earlier:
            last_used[nth] = min(int(ends[earlier - 1]), int(days.first[nth]))
        least = days.subjects[nth].thresholds.zero_days * intervals.DAY_MS
        rests += _rests_of(nth, starts, ends, least, days.horizon_ms, begins_before=not earlier)
    return rests, last_used


def _rests_of(
    nth: int, starts: Ints, ends: Ints, least: int, horizon_ms: int, *, begins_before: bool
) -> Iterator[_Rest]:
    if not len(starts):
        yield _Rest(nth, None, None)
        return
    if begins_before:
        yield _Rest(nth, None, int(starts[0]))
    for at in np.flatnonzero(starts[1:] - ends[:-1] >= least).tolist():
        yield _Rest(nth, int(ends[at]), int(starts[at + 1]))
    if horizon_ms - int(ends[-1]) >= least:
        yield _Rest(nth, int(ends[-1]), None)


def _before(days: JudgedDays, nth: int) -> Stretch:
    first = int(days.first[nth])
    return Stretch(days.subjects[nth], max(first - _SEARCHED_MS, 0), first)


def _after(days: JudgedDays, nth: int) -> Stretch:
    return Stretch(days.subjects[nth], int(days.until[nth]), days.horizon_ms)


async def _zero(
    conn: Conn, days: JudgedDays, lives: Sequence[Life], rests: Sequence[tuple[int, int, int]]
) -> list[Finding]:
    """Rests (subject, since, upto) within occupancies that are known to have been long enough."""
    stays: dict[int, Stretch] = {}
    for nth, since, upto in rests:
        life, subject = lives[nth], days.subjects[nth]
        for lived_since, lived_upto in life.occupied:
            # Nobody is blamed for what was not used before the meter was there.
            begin = max(since, lived_since, life.installed_ms)
            end = min(upto, lived_upto, life.gone_ms, days.horizon_ms)
            if end - begin >= subject.thresholds.zero_days * intervals.DAY_MS:
                stays[len(stays)] = Stretch(subject, begin, end)
    known_from = await repository.starts_of_first(conn, stays)
    return _told(stays, known_from, await repository.ends_of_last_real(conn, stays))


def _told(stays: Mapping[int, Stretch], known_from: Mapping[int, int], known_until: Mapping[int, int]) -> list[Finding]:
    """Silence is no rest: a rest counts from where usage is known, up to the last usage between two readings."""
    begin = np.array([known_from.get(key, one.from_ms) for key, one in stays.items()], np.int64)
    end = np.array([min(known_until.get(key, 0), one.until_ms) for key, one in stays.items()], np.int64)
    least = np.array([one.subject.thresholds.zero_days for one in stays.values()], np.int64)
    wrong = intervals.zero(begin, end, np.ones(len(begin), np.bool_), least)
    found = []
    for key in np.flatnonzero(wrong).tolist():
        subject, since, upto = stays[key].subject, int(begin[key]), int(end[key])
        found.append(
            Finding(
                subject.project_id, subject.meter_id, subject.channel, "zero", since, upto,
                (upto - since) // intervals.DAY_MS, subject.thresholds.zero_days,
            )
        )  # fmt: skip
    return found
