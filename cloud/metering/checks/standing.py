"""What is judged each morning because nothing changes when nothing comes: V3, V16, and yesterday's days once more.

A finding of V16 begins when the silence began, so that a silence that lasts is one finding whose end moves on.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import numpy as np

from cloud.estate.records import Project
from cloud.kit.columns import from_wire_time
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.kit.periods import day_start, in_ms, local_day
from cloud.metering.checks import findings, settling
from cloud.metering.checks.channel_days import HEAT
from cloud.metering.checks.findings import FOREVER, Finding, Judged
from cloud.metering.checks.settling import DaySpan
from cloud.metering.checks.subjects_repository import load_subjects
from cloud.metering.records import Rule
from cloud.metering.validation import intervals, readings
from cloud.metering.validation.segments import Ints, Mask
from cloud.metering.validation.subjects import Subject, column, weighed
from gateway.contract.quantities import BY_NUMBER, Kind

_LONGEST: Final = timedelta(days=400)
"""So far back the last usage is looked for."""

_METERS: LiteralString = """
    SELECT id FROM meter WHERE project_id = %(project_id)s AND id > %(after)s
      AND installed_on <= %(day)s ORDER BY id LIMIT %(limit)s
"""
# Until the first usage between two readings the register's own time counts.
_STATES: LiteralString = """
    SELECT w.meter_id, coalesce((extract(epoch FROM real.ends_at) * 1000)::bigint,
                                (extract(epoch FROM installed.at) * 1000)::bigint) AS real_ms,
           m.removed_on IS NULL OR m.removed_on >= %(day)s AS present
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[]) AS w (meter_id, channel)
    JOIN meter m ON m.id = w.meter_id
    CROSS JOIN LATERAL (SELECT min(lower(valid)) AS at FROM meter_register WHERE meter_id = w.meter_id) AS installed
    LEFT JOIN LATERAL (SELECT start + length_s * interval '1 second' AS ends_at FROM store.usage u
                       WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start < %(until)s
                         AND u.start >= %(oldest)s AND u.method NOT BETWEEN 2 AND 6
                       ORDER BY u.start DESC LIMIT 1) AS real ON true
    ORDER BY w.meter_id
"""
# Registers of any quantity that meters were read of.
_REGISTERS_SEEN: LiteralString = """
    SELECT w.nth - 1 AS nth, c.channel
    FROM unnest(%(meters)s::bigint[]) WITH ORDINALITY AS w (meter_id, nth)
    CROSS JOIN unnest(%(channels)s::smallint[]) AS c (channel)
    WHERE EXISTS (SELECT FROM store.reading r WHERE r.meter_id = w.meter_id AND r.channel = c.channel
                  AND r.taken_at >= %(from)s AND r.taken_at < %(until)s)
    ORDER BY 1, 2
"""
_COUNTED: Final = [one for one in BY_NUMBER.values() if one.kind is Kind.CUMULATIVE and one.unit != "s"]
_KINDS: Final = sorted({(one.unit, one.number in HEAT) for one in _COUNTED})
_UNITS: Final = {one.number: _KINDS.index((one.unit, one.number in HEAT)) + 1 for one in _COUNTED}
"""By channel of a register of energy or volume, the number of its unit; Wh of heat are not those of electricity."""

_TIMES: LiteralString = """
    SELECT nth - 1, taken_at
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[]) WITH ORDINALITY AS w (meter_id, channel, nth)
    JOIN store.reading r ON r.meter_id = w.meter_id AND r.channel = w.channel
     AND r.taken_at >= %(from)s AND r.taken_at < %(until)s
    ORDER BY nth, taken_at
