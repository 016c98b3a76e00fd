"""SQL of the roll-ups: readers through the guarded views, the queue of what the job refreshes."""

from typing import LiteralString

from cloud.metering.records import Step

REACH: dict[Step, int] = {"hour": 0, "day": 1, "month": 2}
"""How far a row may reach to lie inside a bar of the step; see `gm.reach`."""

# Plain PostgreSQL keeps days and months by itself: nothing to note there.
QUEUE_STALE: LiteralString = """
    INSERT INTO store.stale_roll_up (from_at, until_at)
    SELECT min(s.from_at), max(s.until_at)
    FROM unnest(%(from)s::timestamptz[], %(until)s::timestamptz[]) AS s (from_at, until_at)
    WHERE gm.has_timescale() GROUP BY date_trunc('month', s.from_at)
"""
PROJECT_HOURS: LiteralString = """
    SELECT start, sum(top)::bigint AS top, sum(all_meters)::bigint AS all_meters FROM usage_total
    WHERE project_id = %(project_id)s AND medium = %(medium)s AND channel = %(channel)s
      AND start >= %(start)s AND start < %(end)s AND reach = %(reach)s
    GROUP BY start
"""
# The hour in which a row begins tells its day: hours never cross midnight but on Lord Howe.
PROJECT_STEPS: LiteralString = """
    SELECT date_trunc(%(step)s, start, %(zone)s) AS start, sum(top)::bigint AS top,
           sum(all_meters)::bigint AS all_meters
    FROM usage_total
    WHERE project_id = %(project_id)s AND medium = %(medium)s AND channel = %(channel)s
      AND start >= %(start)s AND start < %(end)s AND reach <= %(reach)s
    GROUP BY 1
"""
BUILDING_METERS: LiteralString = """
    SELECT m.id FROM meter m JOIN unit u ON u.id = m.unit_id
    WHERE u.building_id = %(building_id)s AND m.medium = %(medium)s ORDER BY m.id
"""
# From the rows themselves: an hour has four at most, and the index gives exactly those asked for.
_METERS_BY_HOUR: LiteralString = """
    SELECT date_bin('1 hour', start, gm.hour_origin(%(zone)s)) AS start, sum(quantity)::bigint AS quantity,
           count(*) AS rows, sum(length_s)::bigint AS covered_s,
           coalesce(sum(length_s) FILTER (WHERE gm.is_estimated(method)), 0)::bigint AS estimated_s
    FROM usage
    WHERE meter_id = ANY (%(meters)s::bigint[]) AND channel = %(channel)s AND start >= %(start)s AND start < %(end)s
      AND gm.reach(start, length_s, %(zone)s) = 0
    GROUP BY 1
"""
_METERS_BY_DAY: LiteralString = """
    SELECT start, sum(quantity)::bigint AS quantity, sum(rows)::bigint AS rows, sum(covered_s)::bigint AS covered_s,
           sum(estimated_s)::bigint AS estimated_s
    FROM usage_day
    WHERE meter_id = ANY (%(meters)s::bigint[]) AND channel = %(channel)s AND start >= %(start)s AND start < %(end)s
    GROUP BY start
"""
_METERS_BY_MONTH: LiteralString = """
    SELECT start, sum(quantity)::bigint AS quantity, sum(rows)::bigint AS rows, sum(covered_s)::bigint AS covered_s,
           sum(estimated_s)::bigint AS estimated_s
    FROM usage_month
    WHERE meter_id = ANY (%(meters)s::bigint[]) AND channel = %(channel)s AND start >= %(start)s AND start < %(end)s
    GROUP BY start
"""
METERS_BY: dict[Step, LiteralString] = {
    "hour": _METERS_BY_HOUR,
    "day": _METERS_BY_DAY,
    "month": _METERS_BY_MONTH,
}

# One worker folds at a time; who comes second finds it done.
FOLD: LiteralString = """
    SELECT CASE WHEN pg_try_advisory_xact_lock(%(lock)s) THEN gm.fold_totals() ELSE 0 END AS folded
"""
LOCK_REFRESH: LiteralString = "SELECT pg_try_advisory_lock(%(lock)s) AS mine"
UNLOCK_REFRESH: LiteralString = "SELECT pg_advisory_unlock(%(lock)s)"
NEWEST_STALE: LiteralString = "SELECT max(id) AS id FROM store.stale_roll_up"
STALE_MONTHS: LiteralString = "SELECT name, from_at, until_at, force FROM gm.stale_months()"
FORGET_STALE: LiteralString = "DELETE FROM store.stale_roll_up WHERE id <= %(id)s"
REFRESH: LiteralString = """
    CALL refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz, force => %s)
"""
