"""What is judged each morning because nothing changes when nothing comes: V3, V11, V12, V16, and yesterday's days.

Findings begin when the state began, so that a state that lasts is one finding whose end moves on.
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
from cloud.metering import findings, settling
from cloud.metering.findings import Finding, Judged
from cloud.metering.records import Rule
from cloud.metering.settling import DaySpan
from cloud.metering.subjects_repository import load_subjects
from cloud.metering.validation import intervals, readings
from cloud.metering.validation.segments import Ints, Mask
from cloud.metering.validation.subjects import Subject, column, weighed

_STANDING: Final[tuple[Rule, ...]] = ("zero", "prolonged-estimate")
_OF_THE_DAY: Final[tuple[Rule, ...]] = ("inactive", "configuration")
_FOREVER: Final = 2**42
_LONGEST: Final = timedelta(days=400)
"""So far back the last usage is looked for."""

_METERS: LiteralString = """
    SELECT id FROM meter WHERE project_id = %(project_id)s AND id > %(after)s
      AND installed_on <= %(day)s ORDER BY id LIMIT %(limit)s
"""
# The register's own times count from when it was put in; an occupancy from its first local day.
_STATES: LiteralString = """
    SELECT w.meter_id, (extract(epoch FROM installed.at) * 1000)::bigint AS installed_ms,
           (extract(epoch FROM living.since::timestamp AT TIME ZONE %(zone)s) * 1000)::bigint AS occupied_ms,
           (extract(epoch FROM real.ends_at) * 1000)::bigint AS real_ms,
           (extract(epoch FROM used.ends_at) * 1000)::bigint AS used_ms,
           coalesce(day.quantity, 0)::bigint AS quantity,
           m.removed_on IS NULL OR m.removed_on >= %(day)s AS present
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[]) AS w (meter_id, channel)
    JOIN meter m ON m.id = w.meter_id
    CROSS JOIN LATERAL (SELECT min(lower(valid)) AS at FROM meter_register WHERE meter_id = w.meter_id) AS installed
    LEFT JOIN LATERAL (SELECT min(lower(o.valid)) AS since FROM occupancy o WHERE o.unit_id = m.unit_id
                       AND o.valid @> %(day)s::date) AS living ON true
    LEFT JOIN LATERAL (SELECT start + length_s * interval '1 second' AS ends_at FROM store.usage u
                       WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start < %(until)s
                         AND u.start >= %(oldest)s AND u.method NOT BETWEEN 2 AND 6
                       ORDER BY u.start DESC LIMIT 1) AS real ON true
    LEFT JOIN LATERAL (SELECT start + length_s * interval '1 second' AS ends_at FROM store.usage u
                       WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start < %(until)s
                         AND u.start >= %(oldest)s AND u.quantity > 0 AND living.since IS NOT NULL
                       ORDER BY u.start DESC LIMIT 1) AS used ON true
    LEFT JOIN LATERAL (SELECT sum(quantity) AS quantity FROM store.usage u
                       WHERE u.meter_id = w.meter_id AND u.channel = w.channel
                         AND u.start >= %(from)s AND u.start < %(until)s
                         AND (living.since IS NULL OR m.removed_on < %(day)s)) AS day ON true
    ORDER BY w.meter_id
"""
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
    changed = await settling.judge_days(
        conn, project, [DaySpan(meter_id, yesterday, yesterday, registers=True) for meter_id in meter_ids]
    )
    subjects = await load_subjects(conn, project.id, meter_ids)
    if not subjects:
        return changed
    start, end = day_start(yesterday, project.zone), day_start(yesterday + timedelta(days=1), project.zone)
    query = {
        "meters": [one.meter_id for one in subjects],
        "channels": [one.channel for one in subjects],
        "day": yesterday,
        "zone": project.time_zone,
        "from": start,
        "until": end,
        "oldest": now - _LONGEST,
    }
    rows = await (await conn.execute(_STATES, query)).fetchall()
    which, taken = await columns_of(conn, _TIMES, query, ("int8", "timestamptz"))
    standing = _standing(subjects, rows, in_ms(end))
    of_the_day = _of_the_day(subjects, rows, (which, from_wire_time(taken)), in_ms(start), in_ms(end))
    ever = [Judged(one.meter_id, 0, _FOREVER) for one in subjects]
    day = [Judged(one.meter_id, in_ms(start), in_ms(end)) for one in subjects]
    changed += await findings.keep(conn, project.id, ever, _STANDING, standing)
    return changed + await findings.keep(conn, project.id, day, _OF_THE_DAY, of_the_day)


def _standing(subjects: Sequence[Subject], rows: Sequence[dict[str, Any]], now_ms: int) -> list[Finding]:
    """V11 and V16."""
    real = _column(rows, "real_ms", "installed_ms")
    occupied = _column(rows, "occupied_ms")
    # Nobody is blamed for what was not used before the meter was there.
    used = np.maximum(np.maximum(_column(rows, "used_ms"), occupied), _column(rows, "installed_ms"))
    zero_days = column(subjects, lambda one: one.thresholds.zero_days)
    estimate_days = column(subjects, lambda one: one.thresholds.estimate_days)
    present = np.array([row["present"] for row in rows], np.bool_)
    zero = intervals.zero(used, real, (occupied > 0) & present, zero_days) & weighed(subjects, "zero")
    late = intervals.prolonged_estimate(real, now_ms, estimate_days) & present
    late &= weighed(subjects, "prolonged-estimate")
    found = _made(subjects, "zero", zero, used, real, (real - used) // intervals.DAY_MS, zero_days)
    now = np.full(len(rows), now_ms)
    return found + _made(
        subjects, "prolonged-estimate", late, real, now, (now - real) // intervals.DAY_MS, estimate_days
    )


def _of_the_day(
    subjects: Sequence[Subject], rows: Sequence[dict[str, Any]], taken: tuple[Ints, Ints], start: int, end: int
) -> list[Finding]:
    """V12 and V3."""
    quantity = _column(rows, "quantity")
    in_use = np.array(
        [row["present"] and (one.unit_id is None or row["occupied_ms"] is not None)
         for one, row in zip(subjects, rows, strict=True)], np.bool_,
    )  # fmt: skip
    floor = column(subjects, lambda one: one.thresholds.inactive_floor)
    wrong = intervals.inactive(quantity, in_use, floor) & weighed(subjects, "inactive")
    starts, ends = np.full(len(rows), start), np.full(len(rows), end)
    found = _made(subjects, "inactive", wrong, starts, ends, quantity, floor)
    seen = readings.observed_interval_s(*taken, len(subjects))
    expected = column(subjects, lambda one: one.interval_s)
    unknown = np.zeros(len(subjects), np.int64)
    coarse = readings.configuration(unknown, unknown, unknown, unknown, seen, expected)
    return found + _made(
        subjects, "configuration", coarse & weighed(subjects, "configuration"), starts, ends, seen, expected
    )


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


def _column(rows: Sequence[dict[str, Any]], name: str, otherwise: str = "") -> Ints:
    """A column of times or amounts, 0 (or another column) where there is none."""
    return np.array(
        [row[name] if row[name] is not None else row[otherwise] if otherwise else 0 for row in rows], np.int64
    )
