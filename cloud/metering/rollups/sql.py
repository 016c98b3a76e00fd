"""SQL of the roll-ups: bars through the guarded views, the queue of what the job refreshes.

A row inside a bar adds to it. A row over an edge makes the bars it touches unknown for its meter; so does the long row
that began before the first edge.
"""

from typing import LiteralString

from cloud.metering.records import Step

REACH: dict[Step, int] = {"hour": 0, "day": 1, "month": 2}
"""How far a row may reach to lie inside a bar of the step; see `gm.reach`. Shorter steps are not rolled up."""

# Plain PostgreSQL keeps days and months by itself: nothing to note there.
QUEUE_STALE: LiteralString = """
    INSERT INTO store.stale_roll_up (from_at, until_at)
    SELECT min(s.from_at), max(s.until_at)
    FROM unnest(%(from)s::timestamptz[], %(until)s::timestamptz[]) AS s (from_at, until_at)
    WHERE gm.has_timescale() GROUP BY date_trunc('month', s.from_at)
"""

# Whether roll-ups are for the reader: a bar of a resident may hold days of another one.
STATE: LiteralString = """
    SELECT (SELECT gm.is_system()) OR (SELECT gm.kind()) = 'staff' AS open, gm.roll_ups_lag_from() AS lag_from
"""
TOP_METERS: LiteralString = """
    SELECT count(*) AS meters FROM meter
    WHERE project_id = %(project_id)s AND medium = %(medium)s AND parent_id IS NULL
"""
# The hour in which a row begins tells its bar. What the total knows no bar of comes from `crossing`: rows that reach
# over an edge, for which `beside` takes their meter's other rows out of the same bar, and rows inside a bar longer than
# the step. Whole days of daily meters, for bars of hours, are those that no row of `crossing` explains. OFFSET keeps
# the planner from joining all rows of usage where a few look-ups by the index do.
PROJECT_BARS: LiteralString = """
    WITH crossing AS MATERIALIZED (
        SELECT c.meter_id, c.start, c.length_s, c.quantity, gm.is_estimated(c.method) AS estimated, c.reach,
               width_bucket(c.start, %(edges)s::timestamptz[]) AS first,
               width_bucket(c.start + c.length_s * interval '1 second' - interval '1 microsecond',
                            %(edges)s::timestamptz[]) AS last
        FROM crossing_usage c JOIN meter m ON m.id = c.meter_id
        WHERE c.project_id = %(project_id)s AND c.channel = %(channel)s AND c.reach > %(reach)s
          AND c.start < %(end)s AND c.start + c.length_s * interval '1 second' > %(start)s
          AND m.medium = %(medium)s AND m.parent_id IS NULL),
    total AS MATERIALIZED (
        SELECT start, reach, top, top_rows, top_covered_s, top_estimated_s FROM usage_total
        WHERE project_id = %(project_id)s AND medium = %(medium)s AND channel = %(channel)s
          AND start >= %(start)s AND start < %(end)s AND reach <= greatest(%(reach)s, 1) AND top_rows > 0),
    beside AS (
        SELECT ends.bar, u.quantity, u.length_s, gm.is_estimated(u.method) AS estimated
        FROM (SELECT DISTINCT c.meter_id, e.bar
              FROM crossing c CROSS JOIN LATERAL (VALUES (c.first), (c.last)) AS e (bar)
              WHERE c.first <> c.last AND e.bar BETWEEN 1 AND %(bars)s) AS ends
        CROSS JOIN LATERAL (
            SELECT quantity, length_s, method FROM usage
            WHERE meter_id = ends.meter_id AND channel = %(channel)s
              AND start >= (%(edges)s::timestamptz[])[ends.bar] AND start < (%(edges)s::timestamptz[])[ends.bar + 1]
              AND start + length_s * interval '1 second' <= (%(edges)s::timestamptz[])[ends.bar + 1]
            OFFSET 0) AS u),
    part (bar, rows, quantity, covered_s, estimated_s, broken) AS (
        SELECT width_bucket(start, %(edges)s::timestamptz[]), top_rows, top, top_covered_s, top_estimated_s, false
        FROM total WHERE reach <= %(reach)s
        UNION ALL
        SELECT first, 1, quantity, length_s, CASE WHEN estimated THEN length_s ELSE 0 END, false
        FROM crossing WHERE first = last
        UNION ALL
        SELECT bar, -1, -quantity, -length_s, CASE WHEN estimated THEN -length_s ELSE 0 END, false FROM beside
        UNION ALL
        SELECT generate_series(greatest(first, 1), least(last, %(bars)s)), 0, 0, 0, 0, true
        FROM crossing WHERE first <> last
        UNION ALL
        SELECT generate_series(width_bucket(t.start, %(edges)s::timestamptz[]),
                   width_bucket(t.start + gm.length_of('day', t.start, %(zone)s) * interval '1 second'
                                - interval '1 microsecond', %(edges)s::timestamptz[])), 0, 0, 0, 0, true
        FROM total t
        WHERE %(reach)s = 0 AND t.reach = 1 AND t.top_rows > (
            SELECT count(*) FROM crossing c WHERE c.reach = 1 AND gm.hour_of(c.start, %(zone)s) = t.start))
    SELECT bar - 1 AS bar, CASE WHEN sum(rows) > 0 THEN sum(quantity)::bigint END AS quantity,
           sum(covered_s)::bigint AS covered_s, sum(estimated_s)::bigint AS estimated_s, bool_or(broken) AS broken
    FROM part GROUP BY bar
"""
# The list of meters goes where a join does not: past the security barrier of the views, to their index.
_BARS_OF_DAYS: LiteralString = """
    WITH wanted AS (
        SELECT * FROM unnest(%(meters)s::bigint[], %(groups)s::bigint[]) AS w (meter_id, part)),
    crossing AS (
        SELECT w.part, c.meter_id, c.quantity, c.length_s, gm.is_estimated(c.method) AS estimated,
               width_bucket(c.start, %(edges)s::timestamptz[]) AS first,
               width_bucket(c.start + c.length_s * interval '1 second' - interval '1 microsecond',
                            %(edges)s::timestamptz[]) AS last
        FROM wanted w JOIN crossing_usage c ON c.meter_id = w.meter_id
        WHERE c.meter_id = ANY (%(meters)s::bigint[]) AND c.channel = %(channel)s AND c.reach > %(reach)s
          AND c.start < %(end)s AND c.start + c.length_s * interval '1 second' > %(start)s),
    piece (part, meter_id, bar, rows, quantity, covered_s, estimated_s, broken) AS (
        SELECT w.part, d.meter_id, width_bucket(d.start, %(edges)s::timestamptz[]), d.rows, d.quantity, d.covered_s,
               d.estimated_s, false
        FROM wanted w JOIN usage_day d ON d.meter_id = w.meter_id
        WHERE d.meter_id = ANY (%(meters)s::bigint[]) AND d.channel = %(channel)s
          AND d.start >= %(start)s AND d.start < %(end)s
        UNION ALL
        SELECT part, meter_id, first, 1, quantity, length_s, CASE WHEN estimated THEN length_s ELSE 0 END, false
        FROM crossing WHERE first = last
        UNION ALL
        SELECT part, meter_id, generate_series(greatest(first, 1), least(last, %(bars)s)), 0, 0, 0, 0, true
        FROM crossing WHERE first <> last),
    by_meter AS (
        SELECT part, bar, sum(rows) AS rows, sum(quantity) AS quantity, sum(covered_s) AS covered_s,
               sum(estimated_s) AS estimated_s, bool_or(broken) AS broken
        FROM piece GROUP BY part, meter_id, bar)
    SELECT part, bar - 1 AS bar, sum(quantity) FILTER (WHERE NOT broken AND rows > 0)::bigint AS quantity,
           coalesce(sum(covered_s) FILTER (WHERE NOT broken), 0)::bigint AS covered_s,
           coalesce(sum(estimated_s) FILTER (WHERE NOT broken), 0)::bigint AS estimated_s, bool_or(broken) AS broken
    FROM by_meter GROUP BY part, bar
"""
ROLLED_BARS: dict[Step, LiteralString] = {
    "day": _BARS_OF_DAYS,
    "month": _BARS_OF_DAYS.replace("usage_day", "usage_month"),
}
BARS_OF_ROWS: LiteralString = """
    WITH wanted AS (
        SELECT * FROM unnest(%(meters)s::bigint[], %(groups)s::bigint[]) AS w (meter_id, part)),
    touching AS (
        SELECT w.part, u.meter_id, u.quantity, u.length_s, u.method,
               width_bucket(u.start, %(edges)s::timestamptz[]) AS first,
               width_bucket(u.start + u.length_s * interval '1 second' - interval '1 microsecond',
                            %(edges)s::timestamptz[]) AS last
        FROM wanted w JOIN LATERAL (
            SELECT start, length_s, quantity, method FROM usage
            WHERE meter_id = w.meter_id AND channel = %(channel)s AND start >= %(start)s AND start < %(end)s
            UNION ALL
            (SELECT start, length_s, quantity, method FROM usage
             WHERE meter_id = w.meter_id AND channel = %(channel)s AND start < %(start)s
             ORDER BY start DESC LIMIT 1)) AS own ON true
        CROSS JOIN LATERAL (SELECT w.meter_id, own.*) AS u
        WHERE u.start + u.length_s * interval '1 second' > %(start)s),
    by_meter AS (
        SELECT part, meter_id, bar, sum(quantity) AS quantity, bool_or(first <> last) AS broken,
               sum(length_s) AS covered_s,
               coalesce(sum(length_s) FILTER (WHERE method BETWEEN 3 AND 6), 0) AS estimated_s
        FROM touching CROSS JOIN LATERAL generate_series(greatest(first, 1), least(last, %(bars)s)) AS bar
        GROUP BY part, meter_id, bar)
    SELECT part, bar - 1 AS bar, sum(quantity) FILTER (WHERE NOT broken)::bigint AS quantity,
           coalesce(sum(covered_s) FILTER (WHERE NOT broken), 0)::bigint AS covered_s,
           coalesce(sum(estimated_s) FILTER (WHERE NOT broken), 0)::bigint AS estimated_s, bool_or(broken) AS broken
    FROM by_meter GROUP BY part, bar
"""

