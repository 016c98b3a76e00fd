"""SQL of usage over periods with how far it is known: what losses, apportionment and estimates stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn

UsageSpan = tuple[int, int, datetime, datetime]
"""Meter, channel, start and end."""

# Time in which the meter was not there is not missing. Codes 2 to 6 of `method` are estimates.
_USAGE_OF_SPANS: LiteralString = """
    SELECT extract(epoch FROM w.upto - w.since)::bigint AS expected_s, found.*
    FROM (
        SELECT s.nth, s.meter_id, s.channel,
               least(greatest(s.start, m.installed_on::timestamp AT TIME ZONE p.time_zone), s.stop) AS since,
               greatest(s.start, least(s.stop, (m.removed_on + 1)::timestamp AT TIME ZONE p.time_zone)) AS upto
        FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(starts)s::timestamptz[],
                    %(stops)s::timestamptz[]) WITH ORDINALITY AS s (meter_id, channel, start, stop, nth)
        JOIN meter m ON m.id = s.meter_id JOIN project p ON p.id = m.project_id) AS w
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0)::bigint AS quantity, coalesce(sum(length_s), 0)::bigint AS covered_s,
               coalesce(sum(quantity) FILTER (WHERE shaped), 0)::bigint AS estimated,
               coalesce(sum(length_s) FILTER (WHERE shaped), 0)::bigint AS estimated_s,
               coalesce(bool_or(shaped AND (u.start = w.since OR u.until = w.upto)), false) AS open_edge
        FROM (SELECT start, quantity, length_s, start + length_s * interval '1 second' AS until,
                     method BETWEEN 2 AND 6 AS shaped
              FROM usage u WHERE u.meter_id = w.meter_id AND u.channel = w.channel AND u.start >= w.since
                             AND u.start < w.upto) AS u
        WHERE u.until <= w.upto) AS found
    ORDER BY w.nth
"""


@dataclass(frozen=True, slots=True)
class SpanUsage:
    """Usage of the rows inside a span, in the base unit, and how far it is known.

    `expected_s`: the time of the span in which the meter was there. `open_edge`: an estimate touches an end of the
    span, so that a late reading may move usage into it or out of it; estimates inside it only shape a known sum.
    """

    expected_s: int
    quantity: int
    covered_s: int
    estimated: int
    estimated_s: int
    open_edge: bool

    @property
    def is_complete(self) -> bool:
        """Whether rows cover all of it."""
        return self.covered_s >= self.expected_s

    @property
    def is_settled(self) -> bool:
        """Whether it stands on readings at both ends."""
        return self.is_complete and not self.open_edge


async def usage_of_spans(conn: Conn, spans: Sequence[UsageSpan]) -> list[SpanUsage]:
    """For each span, in the order given; all meters must be the asker's to see."""
    if not spans:
        return []
    meters, channels, starts, stops = zip(*spans, strict=True)
    query = {"meters": list(meters), "channels": list(channels), "starts": list(starts), "stops": list(stops)}
    rows = await (await conn.execute(_USAGE_OF_SPANS, query)).fetchall()
    return [SpanUsage(**row) for row in rows]
