"""Judges whole months at bill time: V9 high/low against last year or the month before, V18 balance of master meters."""

from collections.abc import Sequence
from datetime import date
from typing import Final, LiteralString

import numpy as np

from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import Period, in_ms, month_of, previous_month
from cloud.metering import service
from cloud.metering.checks import findings
from cloud.metering.checks.findings import Finding, Judged
from cloud.metering.checks.subjects_repository import load_subjects
from cloud.metering.records import Rule
from cloud.metering.validation import periods
from cloud.metering.validation.periods import Average
from cloud.metering.validation.segments import Ints
from cloud.metering.validation.subjects import Subject, column, weighed

_RULES: Final[tuple[Rule, ...]] = ("high-low", "master-balance")

_METERS: LiteralString = """
    SELECT id, parent_id, medium FROM meter
    WHERE project_id = %(project_id)s AND installed_on < %(end)s AND (removed_on IS NULL OR removed_on >= %(start)s)
    ORDER BY id
"""


async def judge_month(conn: Conn, project: Project, day: date) -> int:
    """Judges the local month around `day` for all meters of a project; returns how many findings changed.

    A month counts for a comparison only where usage covers it whole; a master only with all its sub-meters.
    """
    month = month_of(day)
    query = {"project_id": project.id, "start": month.start, "end": month.end}
    meters = await (await conn.execute(_METERS, query)).fetchall()
    subjects = await load_subjects(conn, project.id, [row["id"] for row in meters])
    if not subjects:
        return 0
    last_year = month_of(month.start.replace(year=month.start.year - 1))
    now = await _average(conn, project, subjects, month)
    then = periods.reference(
        await _average(conn, project, subjects, last_year),
        await _average(conn, project, subjects, previous_month(month.start)),
    )
    start_ms, end_ms = (in_ms(at) for at in month.instants(project.zone))
    low = column(subjects, lambda one: one.thresholds.high_low_low_permille)
    high = column(subjects, lambda one: one.thresholds.high_low_high_permille)
    floor = column(subjects, lambda one: one.thresholds.high_low_floor)
    outside = periods.high_low(now, then, low, high, floor) & weighed(subjects, "high-low")
    # What the reference's average would have come to in this month.
    usual = then.usage // np.maximum(then.days, 1) * now.days
    found = [
        _finding(subjects[n], "high-low", start_ms, end_ms, int(now.usage[n]), int(usual[n]))
        for n in np.flatnonzero(outside).tolist()
    ]
    media = {row["id"]: row["medium"] for row in meters}
    parents = {row["id"]: row["parent_id"] for row in meters if media.get(row["parent_id"]) == row["medium"]}
    found += _unbalanced(subjects, now, parents, start_ms, end_ms)
    judged = Judged.between(column(subjects, lambda one: one.meter_id), start_ms, start_ms + 1)
    return await findings.keep(conn, project.id, judged, _RULES, found)


async def _average(conn: Conn, project: Project, subjects: Sequence[Subject], month: Period) -> Average:
    start, end = month.instants(project.zone)
    keys = [(one.meter_id, one.channel, start, end) for one in subjects]
    totals = await service.usage_between_many(conn, keys)
    usage = np.array([totals[key].quantity for key in keys], np.int64)
    days = np.array([month.days if totals[key].complete else 0 for key in keys], np.int64)
    return Average(usage, days)


def _unbalanced(
    subjects: Sequence[Subject], now: Average, parents: dict[int, int], start_ms: int, end_ms: int
) -> list[Finding]:
    """V18 for masters of which, and of all whose sub-meters, the month is known; found: Σ sub, expected: master."""
    position = {one.meter_id: n for n, one in enumerate(subjects)}
    subs: Ints = np.zeros(len(subjects), np.int64)
    known = now.days > 0
    has_subs = np.zeros(len(subjects), np.bool_)
    complete = known.copy()
    for meter_id, parent_id in parents.items():
        master, sub = position[parent_id], position[meter_id]
        subs[master] += now.usage[sub]
        has_subs[master] = True
        complete[master] &= known[sub]
    low = column(subjects, lambda one: one.thresholds.loss_low_permille)
    high = column(subjects, lambda one: one.thresholds.loss_high_permille)
    wrong = periods.master_balance(now.usage, subs, low, high) & has_subs & complete
    wrong &= weighed(subjects, "master-balance")
    return [
        _finding(subjects[n], "master-balance", start_ms, end_ms, int(subs[n]), int(now.usage[n]))
        for n in np.flatnonzero(wrong).tolist()
    ]


def _finding(subject: Subject, rule: Rule, start_ms: int, end_ms: int, found: int, expected: int) -> Finding:
    return Finding(subject.project_id, subject.meter_id, subject.channel, rule, start_ms, end_ms, found, expected)
