"""SQL of usage by meter, unit, building and project, through the guarded views."""

from typing import LiteralString

CODES_LIKE: LiteralString = """
    SELECT code FROM meter WHERE project_id = %(project_id)s AND starts_with(lower(code), lower(%(start)s))
    ORDER BY code LIMIT %(limit)s
"""
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
