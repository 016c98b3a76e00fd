"""SQL of usage against who lives there: occupancies as instants, and the rows at which a rest begins and ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from cloud.kit.columns import Int8Column
from cloud.kit.db import Conn
from cloud.metering.checks.findings import FOREVER
from cloud.metering.validation.segments import Ints
from cloud.metering.validation.subjects import Subject

# Local days as instants. Occupancies that overlap or follow each other at once are one.
_LIVES: LiteralString = """
    SELECT m.id AS meter_id, life.installed AS installed_ms, life.gone AS gone_ms,
           ARRAY(SELECT (extract(epoch FROM lower(o.span)::timestamp AT TIME ZONE %(zone)s) * 1000)::bigint
                 FROM unnest(living.spans) AS o (span) ORDER BY o.span) AS since_ms,
           ARRAY(SELECT coalesce((extract(epoch FROM upper(o.span)::timestamp AT TIME ZONE %(zone)s) * 1000)::bigint,
                                 %(forever)s::bigint)
                 FROM unnest(living.spans) AS o (span) ORDER BY o.span) AS upto_ms
    FROM meter m
    LEFT JOIN LATERAL (SELECT range_agg(valid) AS spans FROM occupancy WHERE unit_id = m.unit_id) AS living ON true
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT (extract(epoch FROM min(lower(r.valid))) * 1000)::bigint FROM meter_register r
                         WHERE r.meter_id = m.id), 0) AS installed,
               coalesce((extract(epoch FROM (m.removed_on + 1)::timestamp AT TIME ZONE %(zone)s) * 1000)::bigint,
                        %(forever)s::bigint) AS gone) AS life
    WHERE m.id = ANY (%(meters)s)
"""
# A probe of the key's index for each: the row is the first one that the index hands out.
_ROW: LiteralString = """
    SELECT w.nth - 1 AS nth, (extract(epoch FROM u.start) * 1000)::bigint AS start_ms,
           u.length_s * 1000::bigint AS length_ms
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::bigint[], %(until)s::bigint[])
         WITH ORDINALITY AS w (meter_id, channel, from_ms, until_ms, nth)
    CROSS JOIN LATERAL (
        SELECT start, length_s FROM store.usage u
        WHERE u.meter_id = w.meter_id AND u.channel = w.channel
          AND u.start >= timestamptz 'epoch' + w.from_ms * interval '1 millisecond'
          AND u.start < timestamptz 'epoch' + w.until_ms * interval '1 millisecond' AND
"""
_LAST_USED: LiteralString = _ROW + " u.quantity > 0 ORDER BY u.start DESC LIMIT 1) AS u"
_FIRST_USED: LiteralString = _ROW + " u.quantity > 0 ORDER BY u.start LIMIT 1) AS u"
_FIRST: LiteralString = _ROW + " true ORDER BY u.start LIMIT 1) AS u"
_LAST_REAL: LiteralString = _ROW + " u.method NOT BETWEEN 2 AND 6 ORDER BY u.start DESC LIMIT 1) AS u"


@dataclass(frozen=True, slots=True)
class Life:
    """When a meter is there, and when somebody lives where it is; times in ms, ends exclusive."""

    installed_ms: int
    gone_ms: int
    occupied: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a row of a subject's usage is looked for: in [from, until) ms."""

    subject: Subject
    from_ms: int
    until_ms: int


async def lives(conn: Conn, meter_ids: Ints, time_zone: str) -> dict[int, Life]:
    """By meter."""
    query = {"meters": Int8Column(meter_ids), "zone": time_zone, "forever": FOREVER}
    rows = await (await conn.execute(_LIVES, query)).fetchall()
    return {
        row["meter_id"]: Life(
            row["installed_ms"], row["gone_ms"], tuple(zip(row["since_ms"], row["upto_ms"], strict=True))
        )
        for row in rows
    }


async def ends_of_last_used(conn: Conn, where: Mapping[int, Stretch]) -> dict[int, int]:
    """When the last row with usage ends, by the keys of `where`; absent where there is none."""
    return {key: start + length for key, (start, length) in (await _rows(conn, _LAST_USED, where)).items()}


async def starts_of_first_used(conn: Conn, where: Mapping[int, Stretch]) -> dict[int, int]:
    """When the first row with usage begins."""
    return {key: start for key, (start, _) in (await _rows(conn, _FIRST_USED, where)).items()}


async def starts_of_first(conn: Conn, where: Mapping[int, Stretch]) -> dict[int, int]:
    """When the first row of any kind begins."""
    return {key: start for key, (start, _) in (await _rows(conn, _FIRST, where)).items()}


async def ends_of_last_real(conn: Conn, where: Mapping[int, Stretch]) -> dict[int, int]:
    """When the last row between two readings ends."""
    return {key: start + length for key, (start, length) in (await _rows(conn, _LAST_REAL, where)).items()}


async def _rows(conn: Conn, statement: LiteralString, where: Mapping[int, Stretch]) -> dict[int, tuple[int, int]]:
    if not where:
        return {}
    keys, stretches = list(where), list(where.values())
    query = {
        "meters": [one.subject.meter_id for one in stretches],
        "channels": [one.subject.channel for one in stretches],
        "from": [one.from_ms for one in stretches],
        "until": [one.until_ms for one in stretches],
    }
    rows = await (await conn.execute(statement, query)).fetchall()
    return {keys[row["nth"]]: (row["start_ms"], row["length_ms"]) for row in rows}
