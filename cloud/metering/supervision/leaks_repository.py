"""SQL of night flows: only measured rows (`method` 0, 1, 7) say anything about a leak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn

# A night counts when all its hours are measured; rows shorter than an hour are added up first. Hours are counted from
# the beginning of the night, so that zones off the full hour have whole ones.
_OF_NIGHTS: LiteralString = """
    SELECT n.nth, min(h.quantity) AS flow
    FROM unnest(%(starts)s::timestamptz[], %(stops)s::timestamptz[]) WITH ORDINALITY AS n (start, stop, nth)
    CROSS JOIN LATERAL (
        SELECT date_bin('1 hour', u.start, n.start) AS hour, sum(u.quantity)::bigint AS quantity,
               sum(u.length_s) AS length_s
        FROM usage u
        WHERE u.meter_id = %(meter_id)s AND u.channel = %(channel)s AND u.start >= n.start AND u.start < n.stop
          AND u.method IN (0, 1, 7) AND u.length_s <= 3600
        GROUP BY 1) AS h
    GROUP BY n.nth, n.start, n.stop HAVING sum(h.length_s) = extract(epoch FROM n.stop - n.start)
"""
_RANKING: LiteralString = """
    SELECT m.id AS meter_id, m.code, m.unit_id, m.place, f.flow, f.nights
    FROM unnest(%(meters)s::bigint[], %(bounds)s::bigint[]) AS w (meter_id, bound)
    JOIN meter m ON m.id = w.meter_id CROSS JOIN LATERAL (
        SELECT min(one.flow)::bigint AS flow, count(*) AS nights FROM (
            SELECT min(h.quantity) AS flow
            FROM unnest(%(starts)s::timestamptz[], %(stops)s::timestamptz[]) AS n (start, stop)
            CROSS JOIN LATERAL (
                SELECT sum(u.quantity)::bigint AS quantity, sum(u.length_s) AS length_s
                FROM usage u
                WHERE u.meter_id = m.id AND u.channel = %(channel)s AND u.start >= n.start AND u.start < n.stop
                  AND u.method IN (0, 1, 7) AND u.length_s <= 3600
                GROUP BY date_bin('1 hour', u.start, n.start)) AS h
            GROUP BY n.start, n.stop HAVING sum(h.length_s) = extract(epoch FROM n.stop - n.start)) AS one) AS f
    WHERE f.flow > w.bound
    ORDER BY f.flow DESC, m.id LIMIT %(limit)s
"""
_WATER_METERS: LiteralString = "SELECT id FROM meter WHERE project_id = %s AND medium = 'water' ORDER BY id"
# A still hour is one in which all that is measured is at most the bound.
_STREAKS: LiteralString = """
    SELECT w.meter_id, s.length_s
    FROM unnest(%(meters)s::bigint[], %(bounds)s::bigint[]) AS w (meter_id, bound)
    CROSS JOIN LATERAL (
        SELECT max(hour) AS hour FROM (
            SELECT date_bin('1 hour', u.start, %(since)s) AS hour FROM usage u
            WHERE u.meter_id = w.meter_id AND u.channel = %(channel)s AND u.start >= %(since)s
              AND u.method IN (0, 1, 7) AND u.length_s <= 3600
            GROUP BY 1 HAVING sum(u.quantity) <= w.bound) AS hours) AS still
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(u.length_s), 0)::bigint AS length_s FROM usage u
        WHERE u.meter_id = w.meter_id AND u.channel = %(channel)s AND u.method IN (0, 1, 7) AND u.length_s <= 3600
          AND u.start >= coalesce(still.hour + interval '1 hour', %(since)s)) AS s
"""


@dataclass(frozen=True, slots=True)
class NightFlow:
    """A meter and the smallest hourly flow of `nights` measured nights, in mL/h."""

    meter_id: int
    code: str
    unit_id: int | None
    place: str
    flow: int
    nights: int


async def water_meters(conn: Conn, project_id: int) -> list[int]:
    """Water meters of a project, by id."""
    return [row["id"] for row in await (await conn.execute(_WATER_METERS, (project_id,))).fetchall()]


async def night_flows(
    conn: Conn,
    bounds: Mapping[int, int],
    channel: int,
    starts: Sequence[datetime],
    stops: Sequence[datetime],
    limit: int,
) -> list[NightFlow]:
    """Of these meters those that flowed more than their bound in every measured hour of the nights, by how much."""
    query = {
        "meters": list(bounds),
        "bounds": list(bounds.values()),
        "channel": channel,
        "starts": list(starts),
        "stops": list(stops),
        "limit": limit,
    }
    return [NightFlow(**row) for row in await (await conn.execute(_RANKING, query)).fetchall()]


async def nights_of_meter(
    conn: Conn, meter_id: int, channel: int, starts: Sequence[datetime], stops: Sequence[datetime]
) -> list[int | None]:
    """The smallest hourly flow of each night; None where it is not measured."""
    query = {"meter_id": meter_id, "channel": channel, "starts": list(starts), "stops": list(stops)}
    found = {row["nth"]: int(row["flow"]) for row in await (await conn.execute(_OF_NIGHTS, query)).fetchall()}
    return [found.get(nth) for nth in range(1, len(starts) + 1)]


async def streaks(conn: Conn, bounds: Mapping[int, int], channel: int, since: datetime) -> dict[int, int]:
    """Seconds of measured flow since the last measured hour of at most the bound, by meter."""
    query = {"meters": list(bounds), "bounds": list(bounds.values()), "channel": channel, "since": since}
    return {row["meter_id"]: row["length_s"] for row in await (await conn.execute(_STREAKS, query)).fetchall()}
