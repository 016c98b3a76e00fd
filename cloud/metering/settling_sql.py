"""SQL of settling: changed usage in, subjects and rows out, findings written."""

from typing import LiteralString

CHANGED_METERS: LiteralString = """
    SELECT DISTINCT meter_id FROM store.changed_usage WHERE meter_id > %(after)s ORDER BY meter_id LIMIT %(limit)s
"""
LOCK: LiteralString = """
    SELECT id FROM unnest(%(ids)s::bigint[]) AS id WHERE pg_try_advisory_xact_lock(%(space)s + id)
"""
TAKE: LiteralString = """
    WITH taken AS (DELETE FROM store.changed_usage WHERE meter_id = ANY (%(ids)s)
                   RETURNING project_id, meter_id, channel, from_at, until_at)
    SELECT project_id, meter_id, channel, min(from_at) AS from_at, max(until_at) AS until_at
    FROM taken GROUP BY project_id, meter_id, channel ORDER BY project_id, meter_id, channel
"""
# What the rules must know of a meter, with what is said about its class and about itself.
SUBJECTS: LiteralString = """
    SELECT m.id, m.medium, m.class AS meter_class, m.interval_s, m.unit_id, r.resolution,
           (r.multiplier * 10000)::bigint AS multiplier_e4, own.settings AS of_meter
    FROM meter m JOIN current_register r ON r.meter_id = m.id
    LEFT JOIN validation_threshold own ON own.meter_id = m.id
    WHERE m.project_id = %(project_id)s AND m.id = ANY (%(ids)s) ORDER BY m.id
"""
OF_CLASSES: LiteralString = """
    SELECT class, settings FROM validation_threshold WHERE project_id = %(project_id)s AND class IS NOT NULL
"""
# `low` and `high` bound all of them: partitions outside are not even planned for. Sorted by whoever reads it.
ROWS: LiteralString = """
    SELECT array_agg(w.nth - 1), array_agg(u.start), array_agg(u.length_s), array_agg(u.quantity), array_agg(u.method)
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::bigint[], %(until)s::bigint[])
         WITH ORDINALITY AS w (meter_id, channel, from_ms, until_ms, nth)
    JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
     AND u.start >= %(low)s::timestamptz AND u.start < %(high)s::timestamptz
     AND u.start >= timestamptz 'epoch' + w.from_ms * interval '1 millisecond'
     AND u.start < timestamptz 'epoch' + w.until_ms * interval '1 millisecond'
"""
# One row per channel and day that has usage, and for the day before. Methods 2 to 6 are no differences of readings.
CHANNEL_DAYS: LiteralString = """
    SELECT array_agg(nth - 1), array_agg(channel), array_agg(now), array_agg(quantity), array_agg(real),
           array_agg(covered_s)
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
OPEN_FINDINGS: LiteralString = """
    SELECT x.id, x.meter_id, x.channel, x.rule, (extract(epoch FROM x.from_at) * 1000)::bigint AS from_ms
    FROM unnest(%(meters)s::bigint[], %(from)s::bigint[], %(until)s::bigint[]) AS w (meter_id, from_ms, until_ms)
    JOIN meter_exception x ON x.meter_id = w.meter_id
     AND x.from_at >= timestamptz 'epoch' + w.from_ms * interval '1 millisecond'
     AND x.from_at < timestamptz 'epoch' + w.until_ms * interval '1 millisecond'
    WHERE x.project_id = %(project_id)s AND x.state = 'open' AND x.rule = ANY (%(rules)s)
"""
GONE: LiteralString = "DELETE FROM meter_exception WHERE id = ANY (%(ids)s) AND state = 'open'"
# What was decided stays decided, whatever the rule says now.
KEEP: LiteralString = """
    INSERT INTO meter_exception AS x (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
    SELECT %(project_id)s, meter_id, channel, rule, timestamptz 'epoch' + from_ms * interval '1 millisecond',
           timestamptz 'epoch' + until_ms * interval '1 millisecond', found, expected
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(rules)s::text[], %(from)s::bigint[],
                %(until)s::bigint[], %(found)s::bigint[], %(expected)s::bigint[])
         AS f (meter_id, channel, rule, from_ms, until_ms, found, expected)
    ON CONFLICT (meter_id, channel, rule, from_at) DO UPDATE
    SET until_at = excluded.until_at, found = excluded.found, expected = excluded.expected
    WHERE x.state = 'open' AND (x.until_at, x.found, x.expected)
          IS DISTINCT FROM (excluded.until_at, excluded.found, excluded.expected)
"""