"""


async def meters_of(conn: Conn, project: Project, after: int, limit: int, now: datetime) -> list[int]:
    """Meters of a project by id that were in place yesterday or before."""
    query = {"project_id": project.id, "after": after, "limit": limit, "day": local_day(now, project.zone)}
    return [row["id"] for row in await (await conn.execute(_METERS, query)).fetchall()]


async def judge(conn: Conn, project: Project, meter_ids: Sequence[int], now: datetime) -> int:
    """Judges yesterday, and what stands since earlier; returns how many findings changed."""
    yesterday = local_day(now, project.zone) - timedelta(days=1)
    spans = [DaySpan(meter_id, yesterday, yesterday, registers=True) for meter_id in meter_ids]
    changed = await settling.judge_days(conn, project, spans, now)
    subjects = await load_subjects(conn, project.id, meter_ids)
    if not subjects:
        return changed
    start, end = day_start(yesterday, project.zone), day_start(yesterday + timedelta(days=1), project.zone)
    query = {
        "meters": [one.meter_id for one in subjects],
        "channels": [one.channel for one in subjects],
        "day": yesterday,
        "from": start,
        "until": end,
        "oldest": now - _LONGEST,
    }
    states = await (await conn.execute(_STATES, query)).fetchall()
    meters = column(subjects, lambda one: one.meter_id)
    ever = Judged.between(meters, 0, FOREVER)
    changed += await findings.keep(
        conn, project.id, ever, ["prolonged-estimate"], _silent(subjects, states, in_ms(end))
    )
    day = Judged.between(meters, in_ms(start), in_ms(end))
    wrong = await _misconfigured(conn, subjects, query, in_ms(start), in_ms(end))
    return changed + await findings.keep(conn, project.id, day, ["configuration"], wrong)


def _silent(subjects: Sequence[Subject], states: Sequence[dict[str, Any]], now_ms: int) -> list[Finding]:
    """V16."""
    real = np.array([row["real_ms"] for row in states], np.int64)
    present = np.array([row["present"] for row in states], np.bool_)
    days = column(subjects, lambda one: one.thresholds.estimate_days)
    late = intervals.prolonged_estimate(real, now_ms, days) & present & weighed(subjects, "prolonged-estimate")
    now = np.full(len(states), now_ms)
    return _made(subjects, "prolonged-estimate", late, real, now, (now - real) // intervals.DAY_MS, days)


async def _misconfigured(
    conn: Conn, subjects: Sequence[Subject], query: dict[str, Any], start_ms: int, end_ms: int
) -> list[Finding]:
    """V3: read too seldom, or read of something else than the meter measures."""
    which, taken = await columns_of(conn, _TIMES, query, ("int8", "timestamptz"))
    seen = readings.observed_interval_s(which, from_wire_time(taken), len(subjects))
    expected = column(subjects, lambda one: one.interval_s)
    on = weighed(subjects, "configuration")
    starts, ends = np.full(len(subjects), start_ms), np.full(len(subjects), end_ms)
    seldom = _made(subjects, "configuration", readings.coarse(seen, expected) & on, starts, ends, seen, expected)
    mute = np.setdiff1d(np.flatnonzero(on), which)
    return seldom + await _foreign(conn, [subjects[n] for n in mute.tolist()], query, (start_ms, end_ms))


async def _foreign(
    conn: Conn, subjects: Sequence[Subject], query: dict[str, Any], day: tuple[int, int]
) -> list[Finding]:
    """Registers of another unit that are read where none of the meter's own is; the finding is about that channel."""
    meters = {"meters": [one.meter_id for one in subjects], "channels": sorted(_UNITS)}
    rows = await (await conn.execute(_REGISTERS_SEEN, {**query, **meters})).fetchall()
    which = np.array([row["nth"] for row in rows], np.int64)
    unit = np.array([_UNITS[row["channel"]] for row in rows], np.int64)
    expected = column(subjects, lambda one: _UNITS[one.channel])
    wrong = np.flatnonzero(readings.foreign(which, unit, expected)).tolist()
    return [
        Finding(one.project_id, one.meter_id, rows[n]["channel"], "configuration", *day)
        for n, one in ((n, subjects[rows[n]["nth"]]) for n in wrong)
    ]


def _made(
    subjects: Sequence[Subject], rule: Rule, chosen: Mask, start: Ints, end: Ints, found: Ints, expected: Ints
) -> list[Finding]:
    return [
        Finding(
            subjects[n].project_id,
            subjects[n].meter_id,
            subjects[n].channel,
            rule,
            int(start[n]),
            int(end[n]),
            int(found[n]),
            int(expected[n]),
        )
        for n in np.flatnonzero(chosen).tolist()
    ]
