"""SQL of meters, and of readings and usage as people and other features read them (through the guarded views)."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import LiteralString

import numpy as np
import orjson
from numpy.typing import NDArray

from cloud.devices.cursors import after_number
from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, from_wire_time
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import from_ms, in_ms
from cloud.metering.records import (
    BoundaryReading,
    Medium,
    Meter,
    MeterException,
    MeterFilter,
    NewMeter,
    Reading,
    UsageRow,
    UsageTotal,
)

Ints = NDArray[np.int64]

_METER: LiteralString = """
    SELECT m.id, m.project_id, m.code, m.medium, m.unit_id, m.parent_id, m.place, m.class AS meter_class, m.interval_s,
           m.verification_due, m.installed_on, m.removed_on, r.serial, r.multiplier, r.modulus, r.max_per_hour
    FROM meter m JOIN current_register r ON r.meter_id = m.id
"""
# A register counts from the local day on which the meter was installed.
_INSERT_METERS: LiteralString = """
    WITH wanted AS (
        SELECT * FROM unnest(
            %(codes)s::text[], %(media)s::text[], %(units)s::bigint[], %(moduli)s::bigint[], %(maxima)s::bigint[],
            %(installed)s::date[], %(multipliers)s::numeric[], %(parents)s::bigint[], %(serials)s::text[],
            %(places)s::text[], %(classes)s::text[], %(intervals)s::int[], %(resolutions)s::bigint[],
            %(ratings)s::text[], %(due)s::date[]) WITH ORDINALITY
            AS w (code, medium, unit_id, modulus, max_per_hour, installed_on, multiplier, parent_id, serial, place,
                  class, interval_s, resolution, rating, verification_due, nth)),
    made AS (
        INSERT INTO meter (project_id, code, medium, unit_id, installed_on, parent_id, place, class, interval_s,
                           verification_due)
        SELECT %(project_id)s, code, medium, unit_id, installed_on, parent_id, place, class, interval_s,
               verification_due
        FROM wanted ORDER BY nth
        RETURNING *),
    registers AS (
        INSERT INTO meter_register (project_id, meter_id, valid, serial, multiplier, modulus, max_per_hour, resolution,
                                    rating)
        SELECT made.project_id, made.id, tstzrange(made.installed_on::timestamp AT TIME ZONE p.time_zone, NULL),
               w.serial, w.multiplier, w.modulus, w.max_per_hour, w.resolution, w.rating::jsonb
        FROM made JOIN wanted w USING (code) JOIN project p ON p.id = made.project_id
        RETURNING *)
    SELECT m.id, m.project_id, m.code, m.medium, m.unit_id, m.parent_id, m.place, m.class AS meter_class, m.interval_s,
           m.verification_due, m.installed_on, m.removed_on, r.serial, r.multiplier, r.modulus, r.max_per_hour
    FROM made m JOIN registers r ON r.meter_id = m.id JOIN wanted w ON w.code = m.code ORDER BY w.nth
"""
_LIST_METERS: LiteralString = (
    _METER
    + """
    WHERE (%(project_id)s::bigint IS NULL OR m.project_id = %(project_id)s)
      AND (%(unit_id)s::bigint IS NULL OR m.unit_id = %(unit_id)s)
      AND (%(medium)s::text IS NULL OR m.medium = %(medium)s)
      AND (%(meter_class)s::text IS NULL OR m.class = %(meter_class)s)
      AND (%(parent_id)s::bigint IS NULL OR m.parent_id = %(parent_id)s)
      AND (%(due_by)s::date IS NULL OR (m.verification_due <= %(due_by)s AND m.removed_on IS NULL))
      AND m.id > %(after)s
    ORDER BY m.id LIMIT %(limit)s
"""
)
_READINGS: LiteralString = """
    SELECT meter_id, channel, taken_at, value, quality, received_at FROM reading
    WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at >= %(start)s AND taken_at < %(end)s
      AND (%(before)s::bigint IS NULL OR taken_at < timestamptz 'epoch' + %(before)s * interval '1 millisecond')
    ORDER BY taken_at DESC LIMIT %(limit)s