# What rows inside a local month add up to, by meter. The worker's own tables: for the system alone.
# `first` and `last` bound the meters: while there are few months a portion of meters would go through those of all.
MONTH_SUMS: LiteralString = """
    SELECT w.nth - 1, sum(u.quantity)::bigint, sum(u.covered_s)::bigint
    FROM unnest(%(meters)s, %(channels)s) WITH ORDINALITY AS w (meter_id, channel, nth)
    JOIN store.usage_month u ON u.meter_id = w.meter_id AND u.channel = w.channel AND u.start = %(start)s
     AND u.meter_id BETWEEN %(first)s AND %(last)s
    GROUP BY w.nth
"""
MONTH_SUMS_OF_ROWS: LiteralString = """
    SELECT w.nth - 1, sum(u.quantity)::bigint, sum(u.length_s)::bigint
    FROM unnest(%(meters)s, %(channels)s) WITH ORDINALITY AS w (meter_id, channel, nth)
    JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
     AND u.start >= %(start)s AND u.start < %(end)s AND u.start + u.length_s * interval '1 second' <= %(end)s
    GROUP BY w.nth
"""

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

# From where on the counts of a project are to be proved. A meter used nothing before it was installed.
PROVED_FROM: LiteralString = """
    SELECT coalesce((SELECT until_on FROM store.counts_proved WHERE project_id = %(project_id)s),
                    (SELECT (greatest(min(lower(valid)), '2000-01-01') AT TIME ZONE %(zone)s)::date FROM meter_register
                     WHERE project_id = %(project_id)s)) AS from_on
"""
MISCOUNTED_CROSSING: LiteralString = "SELECT gm.miscounted_crossing(%(project_id)s, %(from)s, %(until)s) AS meters"
MEND_CROSSING: LiteralString = "SELECT gm.mend_crossing(%(project_id)s, %(from)s, %(until)s, %(meters)s) AS wrong"
MEND: LiteralString = "SELECT gm.mend_counts(%(project_id)s, %(from)s, %(until)s) AS wrong"
NOTE_PROVED: LiteralString = """
    INSERT INTO store.counts_proved (project_id, until_on) VALUES (%(project_id)s, %(until)s)
    ON CONFLICT (project_id) DO UPDATE SET until_on = excluded.until_on
"""
