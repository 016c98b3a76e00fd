"""SQL of deriving usage: dirty windows, readings and what is known of their registers in, rows and findings out.

Registers are named by their position (`nth`) in the arrays of meters and channels that the statements take.
"""

from typing import LiteralString

# As many meters as are given, but not many more days of readings than that: both are bounded by the memory they take.
KEPT_FROM: LiteralString = """
    SELECT (extract(epoch FROM gm.readings_kept_from()) * 1000)::bigint AS kept_from_ms
"""
DIRTY_METERS: LiteralString = """
    SELECT meter_id FROM (
        SELECT meter_id, sum(days) OVER (ORDER BY meter_id) - days AS before FROM (
            SELECT meter_id, count(DISTINCT channel) * (extract(epoch FROM max(least(until_at, now())) - min(from_at))
                                                        / 86400 + 1) AS days
            FROM store.dirty_window
            WHERE meter_id > %(after)s AND CASE
                WHEN %(among)s::bigint[] IS NOT NULL THEN meter_id = ANY (%(among)s)
                ELSE meter_id NOT IN (SELECT meter_id FROM store.set_aside WHERE work = 'derive') END
            GROUP BY meter_id ORDER BY meter_id LIMIT %(limit)s) AS d
    ) AS waiting WHERE before < %(days)s ORDER BY meter_id
"""
COUNT_DIRTY: LiteralString = "SELECT count(DISTINCT meter_id) AS meters FROM store.dirty_window"
# Windows may reach to infinity, as the life of a register does.
TAKE: LiteralString = """
    WITH taken AS (DELETE FROM store.dirty_window WHERE meter_id = ANY (%(ids)s)
                   RETURNING meter_id, channel, from_at, until_at, created_at)
    SELECT t.meter_id, t.channel, m.project_id, m.medium, m.parent_id IS NULL AS top, m.interval_s,
           (extract(epoch FROM greatest(min(from_at), 'epoch')) * 1000)::bigint AS from_ms,
           (extract(epoch FROM least(max(until_at), '2100-01-01')) * 1000)::bigint AS until_ms,
           (extract(epoch FROM min(t.created_at)) * 1000)::bigint AS since_ms
    FROM taken t JOIN meter m ON m.id = t.meter_id
    GROUP BY t.meter_id, t.channel, m.id ORDER BY t.meter_id, t.channel
"""
# Readings and rows are sorted by whoever reads them: they come in order already, or nearly.
READINGS: LiteralString = """
    SELECT w.nth - 1, r.taken_at, r.value, r.quality
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::timestamptz[],
                      %(until)s::timestamptz[])
               WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
          CROSS JOIN LATERAL (
              SELECT taken_at, value, quality FROM store.reading r
              WHERE r.meter_id = w.meter_id AND r.channel = w.channel
                AND r.taken_at >= w.from_at AND r.taken_at <= w.until_at
                AND r.taken_at >= %(low)s AND r.taken_at <= %(high)s) AS r
"""
REGISTERS: LiteralString = """
    SELECT w.nth - 1, (extract(epoch FROM lower(r.valid)) * 1000)::bigint,
                 coalesce((extract(epoch FROM upper(r.valid)) * 1000)::bigint, %(end)s::bigint),
                 r.modulus, r.max_per_hour, (r.multiplier * 10000)::bigint, coalesce(e.opening, -1::bigint),
                 coalesce(e.closing, -1::bigint)
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[]) WITH ORDINALITY AS w (meter_id, channel, nth)
          JOIN meter_register r ON r.meter_id = w.meter_id
          LEFT JOIN register_end e ON e.register_id = r.id AND e.channel = w.channel
          ORDER BY 1, 2
"""
REFUSED: LiteralString = """
    SELECT w.nth - 1, e.taken_at, e.code
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::timestamptz[],
                      %(until)s::timestamptz[])
               WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
          JOIN store.refused_reading e ON e.meter_id = w.meter_id AND e.channel = w.channel
           AND e.taken_at >= w.from_at AND e.taken_at <= w.until_at
          ORDER BY 1, 2
"""
# 0 set, 1 use, 2 ignore, 3 original.
EDITS: LiteralString = """
    SELECT DISTINCT ON (w.nth, e.taken_at) w.nth - 1, e.taken_at,
                 array_position(ARRAY['set', 'use', 'ignore', 'original'], e.action)::smallint - 1::smallint,
                 coalesce(e.value, 0)
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::timestamptz[],
                      %(until)s::timestamptz[])
               WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
          JOIN reading_edit e ON e.meter_id = w.meter_id AND e.channel = w.channel
           AND e.taken_at >= w.from_at AND e.taken_at <= w.until_at
          ORDER BY w.nth, e.taken_at, e.version DESC
"""
OLD_ROWS: LiteralString = """
    SELECT w.nth - 1, u.start, u.length_s, u.quantity, u.quality, u.method
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::timestamptz[],
                      %(until)s::timestamptz[])
               WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
          JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
           AND u.start >= w.from_at AND u.start < w.until_at
           AND u.start >= %(low)s AND u.start < %(high)s
"""
# A row that comes back goes on with the versions that it had.
SUPERSEDED: LiteralString = """
    SELECT w.nth - 1, s.start, max(s.version)
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::timestamptz[],
                      %(until)s::timestamptz[])
               WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
          JOIN store.usage_superseded s ON s.meter_id = w.meter_id AND s.channel = w.channel
           AND s.start >= w.from_at AND s.start < w.until_at
          GROUP BY 1, 2 ORDER BY 1, 2
"""
REMOVE: LiteralString = """
    WITH gone AS (
        DELETE FROM store.usage u USING unnest(%(meters)s, %(channels)s, %(starts)s) AS g (meter_id, channel, start)
        WHERE u.meter_id = g.meter_id AND u.channel = g.channel AND u.start = g.start
        RETURNING u.meter_id, u.channel, u.start, u.version, u.length_s, u.quantity, u.quality, u.method, u.project_id)
    INSERT INTO store.usage_superseded (meter_id, channel, start, version, length_s, quantity, quality, method,
                                        project_id)
    SELECT * FROM gone
"""
KEEP_REPLACED: LiteralString = """
    INSERT INTO store.usage_superseded (meter_id, channel, start, version, length_s, quantity, quality, method,
                                        project_id)
    SELECT u.meter_id, u.channel, u.start, u.version, u.length_s, u.quantity, u.quality, u.method, u.project_id
    FROM unnest(%(meters)s, %(channels)s, %(starts)s) AS n (meter_id, channel, start)
    JOIN store.usage u ON u.meter_id = n.meter_id AND u.channel = n.channel AND u.start = n.start
"""
CHANGE: LiteralString = """
    UPDATE store.usage u SET length_s = n.length_s, quantity = n.quantity, quality = n.quality, method = n.method,
                             version = u.version + 1
    FROM unnest(%(meters)s, %(channels)s, %(starts)s, %(lengths)s, %(quantities)s, %(qualities)s, %(methods)s)
         AS n (meter_id, channel, start, length_s, quantity, quality, method)
    WHERE u.meter_id = n.meter_id AND u.channel = n.channel AND u.start = n.start
"""
ADD: LiteralString = """
    COPY store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id, version)
    FROM STDIN (FORMAT BINARY)
"""
CHANGED: LiteralString = """
    INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
    SELECT * FROM unnest(%(meters)s, %(channels)s, %(projects)s, %(from)s, %(until)s)
"""
REPLACE_REFUSED: LiteralString = """
    WITH found AS (SELECT * FROM unnest(%(refused_meters)s, %(refused_channels)s, %(times)s, %(codes)s)
                                 AS f (meter_id, channel, taken_at, code)),
    gone AS (
        DELETE FROM store.refused_reading e
        USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS w (meter_id, channel, from_at, until_at)
        WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at >= w.from_at AND e.taken_at <= w.until_at
          AND NOT EXISTS (SELECT FROM found f WHERE f.meter_id = e.meter_id AND f.channel = e.channel
                          AND f.taken_at = e.taken_at))
    INSERT INTO store.refused_reading AS e (meter_id, channel, taken_at, code) SELECT * FROM found
    ON CONFLICT (meter_id, channel, taken_at) DO UPDATE SET code = excluded.code WHERE e.code <> excluded.code
"""
REPLACE_GAPS: LiteralString = """
    WITH found AS (SELECT * FROM unnest(%(gap_meters)s, %(gap_channels)s, %(gap_from)s, %(gap_until)s)
                                 AS f (meter_id, channel, from_at, until_at)),
    gone AS (
        DELETE FROM store.estimated_gap g
        USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS w (meter_id, channel, from_at, until_at)
        WHERE g.meter_id = w.meter_id AND g.channel = w.channel AND g.from_at >= w.from_at AND g.from_at < w.until_at
          AND NOT EXISTS (SELECT FROM found f WHERE f.meter_id = g.meter_id AND f.channel = g.channel
                          AND f.from_at = g.from_at))
    INSERT INTO store.estimated_gap (meter_id, channel, from_at, until_at) SELECT * FROM found
    ON CONFLICT (meter_id, channel, from_at) DO UPDATE SET until_at = excluded.until_at
"""
REPLACE_TURNS: LiteralString = """
    WITH found AS (SELECT * FROM unnest(%(turn_meters)s, %(turn_channels)s, %(turn_times)s, %(turn_projects)s,
                                        %(raised)s)
                                 AS f (meter_id, channel, taken_at, project_id, raised)),
    gone AS (
        DELETE FROM store.register_turn t
        USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS w (meter_id, channel, from_at, until_at)
        WHERE t.meter_id = w.meter_id AND t.channel = w.channel AND t.taken_at >= w.from_at AND t.taken_at <= w.until_at
          AND NOT EXISTS (SELECT FROM found f WHERE f.meter_id = t.meter_id AND f.channel = t.channel
                          AND f.taken_at = t.taken_at))
    INSERT INTO store.register_turn AS t (meter_id, channel, taken_at, project_id, raised) SELECT * FROM found
    ON CONFLICT (meter_id, channel, taken_at) DO UPDATE SET raised = excluded.raised WHERE t.raised <> excluded.raised
"""
# Gaps behind what was replaced are shaped after rows that changed: they are looked at once more. They wait since what
# made them wait came.
SHAPE_AGAIN: LiteralString = """
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at, created_at)
    SELECT g.meter_id, g.channel, w.project_id, g.from_at, g.until_at, w.since
    FROM unnest(%(meters)s, %(channels)s, %(projects)s, %(from)s, %(until)s, %(since)s)
         AS w (meter_id, channel, project_id, from_at, until_at, since)
    JOIN store.estimated_gap g ON g.meter_id = w.meter_id AND g.channel = w.channel
     AND g.from_at >= w.from_at AND g.from_at < w.until_at
"""