"""
_LATEST: LiteralString = """
    SELECT newest.* FROM unnest(%(meters)s::bigint[]) AS wanted (meter_id)
    CROSS JOIN unnest(%(channels)s::smallint[]) AS c (channel)
    CROSS JOIN LATERAL (
        SELECT r.meter_id, r.channel, r.taken_at, r.value, r.quality, r.received_at FROM reading r
        WHERE r.meter_id = wanted.meter_id AND r.channel = c.channel
        ORDER BY r.taken_at DESC LIMIT 1) AS newest
    ORDER BY newest.meter_id, newest.channel
"""
# `low` and `high` bound all of them: partitions outside are not even planned for.
_BOUNDARIES: LiteralString = """
    SELECT wanted.nth - 1 AS nth, found.taken_at, coalesce(edit.value, found.value) AS value, found.quality
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(instants)s::timestamptz[])
         WITH ORDINALITY AS wanted (meter_id, channel, instant, nth)
    CROSS JOIN LATERAL (
        SELECT r.taken_at, r.value, r.quality FROM reading r
        WHERE r.meter_id = wanted.meter_id AND r.channel = wanted.channel
          AND r.taken_at >= wanted.instant AND r.taken_at < wanted.instant + %(tolerance)s
          AND r.taken_at >= %(low)s AND r.taken_at < %(high)s
          AND NOT EXISTS (SELECT FROM refused_reading e WHERE e.meter_id = r.meter_id AND e.channel = r.channel
                          AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at LIMIT 1) AS found
    LEFT JOIN LATERAL (
        SELECT e.value FROM reading_edit e
        WHERE e.meter_id = wanted.meter_id AND e.channel = wanted.channel AND e.taken_at = found.taken_at
        ORDER BY e.version DESC LIMIT 1) AS edit ON true
"""
# A row may be as long as a gap, and so begin long before a span that it touches; most are an hour or a day, so that the
# week before is looked at first. OFFSET and ORDER BY keep the planner from reading the usage of all meters for it.
_USAGE_OF_MANY: LiteralString = """
    SELECT w.nth - 1 AS nth, found.* FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[],
        %(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS w (meter_id, channel, since, stop, nth)
    CROSS JOIN LATERAL (SELECT coalesce(
        (SELECT max(b.start) FROM usage b WHERE b.meter_id = w.meter_id AND b.channel = w.channel
         AND b.start > w.since - interval '7 days' AND b.start <= w.since),
        (SELECT max(b.start) FROM usage b WHERE b.meter_id = w.meter_id AND b.channel = w.channel
         AND b.start <= w.since - interval '7 days'),
        w.since) AS start OFFSET 0) AS first
    CROSS JOIN LATERAL (
        SELECT start, length_s, quantity, method, version FROM usage u
        WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start >= first.start AND u.start < w.stop
          AND u.start + u.length_s * interval '1 second' > w.since
        ORDER BY u.start) AS found
    ORDER BY w.nth, found.start
"""
_USAGE_ENDS: LiteralString = """
    SELECT found.until FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(instants)s::timestamptz[])
        WITH ORDINALITY AS w (meter_id, channel, instant, nth)
    LEFT JOIN LATERAL (
        SELECT start + length_s * interval '1 second' AS until FROM usage u
        WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start < w.instant
        ORDER BY start DESC LIMIT 1) AS found ON true
    ORDER BY w.nth
"""
_TOTALS: LiteralString = """
    SELECT w.nth - 1 AS nth, found.* FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[],
        %(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS w (meter_id, channel, start, stop, nth)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity) FILTER (WHERE inside), 0)::bigint AS quantity,
               coalesce(sum(length_s) FILTER (WHERE inside), 0) = extract(epoch FROM w.stop - w.start) AS complete,
               count(*) FILTER (WHERE method = 1) AS rollovers, count(*) FILTER (WHERE method = 2) AS gaps,
               count(*) FILTER (WHERE method BETWEEN 3 AND 6) AS estimated
        FROM (SELECT *, start + length_s * interval '1 second' <= w.stop AS inside FROM usage u
              WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start < w.stop AND u.start >= w.start) AS u
    ) AS found ORDER BY nth
"""
_CONSUMPTION: LiteralString = """
    SELECT coalesce(sum(u.quantity), 0)::bigint AS quantity
    FROM meter m JOIN usage u ON u.meter_id = m.id AND u.channel = %(channel)s
    WHERE m.project_id = %(project_id)s AND m.medium = %(medium)s AND m.parent_id IS NULL
      AND u.start >= %(start)s AND u.start < %(end)s AND u.start + u.length_s * interval '1 second' <= %(end)s
