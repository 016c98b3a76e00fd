"""SQL of deriving usage: dirty windows, their bounds, readings in, rows and refused readings out."""

from typing import LiteralString

DIRTY_METERS: LiteralString = """
    SELECT DISTINCT meter_id FROM store.dirty_window WHERE meter_id > %(after)s ORDER BY meter_id LIMIT %(limit)s
"""
LOCK: LiteralString = """
    SELECT id FROM unnest(%(ids)s::bigint[]) AS id WHERE pg_try_advisory_xact_lock(%(space)s + id)
"""
TAKE: LiteralString = """
    WITH taken AS (DELETE FROM store.dirty_window WHERE meter_id = ANY (%(ids)s)
                   RETURNING meter_id, channel, from_at, until_at)
    SELECT meter_id, channel, (extract(epoch FROM min(from_at)) * 1000)::bigint AS from_ms,
           (extract(epoch FROM max(until_at)) * 1000)::bigint AS until_ms
    FROM taken GROUP BY meter_id, channel ORDER BY meter_id, channel
"""
# Refused readings are bases and boundaries of nothing.
BOUNDS: LiteralString = """
    WITH wanted AS (
        SELECT nth - 1 AS nth, meter_id, channel, grid,
               timestamptz 'epoch' + from_ms * interval '1 millisecond' AS from_at,
               timestamptz 'epoch' + next_ms * interval '1 millisecond' AS next_at
        FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::bigint[], %(next)s::bigint[],
                    %(grids)s::bigint[]) WITH ORDINALITY AS w (meter_id, channel, from_ms, next_ms, grid, nth))
    SELECT w.nth, (extract(epoch FROM boundary.taken_at) * 1000)::bigint AS boundary_ms,
           (extract(epoch FROM base.taken_at) * 1000)::bigint AS base_ms,
           (extract(epoch FROM after.taken_at) * 1000)::bigint AS after_ms,
           (SELECT count(*) FROM (SELECT FROM store.reading r
                                  WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at < w.from_at
                                  ORDER BY r.taken_at LIMIT %(opening)s) AS first) AS before
    FROM wanted w
    LEFT JOIN LATERAL (
        SELECT r.taken_at FROM store.reading r
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at < w.from_at
          AND ((extract(epoch FROM r.taken_at) * 1000)::bigint + w.grid) %% 3600000 < %(tolerance_ms)s
          AND NOT EXISTS (SELECT FROM store.refused_reading e
                          WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at DESC LIMIT 1) AS boundary ON true
    LEFT JOIN LATERAL (
        SELECT r.taken_at FROM store.reading r
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at < w.from_at
          AND NOT EXISTS (SELECT FROM store.refused_reading e
                          WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at DESC LIMIT 1) AS base ON true
    LEFT JOIN LATERAL (
        SELECT r.taken_at FROM store.reading r
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at >= w.next_at
          AND ((extract(epoch FROM r.taken_at) * 1000)::bigint + w.grid) %% 3600000 < %(tolerance_ms)s
          AND NOT EXISTS (SELECT FROM store.refused_reading e
                          WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at LIMIT 1) AS after ON true
    ORDER BY w.nth
"""
READINGS: LiteralString = """
    COPY (SELECT w.nth - 1, r.taken_at, r.value, r.quality
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::bigint[], %(until)s::bigint[],
                      %(dirty)s::bigint[]) WITH ORDINALITY
               AS w (meter_id, channel, from_ms, until_ms, dirty_ms, nth)
          CROSS JOIN LATERAL (
              SELECT taken_at, value, quality FROM store.reading r
              WHERE r.meter_id = w.meter_id AND r.channel = w.channel
                AND r.taken_at >= timestamptz 'epoch' + w.from_ms * interval '1 millisecond'
                AND r.taken_at <= timestamptz 'epoch' + w.until_ms * interval '1 millisecond'
                AND (r.taken_at >= timestamptz 'epoch' + w.dirty_ms * interval '1 millisecond' OR NOT EXISTS (
                     SELECT FROM store.refused_reading e
                     WHERE e.meter_id = r.meter_id AND e.channel = r.channel AND e.taken_at = r.taken_at))) AS r
          ORDER BY 1, 2) TO STDOUT (FORMAT BINARY)
"""
OLD_ROWS: LiteralString = """
    COPY (SELECT w.nth - 1, u.start, u.length_s, u.quantity, u.quality, u.method
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(low)s::bigint[], %(high)s::bigint[])
               WITH ORDINALITY AS w (meter_id, channel, low_ms, high_ms, nth)
          JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
           AND u.start >= timestamptz 'epoch' + w.low_ms * interval '1 millisecond'
           AND u.start < timestamptz 'epoch' + w.high_ms * interval '1 millisecond'
          ORDER BY 1, 2) TO STDOUT (FORMAT BINARY)
"""
REMOVE: LiteralString = """
    DELETE FROM store.usage u USING unnest(%(meters)s, %(channels)s, %(starts)s) AS gone (meter_id, channel, start)
    WHERE u.meter_id = gone.meter_id AND u.channel = gone.channel AND u.start = gone.start
"""
CHANGE: LiteralString = """
    UPDATE store.usage u SET length_s = n.length_s, quantity = n.quantity, quality = n.quality, method = n.method,
                             version = u.version + 1
    FROM unnest(%(meters)s, %(channels)s, %(starts)s, %(lengths)s, %(quantities)s, %(qualities)s, %(methods)s)
         AS n (meter_id, channel, start, length_s, quantity, quality, method)
    WHERE u.meter_id = n.meter_id AND u.channel = n.channel AND u.start = n.start
"""
ADD: LiteralString = """
    COPY store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
    FROM STDIN (FORMAT BINARY)
"""
FORGET_REFUSED: LiteralString = """
    WITH gone AS (
        DELETE FROM store.refused_reading e
        USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS w (meter_id, channel, from_at, until_at)
        WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at BETWEEN w.from_at AND w.until_at
          AND NOT EXISTS (SELECT FROM unnest(%(refused_meters)s, %(refused_channels)s, %(refused_times)s)
                                      AS r (meter_id, channel, taken_at)
                          WHERE r.meter_id = e.meter_id AND r.channel = e.channel AND r.taken_at = e.taken_at)
        RETURNING e.meter_id, e.channel, e.taken_at)
    DELETE FROM meter_exception x USING gone
    WHERE x.meter_id = gone.meter_id AND x.channel = gone.channel AND x.from_at = gone.taken_at
      AND x.rule IN ('backward', 'maximum') AND x.state = 'open'
"""
KEEP_REFUSED: LiteralString = """
    WITH refused AS (
        SELECT * FROM unnest(%(refused_meters)s, %(refused_channels)s, %(refused_times)s, %(values)s, %(codes)s,
                             %(projects)s) AS r (meter_id, channel, taken_at, value, code, project_id)),
    kept AS (
        INSERT INTO store.refused_reading AS e (meter_id, channel, taken_at, code)
        SELECT meter_id, channel, taken_at, code FROM refused
        ON CONFLICT (meter_id, channel, taken_at) DO UPDATE SET code = excluded.code WHERE e.code <> excluded.code
        RETURNING meter_id, channel, taken_at, code),
    other AS (
        DELETE FROM meter_exception x USING kept
        WHERE x.meter_id = kept.meter_id AND x.channel = kept.channel AND x.from_at = kept.taken_at AND x.state = 'open'
          AND x.rule = CASE kept.code WHEN 2 THEN 'maximum' ELSE 'backward' END)
    INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found)
    SELECT r.project_id, r.meter_id, r.channel, CASE r.code WHEN 2 THEN 'backward' ELSE 'maximum' END, r.taken_at,
           r.taken_at, r.value
    FROM refused r JOIN kept USING (meter_id, channel, taken_at)
    ON CONFLICT (meter_id, channel, rule, from_at) DO NOTHING
"""
