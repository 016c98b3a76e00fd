"""SQL of the health of meters: one statement over all meters of some projects, details only of the page shown."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.metering.records import Medium

# When a meter was last heard of is kept for its device; only where no device carries it readings are looked at. What
# is out of line among its usage (estimates, rollovers) and its findings is found by indexes that hold nothing else.
_JUDGED: LiteralString = """
    WITH heard AS MATERIALIZED (
        SELECT m.id, p.time_zone, coalesce(s.seen_at, manual.taken_at) AS seen_at,
               CASE m.medium WHEN 'electricity' THEN 1 WHEN 'water' THEN 70 ELSE 72 END::smallint AS channel
        FROM meter m JOIN project p ON p.id = m.project_id
        LEFT JOIN device_binding d ON d.meter_id = m.id AND d.valid @> %(now)s::timestamptz
        LEFT JOIN device_state s ON s.device_id = d.device_id
        LEFT JOIN LATERAL (
            SELECT r.taken_at FROM reading r
            WHERE d.id IS NULL AND r.meter_id = m.id AND r.taken_at > %(now)s::timestamptz - interval '90 days'
            ORDER BY r.taken_at DESC LIMIT 1) AS manual ON true
        WHERE m.project_id = ANY (%(projects)s::bigint[])
          AND (m.removed_on IS NULL OR m.removed_on >= (%(now)s::timestamptz AT TIME ZONE p.time_zone)::date
               OR m.id IN (SELECT meter_id FROM meter_set_aside))),
    judged AS MATERIALIZED (
        SELECT m.id, m.code, m.medium, m.unit_id, m.place, m.interval_s, m.verification_due, h.seen_at,
               h.channel,
               coalesce(h.seen_at < %(now)s::timestamptz - %(intervals)s * m.interval_s * interval '1 second', true)
                   AS silent,
               coalesce(m.verification_due <= (%(now)s::timestamptz AT TIME ZONE h.time_zone)::date + %(ahead)s, false)
                   AS due,
               EXISTS (SELECT FROM usage u WHERE u.meter_id = m.id AND u.channel = h.channel
                       AND u.start >= %(since)s AND u.method BETWEEN 1 AND 6 AND u.method > 1) AS estimates,
               EXISTS (SELECT FROM meter_exception e WHERE e.meter_id = m.id AND e.from_at >= %(since)s
                       AND e.rule = 'gap') AS gaps,
               EXISTS (SELECT FROM meter_exception e WHERE e.meter_id = m.id AND e.from_at >= %(since)s
                       AND e.rule = 'backward') AS rollback,
               m.id IN (SELECT meter_id FROM meter_set_aside) AS set_aside
        FROM heard h JOIN meter m ON m.id = h.id
        WHERE %(medium)s::text IS NULL OR m.medium = %(medium)s)
"""
_TOTALS: LiteralString = """
    SELECT count(*) AS meters, count(*) FILTER (WHERE silent) AS silent, count(*) FILTER (WHERE gaps) AS gaps,
           count(*) FILTER (WHERE estimates) AS estimates, count(*) FILTER (WHERE rollback) AS rollback,
           count(*) FILTER (WHERE due) AS due,
           count(*) FILTER (WHERE set_aside) AS set_aside
    FROM judged
"""
_PAGE: LiteralString = """
    , page AS (
        SELECT * FROM judged
        WHERE id > %(after)s AND (%(only)s::text IS NULL OR CASE %(only)s
              WHEN 'silent' THEN silent WHEN 'gaps' THEN gaps WHEN 'estimates' THEN estimates
              WHEN 'rollback' THEN rollback WHEN 'due' THEN due WHEN 'set-aside' THEN set_aside END)
        ORDER BY id LIMIT %(limit)s)
    SELECT p.*, found.gap_count, found.open_count, odd.rollovers, odd.estimated_s, refused.refused_count,
           battery.battery_mv
    FROM page p
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE e.rule = 'gap' AND e.from_at >= %(since)s) AS gap_count,
               count(*) FILTER (WHERE e.state = 'open') AS open_count
        FROM meter_exception e WHERE e.meter_id = p.id) AS found
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE u.method = 1) AS rollovers,
               coalesce(sum(u.length_s) FILTER (WHERE u.method > 1), 0)::bigint AS estimated_s
        FROM usage u
        WHERE u.meter_id = p.id AND u.channel = p.channel AND u.start >= %(since)s
          AND u.method BETWEEN 1 AND 6) AS odd
    CROSS JOIN LATERAL (
        SELECT count(*) AS refused_count FROM refused_reading f
        WHERE f.meter_id = p.id AND f.taken_at >= %(since)s) AS refused
    LEFT JOIN LATERAL (
        SELECT r.value AS battery_mv FROM reading r
        WHERE r.meter_id = p.id AND r.channel = 100 AND r.taken_at >= %(since)s
        ORDER BY r.taken_at DESC LIMIT 1) AS battery ON true
    ORDER BY p.id
"""


@dataclass(frozen=True, slots=True)
class HealthTotals:
    """How many meters there are, and how many of them each filter finds."""

    meters: int
    silent: int
    gaps: int
    estimates: int
    rollback: int
    due: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class MeterHealth:
    """A meter as its readings of the last 30 days show it.

    `seen_at`: newest reading, None when never heard of. `gap_count`, `rollovers`, `refused_count`: of the 30 days;
    `estimated_s`: seconds of them that are estimated. `open_count`: findings nobody has decided. `battery_mv`: of its
    newest reading, None where it has no such channel.
    """

    id: int
    code: str
    medium: Medium
    unit_id: int | None
    place: str
    interval_s: int
    verification_due: date | None
    seen_at: datetime | None
    channel: int
    silent: bool
    due: bool
    estimates: bool
    gaps: bool
    rollback: bool
    set_aside: bool
    gap_count: int
    open_count: int
    rollovers: int
    estimated_s: int
    refused_count: int
    battery_mv: int | None


async def totals(conn: Conn, query: dict[str, Any]) -> HealthTotals:
    """Counts over all meters of the projects."""
    row = await (await conn.execute(_JUDGED + _TOTALS, query)).fetchone()
    assert row is not None
    return HealthTotals(**row)


async def page(conn: Conn, query: dict[str, Any]) -> list[MeterHealth]:
    """Meters by id."""
    return [MeterHealth(**row) for row in await (await conn.execute(_JUDGED + _PAGE, query)).fetchall()]
