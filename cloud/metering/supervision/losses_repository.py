"""SQL of the balances of master meters."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.metering.records import Medium

# One pass over the meters that hang on others or have others hanging on them. A meter counts for the time in which it
# was there, in local days; what is missing of that time is not known. Days come from the roll-up: of most meters at
# once, one by one only of those that came or went in between. Rows are read only of meters whose days do not add up
# (`crossing`: what lies in no day, such as a gap too long to be shaped), and of days with estimates (`shaped`). Codes 2
# to 6 of `method` are estimates.
_BALANCES: LiteralString = """
    WITH concerned AS MATERIALIZED (
        SELECT m.id, m.parent_id, m.code, m.place, m.unit_id, p.time_zone,
               greatest(%(start)s, m.installed_on::timestamp AT TIME ZONE p.time_zone) AS since,
               least(%(end)s, (m.removed_on + 1)::timestamp AT TIME ZONE p.time_zone) AS upto
        FROM meter m JOIN project p ON p.id = m.project_id
        WHERE m.project_id = %(project_id)s AND m.medium = %(medium)s
          AND (%(master_id)s::bigint IS NULL OR %(master_id)s IN (m.id, m.parent_id))
          AND (m.parent_id IS NOT NULL OR EXISTS (SELECT FROM meter c WHERE c.project_id = m.project_id
                                                  AND c.parent_id = m.id AND c.medium = m.medium))),
    days AS MATERIALIZED (
        SELECT d.meter_id, sum(d.quantity)::bigint AS quantity, sum(d.covered_s)::bigint AS covered_s,
               array_agg(d.start) FILTER (WHERE d.estimated_s > 0) AS shaped_days
        FROM usage_day d
        WHERE d.meter_id = ANY (ARRAY(SELECT id FROM concerned WHERE since = %(start)s AND upto = %(end)s))
          AND d.channel = %(channel)s AND d.start >= %(start)s AND d.start < %(end)s
        GROUP BY d.meter_id
        UNION ALL
        SELECT c.id, d.* FROM concerned c CROSS JOIN LATERAL (
            SELECT sum(d.quantity)::bigint, sum(d.covered_s)::bigint,
                   array_agg(d.start) FILTER (WHERE d.estimated_s > 0)
            FROM usage_day d WHERE d.meter_id = c.id AND d.channel = %(channel)s AND d.start >= c.since
                               AND d.start < c.upto AND d.start >= %(start)s AND d.start < %(end)s) AS d
        WHERE c.since > %(start)s OR c.upto < %(end)s),
    by_day AS MATERIALIZED (
        SELECT c.*, greatest(extract(epoch FROM c.upto - c.since), 0)::bigint AS expected_s,
               coalesce(d.quantity, 0) AS of_days, coalesce(d.covered_s, 0) AS days_s, d.shaped_days
        FROM concerned c LEFT JOIN days d ON d.meter_id = c.id),
    used AS MATERIALIZED (
        SELECT c.*, c.of_days + crossing.quantity AS quantity, c.days_s + crossing.covered_s AS covered_s,
               crossing.estimated + shaped.estimated AS estimated
        FROM by_day c
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(quantity), 0)::bigint AS quantity, coalesce(sum(length_s), 0)::bigint AS covered_s,
                   coalesce(sum(quantity) FILTER (WHERE method BETWEEN 2 AND 6), 0)::bigint AS estimated
            FROM usage u WHERE c.days_s < c.expected_s AND u.meter_id = c.id AND u.channel = %(channel)s
                           AND u.start >= c.since AND u.start < c.upto AND u.start >= %(start)s AND u.start < %(end)s
                           AND u.start + u.length_s * interval '1 second' <= c.upto
                           AND gm.reach(u.start, u.length_s, c.time_zone) > 1) AS crossing
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(u.quantity), 0)::bigint AS estimated
            FROM unnest(c.shaped_days) AS day (start)
            JOIN usage u ON u.meter_id = c.id AND u.channel = %(channel)s AND u.start >= day.start
             AND u.start < (day.start AT TIME ZONE c.time_zone + interval '1 day') AT TIME ZONE c.time_zone
             AND u.start >= %(start)s AND u.start < %(end)s AND u.method BETWEEN 3 AND 6
             AND gm.reach(u.start, u.length_s, c.time_zone) <= 1) AS shaped),
    below AS (
        SELECT parent_id, count(*) AS sub_meters, sum(quantity)::bigint AS subs, sum(expected_s)::bigint AS expected_s,
               sum(least(covered_s, expected_s))::bigint AS covered_s, sum(estimated)::bigint AS estimated,
               count(*) FILTER (WHERE covered_s < expected_s) AS incomplete
        FROM used WHERE parent_id IS NOT NULL GROUP BY parent_id)
    SELECT m.id AS meter_id, m.parent_id, m.code, m.place, m.unit_id, m.quantity AS master, b.subs, b.sub_meters,
           b.incomplete + (m.covered_s < m.expected_s)::int AS incomplete,
           m.covered_s + b.covered_s AS covered_s, m.expected_s + b.expected_s AS expected_s,
           m.estimated + b.estimated AS estimated
    FROM used m JOIN below b ON b.parent_id = m.id
    WHERE %(master_id)s::bigint IS NULL OR m.id = %(master_id)s
    ORDER BY m.id
"""
_CHILDREN: LiteralString = "SELECT id FROM meter WHERE parent_id = %s AND medium = %s ORDER BY id"


@dataclass(frozen=True, slots=True)
class Balance:
    """A master against its direct sub-meters, in the base unit.

    `incomplete`: how many of them all lack readings; `covered_s` of `expected_s`: for how much of their time usage is
    known; `estimated`: how much of the quantities is shaped by an estimate.
    """

    meter_id: int
    parent_id: int | None
    code: str
    place: str
    unit_id: int | None
    master: int
    subs: int
    sub_meters: int
    incomplete: int
    covered_s: int
    expected_s: int
    estimated: int

    @property
    def is_complete(self) -> bool:
        """Whether no reading is missing."""
        return self.incomplete == 0


async def balances(
    conn: Conn,
    project_id: int,
    medium: Medium,
    channel: int,
    start: datetime,
    end: datetime,
    master_id: int | None = None,
) -> list[Balance]:
    """Balances of all masters of a medium, or of one, by id."""
    query = {
        "project_id": project_id,
        "medium": medium,
        "channel": channel,
        "start": start,
        "end": end,
        "master_id": master_id,
    }
    return [Balance(**row) for row in await (await conn.execute(_BALANCES, query)).fetchall()]


async def children(conn: Conn, meter_id: int, medium: Medium) -> list[int]:
    """Direct sub-meters of a medium."""
    return [row["id"] for row in await (await conn.execute(_CHILDREN, (meter_id, medium))).fetchall()]
