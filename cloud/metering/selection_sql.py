"""SQL of usage by meter, unit, building and project, through the guarded views."""

from typing import LiteralString

# A meter below another one of the selection is part of what that one counts.
CHOSEN: LiteralString = """
    WITH RECURSIVE chosen AS (
        SELECT m.id, m.code, m.parent_id, m.unit_id, u.building_id
        FROM meter m LEFT JOIN unit u ON u.id = m.unit_id
        WHERE m.project_id = %(project_id)s AND m.medium = %(medium)s
          AND (%(meter_id)s::bigint IS NULL OR m.id = %(meter_id)s)
          AND (%(unit_id)s::bigint IS NULL OR m.unit_id = %(unit_id)s)
          AND (%(building_id)s::bigint IS NULL OR u.building_id = %(building_id)s)),
    above (id, ancestor) AS (
        SELECT id, parent_id FROM chosen WHERE parent_id IS NOT NULL
        UNION
        SELECT a.id, m.parent_id FROM above a JOIN meter m ON m.id = a.ancestor WHERE m.parent_id IS NOT NULL)
    SELECT c.id, c.code, c.unit_id, c.building_id,
           EXISTS (SELECT FROM above a JOIN chosen master ON master.id = a.ancestor WHERE a.id = c.id) AS below
    FROM chosen c ORDER BY c.id
"""
# A row inside a bar adds to it. A row over an edge makes the bars it touches unknown for its meter; so does the long
# row that began before the first edge.
BARS: LiteralString = """
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
               sum(length_s) AS covered_s, bool_or(method BETWEEN 3 AND 6) AS estimated
        FROM touching CROSS JOIN LATERAL generate_series(greatest(first, 1), least(last, %(bars)s)) AS bar
        GROUP BY part, meter_id, bar)
    SELECT part, bar - 1 AS bar, sum(quantity) FILTER (WHERE NOT broken)::bigint AS quantity,
           coalesce(sum(covered_s) FILTER (WHERE NOT broken), 0)::bigint AS covered_s, bool_or(broken) AS gap,
           coalesce(bool_or(estimated) FILTER (WHERE NOT broken), false) AS estimated
    FROM by_meter GROUP BY part, bar
"""
