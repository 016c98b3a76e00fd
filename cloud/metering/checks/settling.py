"""Settles changed usage: the rules about usage rows judge the local days it touched, once those days are over.

What changed is taken from `store.changed_usage` in the transaction that judges it, and so are loads that came after
their day was judged from `store.late_load`. A day that is not over is judged
when its last rows come. For the rules that look back over midnight
the day after a changed one is judged again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import numpy as np

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, from_wire_time
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.kit.locks import lock_all, try_lock
from cloud.kit.periods import day_start, in_ms, local_day
from cloud.metering.checks import channel_days, findings, register_advances, unit_checks
from cloud.metering.checks import settling_sql as sql
from cloud.metering.checks.findings import Finding
from cloud.metering.checks.load_checks import LOAD_CHANNEL, LOAD_NUMBERS, still_under_load
from cloud.metering.checks.subjects_repository import load_subjects
from cloud.metering.checks.unit_checks import JudgedDays
from cloud.metering.derivation.judging import KEY_SHIFT
from cloud.metering.derivation.lookup import in_order
from cloud.metering.records import ChangedSpan, Rule
from cloud.metering.validation.segments import Found, Ints, Rows
from cloud.metering.validation.subjects import INTERVAL_RULES, Subject, column, judge_rows

# Advisory locks of meters ("gm", 7): their changes are settled by one worker at a time.
LOCK_SPACE: Final = 0x67_6D_07 << 40
_ROWS_AT_ONCE: Final = 1_500_000
_ROW_KINDS: Final = ("int8", "timestamptz", "int4", "int8", "int2")
_LOOK_BACK_MS: Final = 2 * 3_600_000
_MOST_DAYS_BACK: Final = 40

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DaySpan:
    """Local days [first, last] of one meter that are judged. `registers`: whether its other registers are too."""

    meter_id: int
    first: date
    last: date
    registers: bool


async def changed_meters(conn: Conn, after: int, limit: int, among: Sequence[int] | None = None) -> list[int]:
    """Meters with changed usage, by id; only those `among` the given ones, else all but those that are set aside."""
    query = {"after": after, "limit": limit, "among": None if among is None else list(among)}
    return [row["meter_id"] for row in await (await conn.execute(sql.CHANGED_METERS, query)).fetchall()]


async def wait_for_meters(conn: Conn, meter_ids: Sequence[int]) -> None:
    """Waits until no other worker settles any of these meters; ours until the transaction ends."""
    await lock_all(conn, LOCK_SPACE, meter_ids)


async def take(conn: Conn, meter_ids: Sequence[int]) -> list[ChangedSpan]:
    """Takes what changed of these meters out of the queue, but for those that another worker settles now."""
    free = await try_lock(conn, LOCK_SPACE, meter_ids)
    rows = await (await conn.execute(sql.TAKE, {"ids": Int8Column.of(free)})).fetchall()
    return [ChangedSpan(**row) for row in rows]


def of_usage(spans: Sequence[ChangedSpan]) -> list[ChangedSpan]:
    """Those of usage, which roll-ups follow: a load is none."""
    return [span for span in spans if span.channel not in LOAD_NUMBERS]


async def settle(conn: Conn, spans: Sequence[ChangedSpan], now: datetime) -> int:
    """Judges the days that `spans` touch and that are over at `now`; returns how many findings changed."""
    changed = 0
    for project_id, mine in groupby(spans, key=lambda span: span.project_id):
        project = await estate.get_project(conn, project_id)
        changed += await judge_days(conn, project, _touched(list(mine), project, now), now)
    return changed


def _touched(spans: Sequence[ChangedSpan], project: Project, now: datetime) -> list[DaySpan]:
    """Per meter the finished local days around its changes, and the day after them."""
    yesterday = local_day(now, project.zone) - timedelta(days=1)
    days: dict[tuple[datetime, datetime], tuple[date, date]] = {}
    found: dict[int, DaySpan] = {}
    for span in spans:
        ends = (span.from_at, span.until_at)
        if ends not in days:
            last = local_day(span.until_at - timedelta(milliseconds=1), project.zone) + timedelta(days=1)
            days[ends] = local_day(span.from_at, project.zone), min(last, yesterday)
        first, last = days[ends]
        if last < first:
            continue
        known = found.get(span.meter_id)
        others = span.channel not in channel_days.MAIN_NUMBERS | LOAD_NUMBERS
        if known is not None:
            first, last, others = min(first, known.first), max(last, known.last), others or known.registers
        found[span.meter_id] = DaySpan(span.meter_id, first, last, others)
    return list(found.values())


async def judge_days(conn: Conn, project: Project, spans: Sequence[DaySpan], now: datetime) -> int:
    """Judges usage of whole local days that are over at `now`; returns how many findings changed."""
    changed = 0
    subjects = {one.meter_id: one for one in await load_subjects(conn, project.id, [s.meter_id for s in spans])}
    known = [span for span in spans if span.meter_id in subjects]
    horizon_ms = in_ms(day_start(local_day(now, project.zone), project.zone))
    sums = register_advances.Sums([], [])
    for part in _portions(known, subjects):
        days = await _load_days(conn, project, part, [subjects[span.meter_id] for span in part], horizon_ms)
        changed += await _judge_rows(conn, project.id, days)
        changed += await unit_checks.judge(conn, project, days)
        sums += await register_advances.judge(conn, days.subjects, days.rows, days.edges, days.first, days.until)
    # Which half of V14 an open finding is of does not show: both are judged again.
    told = {row["meter_id"] for row in await _open_sums(conn, project.id, [span.meter_id for span in known])}
    several = [
        (subjects[span.meter_id], span.first, span.last) for span in known if span.registers or span.meter_id in told
    ]
    return changed + await channel_days.judge(conn, project, several, sums)


async def _open_sums(conn: Conn, project_id: int, meter_ids: Sequence[int]) -> list[dict[str, Any]]:
    query = {"project_id": project_id, "ids": Int8Column.of(meter_ids)}
    return await (await conn.execute(sql.OPEN_SUMS, query)).fetchall()


def _portions(spans: Sequence[DaySpan], subjects: dict[int, Subject]) -> Iterator[list[DaySpan]]:
    """As many spans at once as fit well into memory."""
    part: list[DaySpan] = []
    rows = 0
    for span in spans:
        rows += ((span.last - span.first).days + 2) * 86_400 // subjects[span.meter_id].interval_s
        part.append(span)
        if rows >= _ROWS_AT_ONCE:
            yield part
            part, rows = [], 0
    if part:
        yield part


async def _load_days(
    conn: Conn, project: Project, spans: Sequence[DaySpan], subjects: Sequence[Subject], horizon_ms: int
) -> JudgedDays:
    begin = min(span.first for span in spans) - timedelta(days=_MOST_DAYS_BACK)
    edges = _day_edges(begin, max(span.last for span in spans), project)
    first = edges[[(span.first - begin).days for span in spans]]
    until = edges[[(span.last - begin).days + 1 for span in spans]]
    low = np.maximum(first - column(subjects, _look_back_ms), edges[0])
    rows = await _load_rows(conn, subjects, low, until)
    return JudgedDays(subjects, rows, edges, first, until, horizon_ms)


async def _judge_rows(conn: Conn, project_id: int, days: JudgedDays) -> int:
    """V8, V10 and V17."""
    verdict = judge_rows(days.subjects, days.rows, days.edges)
    found = [one for rule in INTERVAL_RULES for one in _findings(verdict.found[rule], rule, days)]
    # About the load, not the register: a day may have both halves of V10.
    still = _findings(await still_under_load(conn, days.subjects, days.rows, days.edges), "frozen", days)
    media = {one.meter_id: one.medium for one in days.subjects}
    found += [replace(one, channel=LOAD_CHANNEL[media[one.meter_id]].number) for one in still]
    unsure = {one.key for rule, unknown in verdict.unsure.items() for one in _findings(unknown, rule, days)}
    return await findings.keep(conn, project_id, days.judged, INTERVAL_RULES, found, unsure)


def _look_back_ms(subject: Subject) -> int:
    """How much before the first judged day the rules see: a run of equal intervals may have begun there."""
    return max(_LOOK_BACK_MS, (subject.thresholds.frozen_intervals - 1) * subject.interval_s * 1000 + 3_600_000)


def _findings(found: Found, rule: Rule, days: JudgedDays) -> list[Finding]:
    """Those that begin in the days that are judged, and not in the days that the rules only look back on."""
    if not len(found):
        return []
    inside = found.where((found.from_ms >= days.first[found.which]) & (found.from_ms < days.until[found.which]))
    columns = (inside.which, inside.from_ms, inside.until_ms, inside.found, inside.expected)
    return [
        Finding(
            days.subjects[which].project_id, days.subjects[which].meter_id, days.subjects[which].channel, rule, *rest
        )
        for which, *rest in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _day_edges(first: date, last: date, project: Project) -> Ints:
    """Instants at which the local days from `first` to `last` begin, and the end of the last, in ms."""
    days = (last - first).days + 2
    starts = [day_start(first + timedelta(days=n), project.zone) for n in range(days)]
    return np.array([in_ms(start) for start in starts], np.int64)


async def _load_rows(conn: Conn, subjects: Sequence[Subject], low: Ints, until: Ints) -> Rows:
    query = {
        "meters": Int8Column(column(subjects, lambda one: one.meter_id)),
        "channels": Int2Column(column(subjects, lambda one: one.channel)),
        "from": TimeColumn(low),
        "until": TimeColumn(until),
        "low": _EPOCH + timedelta(milliseconds=int(low.min())),
        "high": _EPOCH + timedelta(milliseconds=int(until.max())),
    }
    which, start, length, quantity, method = await columns_of(conn, sql.ROWS, query, _ROW_KINDS)
    start = from_wire_time(start)
    _, *columns = in_order((which << KEY_SHIFT) + start, which, start, length * 1000, quantity, method)
    return Rows.of(*columns)
