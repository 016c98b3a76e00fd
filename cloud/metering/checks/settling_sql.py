"""SQL of settling: changed usage and late loads in, rows to judge out."""

from typing import LiteralString

CHANGED_METERS: LiteralString = """
    SELECT DISTINCT meter_id
    FROM (SELECT meter_id FROM store.changed_usage UNION ALL SELECT meter_id FROM store.late_load) AS changed
    WHERE meter_id > %(after)s AND CASE
                WHEN %(among)s::bigint[] IS NOT NULL THEN meter_id = ANY (%(among)s)
                ELSE meter_id NOT IN (SELECT meter_id FROM store.set_aside WHERE work = 'settle') END
    ORDER BY meter_id LIMIT %(limit)s
"""
TAKE: LiteralString = """
    WITH usage AS (DELETE FROM store.changed_usage WHERE meter_id = ANY (%(ids)s)
                   RETURNING project_id, meter_id, channel, from_at, until_at),
    loads AS (DELETE FROM store.late_load WHERE meter_id = ANY (%(ids)s)
              RETURNING project_id, meter_id, channel, from_at, until_at)
    SELECT project_id, meter_id, channel, min(from_at) AS from_at, max(until_at) AS until_at
    FROM (SELECT * FROM usage UNION ALL SELECT * FROM loads) AS taken
    GROUP BY project_id, meter_id, channel ORDER BY project_id, meter_id, channel
"""
# `low` and `high` bound all of them: partitions outside are not even planned for. Sorted by whoever reads it.
ROWS: LiteralString = """
    SELECT w.nth - 1, u.start, u.length_s, u.quantity, u.method
    FROM unnest(%(meters)s, %(channels)s, %(from)s, %(until)s)
         WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
    JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
     AND u.start >= %(low)s::timestamptz AND u.start < %(high)s::timestamptz
     AND u.start >= w.from_at AND u.start < w.until_at
"""
OPEN_SUMS: LiteralString = """
    SELECT DISTINCT meter_id FROM meter_exception
    WHERE project_id = %(project_id)s AND meter_id = ANY (%(ids)s) AND rule = 'register-sum' AND state = 'open'
"""
# One row per channel and day that has usage, and for the day before. Methods 2 to 6 are no differences of readings.
CHANNEL_DAYS: LiteralString = """
    SELECT nth - 1, channel, now, quantity, real, covered_s
    FROM (SELECT w.nth, c.channel, (u.start >= d.at)::int::smallint AS now, sum(u.quantity)::bigint AS quantity,
                 count(*) FILTER (WHERE u.method NOT BETWEEN 2 AND 6) AS real,
                 coalesce(sum(u.length_s) FILTER (WHERE u.method NOT BETWEEN 2 AND 6), 0)::bigint AS covered_s
          FROM unnest(%(meters)s::bigint[], %(before)s::bigint[], %(from)s::bigint[], %(until)s::bigint[])
               WITH ORDINALITY AS w (meter_id, before_ms, from_ms, until_ms, nth)
          CROSS JOIN LATERAL (SELECT timestamptz 'epoch' + w.from_ms * interval '1 millisecond' AS at) AS d
          CROSS JOIN unnest(%(channels)s::smallint[]) AS c (channel)
          JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = c.channel
           AND u.start >= timestamptz 'epoch' + w.before_ms * interval '1 millisecond'
           AND u.start < timestamptz 'epoch' + w.until_ms * interval '1 millisecond'
          GROUP BY 1, 2, 3) AS days
"""