"""
_EXCEPTIONS: LiteralString = """
    SELECT id, project_id, meter_id, channel, rule, from_at, until_at, found, expected, state, actor, reason,
           decided_at, detected_at
    FROM meter_exception
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(meter_id)s::bigint IS NULL OR meter_id = %(meter_id)s)
    ORDER BY id DESC LIMIT %(limit)s
"""


async def insert_meters(conn: Conn, project_id: int, meters: Sequence[NewMeter]) -> list[Meter]:
    """New meters, in the order given."""
    query = {
        "project_id": project_id,
        "codes": [meter.code for meter in meters],
        "media": [meter.medium for meter in meters],
        "units": [meter.unit_id for meter in meters],
        "moduli": [meter.modulus for meter in meters],
        "maxima": [meter.max_per_hour for meter in meters],
        "installed": [meter.installed_on for meter in meters],
        "multipliers": [meter.multiplier for meter in meters],
        "parents": [meter.parent_id for meter in meters],
        "serials": [meter.serial for meter in meters],
        "places": [meter.place for meter in meters],
        "classes": [meter.meter_class for meter in meters],
        "intervals": [meter.interval_s for meter in meters],
        "resolutions": [meter.resolution for meter in meters],
        "ratings": [orjson.dumps(dict(meter.rating)).decode() for meter in meters],
        "due": [meter.verification_due for meter in meters],
    }
    rows = await (await conn.execute(_INSERT_METERS, query)).fetchall()
    return [Meter(**row) for row in rows]


async def meter(conn: Conn, meter_id: int) -> Meter | None:
    """One meter."""
    row = await (await conn.execute(_METER + " WHERE m.id = %s", (meter_id,))).fetchone()
    return None if row is None else Meter(**row)


async def meter_by_code(conn: Conn, project_id: int, code: str) -> Meter | None:
    """The meter of a project with this code."""
    row = await (await conn.execute(_METER + " WHERE m.project_id = %s AND m.code = %s", (project_id, code))).fetchone()
    return None if row is None else Meter(**row)


async def meters(conn: Conn, page: PageRequest, project_id: int | None, wanted: MeterFilter) -> Page[Meter]:
    """Meters by id."""
    query = {**asdict(wanted), "project_id": project_id, "after": after_number(page, 0), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_METERS, query)).fetchall()
    return cut([Meter(**row) for row in rows], page, lambda found: (found.id,))


async def meters_of_units(conn: Conn, unit_ids: Sequence[int]) -> list[Meter]:
    """Meters of these units, by id."""
    rows = await (
        await conn.execute(_METER + " WHERE m.unit_id = ANY (%s) ORDER BY m.id", (list(unit_ids),))
    ).fetchall()
    return [Meter(**row) for row in rows]


async def meters_by_id(conn: Conn, meter_ids: Sequence[int]) -> dict[int, Meter]:
    """Those of these meters that exist."""
    rows = await (await conn.execute(_METER + " WHERE m.id = ANY (%s)", (list(meter_ids),))).fetchall()
    return {row["id"]: Meter(**row) for row in rows}


async def readings(
    conn: Conn, page: PageRequest, meter_id: int, channel: int, start: datetime, end: datetime
) -> Page[Reading]:
    """Readings of one channel, newest first; the cursor is the time."""
    query = {
        "meter_id": meter_id,
        "channel": channel,
        "start": start,
        "end": end,
        "before": after_number(page),
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_READINGS, query)).fetchall()
    return cut([Reading(**row) for row in rows], page, lambda found: (in_ms(found.taken_at),))


async def latest(conn: Conn, meter_ids: Sequence[int], channels: Sequence[int]) -> list[Reading]:
    """The newest reading of each channel of each meter."""
    query = {"meters": list(meter_ids), "channels": list(channels)}
    rows = await (await conn.execute(_LATEST, query)).fetchall()
    return [Reading(**row) for row in rows]


async def boundaries(
    conn: Conn, wanted: Sequence[tuple[int, int, datetime]], tolerance_s: int
) -> dict[tuple[int, datetime], BoundaryReading]:
    """First accepted reading at or after each (meter, channel, instant)."""
    if not wanted:
        return {}
    instants = [row[2] for row in wanted]
    query = {
        "meters": [row[0] for row in wanted],
        "channels": [row[1] for row in wanted],
        "instants": instants,
        "tolerance": f"{tolerance_s} seconds",
        "low": min(instants),
        "high": max(instants) + timedelta(seconds=tolerance_s),
    }
    rows = await (await conn.execute(_BOUNDARIES, query)).fetchall()
    return {
        (wanted[row["nth"]][0], wanted[row["nth"]][2]): BoundaryReading(row["taken_at"], row["value"], row["quality"])
        for row in rows
    }


async def boundary_columns(
    conn: Conn, meters: Ints, channels: Ints, instants_ms: Ints, tolerance_s: int
) -> tuple[Ints, Ints, Ints]:
    """The same of very many: positions of those that have one, when it was taken (in ms) and its value."""
    query = {
        "meters": Int8Column(meters),
        "channels": Int2Column(channels),
        "instants": TimeColumn(instants_ms),
        "tolerance": f"{tolerance_s} seconds",
        "low": from_ms(int(instants_ms.min())),
        "high": from_ms(int(instants_ms.max()) + tolerance_s * 1000),
    }
    nth, taken_at, value, _ = await columns_of(conn, _BOUNDARIES, query, ("int8", "timestamptz", "int8", "int2"))
    return nth, from_wire_time(taken_at), value


async def usage(conn: Conn, meter_id: int, channel: int, start: datetime, end: datetime) -> list[UsageRow]:
    """Rows that touch [start, end), by start."""
    return (await usage_of_many(conn, [(meter_id, channel, start, end)]))[0]


async def usage_of_many(conn: Conn, wanted: Sequence[tuple[int, int, datetime, datetime]]) -> list[list[UsageRow]]:
    """For each (meter, channel, start, end) the rows that touch [start, end), by start."""
    found: list[list[UsageRow]] = [[] for _ in wanted]
    if not wanted:
        return found
    meters, channels, starts, ends = map(list, zip(*wanted, strict=True))
    query = {"meters": meters, "channels": channels, "starts": starts, "ends": ends}
    for row in await (await conn.execute(_USAGE_OF_MANY, query)).fetchall():
        found[row.pop("nth")].append(UsageRow(**row))
    return found


async def usage_ends(conn: Conn, wanted: Sequence[tuple[int, int, datetime]]) -> list[datetime | None]:
    """For each (meter, channel, instant) where the last row ends that begins before it."""
    if not wanted:
        return []
    meters, channels, instants = map(list, zip(*wanted, strict=True))
    query = {"meters": meters, "channels": channels, "instants": instants}
    return [row["until"] for row in await (await conn.execute(_USAGE_ENDS, query)).fetchall()]


async def totals(conn: Conn, wanted: Sequence[tuple[int, int, datetime, datetime]]) -> list[UsageTotal]:
    """Sums of the rows inside [start, end] of each (meter, channel, start, end)."""
    meters, channels, starts, ends = zip(*wanted, strict=True)
    query = {"meters": list(meters), "channels": list(channels), "starts": list(starts), "ends": list(ends)}
    rows = await (await conn.execute(_TOTALS, query)).fetchall()
    names = ("quantity", "complete", "rollovers", "gaps", "estimated")
    return [UsageTotal(*(row[name] for name in names)) for row in rows]


async def consumption(conn: Conn, project_id: int, medium: Medium, channel: int, start: datetime, end: datetime) -> int:
    """Sum over the meters of a medium that have no master meter above them."""
    query = {"project_id": project_id, "medium": medium, "channel": channel, "start": start, "end": end}
    row = await (await conn.execute(_CONSUMPTION, query)).fetchone()
    assert row is not None
    return int(row["quantity"])


async def exceptions(conn: Conn, project_id: int | None, meter_id: int | None, limit: int) -> list[MeterException]:
    """Findings of the validation, newest first."""
    query = {"project_id": project_id, "meter_id": meter_id, "limit": limit}
    rows = await (await conn.execute(_EXCEPTIONS, query)).fetchall()
    return [MeterException(**row) for row in rows]
