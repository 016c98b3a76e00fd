"""SQL of what is stored around a reading: the register in force, and the good readings before and after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.metering.readings.neighbours import Neighbour, Register

# A reading that counts, with the value that staff gave it: not what they set aside, nor what usage refused unless they
# believe it all the same. Registers that were exchanged in between are no neighbours of each other; where one begins
# and ends without a reading, its opening and closing ones stand in.
_AROUND: LiteralString = """
    SELECT w.nth - 1 AS nth, reg.id AS register_id, reg.modulus, reg.max_per_hour, there.value AS there,
           coalesce(before.taken_at, CASE WHEN e.opening IS NOT NULL THEN lower(reg.valid) END) AS before_at,
           coalesce(before.value, e.opening) AS before_value,
           coalesce(behind.taken_at, CASE WHEN e.closing IS NOT NULL THEN upper(reg.valid) END) AS after_at,
           coalesce(behind.value, e.closing) AS after_value
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(times)s::timestamptz[])
         WITH ORDINALITY AS w (meter_id, channel, taken_at, nth)
    LEFT JOIN meter_register reg ON reg.meter_id = w.meter_id AND reg.valid @> w.taken_at
    LEFT JOIN register_end e ON e.register_id = reg.id AND e.channel = w.channel
    LEFT JOIN reading there ON there.meter_id = w.meter_id AND there.channel = w.channel
                           AND there.taken_at = w.taken_at
    LEFT JOIN LATERAL (
        SELECT r.taken_at, coalesce(edit.value, r.value) AS value FROM reading r
        LEFT JOIN LATERAL (SELECT d.action, d.value FROM reading_edit d
                           WHERE d.meter_id = r.meter_id AND d.channel = r.channel AND d.taken_at = r.taken_at
                           ORDER BY d.version DESC LIMIT 1) AS edit ON true
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel
          AND r.taken_at >= lower(reg.valid) AND r.taken_at < w.taken_at
          AND edit.action IS DISTINCT FROM 'ignore'
          AND (edit.action IN ('set', 'use') OR NOT EXISTS (
               SELECT FROM refused_reading x
               WHERE x.meter_id = r.meter_id AND x.channel = r.channel AND x.taken_at = r.taken_at))
        ORDER BY r.taken_at DESC LIMIT 1) AS before ON true
    LEFT JOIN LATERAL (
        SELECT r.taken_at, coalesce(edit.value, r.value) AS value FROM reading r
        LEFT JOIN LATERAL (SELECT d.action, d.value FROM reading_edit d
                           WHERE d.meter_id = r.meter_id AND d.channel = r.channel AND d.taken_at = r.taken_at
                           ORDER BY d.version DESC LIMIT 1) AS edit ON true
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel
          AND r.taken_at > w.taken_at AND (upper(reg.valid) IS NULL OR r.taken_at < upper(reg.valid))
          AND edit.action IS DISTINCT FROM 'ignore'
          AND (edit.action IN ('set', 'use') OR NOT EXISTS (
               SELECT FROM refused_reading x
               WHERE x.meter_id = r.meter_id AND x.channel = r.channel AND x.taken_at = r.taken_at))
        ORDER BY r.taken_at LIMIT 1) AS behind ON true
    ORDER BY w.nth
"""


@dataclass(frozen=True, slots=True)
class Around:
    """What is stored around one (meter, channel, instant): `there` is the value stored for the instant itself.

    `register_id` and `register` are None where no register is in force.
    """

    register_id: int | None
    register: Register | None
    there: int | None
    before: Neighbour | None
    after: Neighbour | None


async def around(conn: Conn, wanted: Sequence[tuple[int, int, datetime]]) -> list[Around]:
    """What is stored around each (meter id, channel number, instant), in their order, in one statement."""
    query = {
        "meters": [meter_id for meter_id, _, _ in wanted],
        "channels": [channel for _, channel, _ in wanted],
        "times": [taken_at for _, _, taken_at in wanted],
    }
    return [_around(row) for row in await (await conn.execute(_AROUND, query)).fetchall()]


def _around(row: dict[str, Any]) -> Around:
    register = None if row["register_id"] is None else Register(row["modulus"], row["max_per_hour"])
    before, after = (
        None if row[f"{side}_at"] is None else Neighbour(in_ms(row[f"{side}_at"]), row[f"{side}_value"])
        for side in ("before", "after")
    )
    return Around(row["register_id"], register, row["there"], before, after)
