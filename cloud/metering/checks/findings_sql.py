"""SQL of findings, for every rule: those that hold are kept, open ones that no longer hold are forgotten."""

from typing import LiteralString

# What people decided stays as they decided it, even when it no longer holds or is found again.
FORGET: LiteralString = """
    DELETE FROM meter_exception x
    USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS s (meter_id, channel, from_at, until_at)
    WHERE x.meter_id = s.meter_id AND x.channel = s.channel AND x.rule = ANY (%(rules)s) AND x.state = 'open'
      AND x.from_at >= s.from_at AND x.from_at < s.until_at
      AND NOT EXISTS (SELECT FROM unnest(%(found_meters)s, %(found_channels)s, %(found_rules)s::text[], %(found_from)s)
                                  AS f (meter_id, channel, rule, from_at)
                      WHERE f.meter_id = x.meter_id AND f.channel = x.channel AND f.rule = x.rule
                        AND f.from_at = x.from_at)
"""
KEEP: LiteralString = """
    INSERT INTO meter_exception AS x (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
    SELECT * FROM unnest(%(found_projects)s, %(found_meters)s, %(found_channels)s, %(found_rules)s::text[],
                         %(found_from)s, %(found_until)s, %(values)s::bigint[], %(expected)s::bigint[])
    ON CONFLICT (meter_id, channel, rule, from_at) DO UPDATE
    SET until_at = excluded.until_at, found = excluded.found, expected = excluded.expected
    WHERE x.state = 'open'
      AND (x.until_at, x.found, x.expected) IS DISTINCT FROM (excluded.until_at, excluded.found, excluded.expected)
"""
# OFFSET keeps it a look-up for each meter, whatever statistics say: else each portion of a run would read all that is
# open in the project.
OPEN: LiteralString = """
    SELECT x.id, x.meter_id, x.channel, x.rule, (extract(epoch FROM x.from_at) * 1000)::bigint AS from_ms
    FROM unnest(%(meters)s, %(from)s, %(until)s) AS w (meter_id, from_at, until_at)
    CROSS JOIN LATERAL (
        SELECT * FROM meter_exception o
        WHERE o.meter_id = w.meter_id AND o.from_at >= w.from_at AND o.from_at < w.until_at AND o.state = 'open'
          AND o.rule = ANY (%(rules)s)
        OFFSET 0) AS x
    WHERE x.project_id = %(project_id)s
"""
GONE: LiteralString = "DELETE FROM meter_exception WHERE id = ANY (%(ids)s) AND state = 'open'"
