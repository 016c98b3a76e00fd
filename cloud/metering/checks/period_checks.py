"""Judges whole months: V9 high/low against last year or the month before, V18 balance of master meters."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, LiteralString

import numpy as np

from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import Period, in_ms, month_of, previous_month
from cloud.metering.checks import findings
from cloud.metering.checks.findings import Finding, Judged
from cloud.metering.checks.subjects_repository import load_subjects
from cloud.metering.records import Rule
from cloud.metering.rollups.reading import month_sums
from cloud.metering.validation import periods
from cloud.metering.validation.periods import Average
from cloud.metering.validation.subjects import Subject, column, weighed

_RULES: Final[tuple[Rule, ...]] = ("high-low", "master-balance")

_IN: LiteralString = """
    SELECT id FROM meter
    WHERE project_id = %(project_id)s AND installed_on < %(end)s AND (removed_on IS NULL OR removed_on >= %(start)s)
    ORDER BY id
"""
_WITH_SUB_METERS: LiteralString = """
    SELECT id FROM meter WHERE project_id = %(project_id)s AND id = ANY (%(ids)s)
    UNION
    SELECT id FROM meter WHERE project_id = %(project_id)s AND parent_id = ANY (%(ids)s)
    ORDER BY id
"""
_FAMILY: LiteralString = """
    SELECT id, parent_id, medium FROM meter
    WHERE id = ANY (%(ids)s) AND installed_on < %(end)s AND (removed_on IS NULL OR removed_on >= %(start)s)
    ORDER BY id
"""


async def meters_in(conn: Conn, project_id: int, month: Period) -> list[int]:
    """Meters of a project that were there on a day of the month, by id."""
    query = {"project_id": project_id, "start": month.start, "end": month.end}
    return [row["id"] for row in await (await conn.execute(_IN, query)).fetchall()]


async def with_sub_meters(conn: Conn, project_id: int, meter_ids: Sequence[int]) -> list[int]:
    """These meters of a project and their sub-meters, by id: what is known of a master hangs on them."""
    query = {"project_id": project_id, "ids": list(meter_ids)}
    return [row["id"] for row in await (await conn.execute(_WITH_SUB_METERS, query)).fetchall()]


async def judge(conn: Conn, project: Project, month: Period, meter_ids: Collection[int]) -> int:
    """Judges a local month for these meters of a project; returns how many findings changed.

    A month counts for a comparison only where usage covers it whole; a master only with all its sub-meters, which are
    looked at with it wherever they are judged themselves. Those that were not there in the month are left out.
    """
    family = await with_sub_meters(conn, project.id, sorted(set(meter_ids)))
    query = {"ids": family, "start": month.start, "end": month.end}
    meters = await (await conn.execute(_FAMILY, query)).fetchall()
    everything = await load_subjects(conn, project.id, [row["id"] for row in meters])
    wanted = np.isin(column(everything, lambda one: one.meter_id), np.array(sorted(meter_ids), np.int64))
    if not wanted.any():
        return 0
    usage = await _average(conn, project, everything, month)
    subjects = [everything[n] for n in np.flatnonzero(wanted).tolist()]
    now = Average(usage.usage[wanted], usage.days[wanted])
    start_ms, end_ms = (in_ms(at) for at in month.instants(project.zone))
    found = [
        *await _unlike_before(conn, project, month, subjects, now, start_ms, end_ms),
        *_unbalanced(subjects, now, _sums_of_subs(meters, everything, usage), start_ms, end_ms),
    ]
    judged = Judged.between(column(subjects, lambda one: one.meter_id), start_ms, start_ms + 1)
    return await findings.keep(conn, project.id, judged, _RULES, found)


async def _average(conn: Conn, project: Project, subjects: Sequence[Subject], month: Period) -> Average:
    start, end = month.instants(project.zone)
    meters, channels = column(subjects, lambda one: one.meter_id), column(subjects, lambda one: one.channel)
    usage, covered_s = await month_sums(conn, meters, channels, start, end)
    return Average(usage, np.where(covered_s * 1000 == in_ms(end) - in_ms(start), month.days, 0))


async def _unlike_before(
    conn: Conn, project: Project, month: Period, subjects: Sequence[Subject], now: Average, start_ms: int, end_ms: int
) -> list[Finding]:
    """V9; expected is what the reference's average would have come to in this month."""
    last_year = month_of(month.start.replace(year=month.start.year - 1))
    then = periods.reference(
        await _average(conn, project, subjects, last_year),
        await _average(conn, project, subjects, previous_month(month.start)),
    )
    low = column(subjects, lambda one: one.thresholds.high_low_low_permille)
    high = column(subjects, lambda one: one.thresholds.high_low_high_permille)
    floor = column(subjects, lambda one: one.thresholds.high_low_floor)
    outside = periods.high_low(now, then, low, high, floor) & weighed(subjects, "high-low")
    usual = then.usage * now.days // np.maximum(then.days, 1)
    return [
        _finding(subjects[n], "high-low", start_ms, end_ms, int(now.usage[n]), int(usual[n]))
        for n in np.flatnonzero(outside).tolist()
    ]


def _sums_of_subs(
    meters: Sequence[Mapping[str, Any]], subjects: Sequence[Subject], now: Average
) -> dict[int, int | None]:
    """By master what its sub-meters of the same medium used; None unless the month of all of them is known."""
    position = {one.meter_id: n for n, one in enumerate(subjects)}
    media = {row["id"]: row["medium"] for row in meters}
    sums: dict[int, int | None] = {}
    for row in meters:
        master = row["parent_id"]
        if media.get(master) != row["medium"]:
            continue
        sub, before = position.get(row["id"]), sums.get(master, 0)
        if sub is None or before is None or now.days[sub] == 0:
            sums[master] = None
        else:
            sums[master] = before + int(now.usage[sub])
    return sums


def _unbalanced(
    subjects: Sequence[Subject], now: Average, sums: Mapping[int, int | None], start_ms: int, end_ms: int
) -> list[Finding]:
    """V18 for masters of which, and of all whose sub-meters, the month is known; found: Σ sub, expected: master."""
    subs = column(subjects, lambda one: sums.get(one.meter_id) or 0)
    known = np.array([sums.get(one.meter_id) is not None for one in subjects], np.bool_) & (now.days > 0)
    low = column(subjects, lambda one: one.thresholds.loss_low_permille)
    high = column(subjects, lambda one: one.thresholds.loss_high_permille)
    wrong = periods.master_balance(now.usage, subs, low, high) & known & weighed(subjects, "master-balance")
    return [
        _finding(subjects[n], "master-balance", start_ms, end_ms, int(subs[n]), int(now.usage[n]))
        for n in np.flatnonzero(wrong).tolist()
    ]


def _finding(subject: Subject, rule: Rule, start_ms: int, end_ms: int, found: int, expected: int) -> Finding:
    return Finding(subject.project_id, subject.meter_id, subject.channel, rule, start_ms, end_ms, found, expected)
