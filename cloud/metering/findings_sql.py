"""SQL of findings, for every rule: those that hold are kept, open ones that no longer hold are forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import numpy as np
from numpy.typing import NDArray

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import Conn
from cloud.metering.records import Rule

Ints = NDArray[np.int64]

# What people decided stays as they decided it, even when it no longer holds or is found again.
_FORGET: LiteralString = """
    DELETE FROM meter_exception x
    USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS s (meter_id, channel, from_at, until_at)
    WHERE x.meter_id = s.meter_id AND x.channel = s.channel AND x.rule = ANY (%(rules)s) AND x.state = 'open'
      AND x.from_at >= s.from_at AND x.from_at < s.until_at
      AND NOT EXISTS (SELECT FROM unnest(%(found_meters)s, %(found_channels)s, %(found_rules)s::text[], %(found_from)s)
                                  AS f (meter_id, channel, rule, from_at)
                      WHERE f.meter_id = x.meter_id AND f.channel = x.channel AND f.rule = x.rule
                        AND f.from_at = x.from_at)
"""
_KEEP: LiteralString = """
    INSERT INTO meter_exception AS x (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
    SELECT * FROM unnest(%(found_projects)s, %(found_meters)s, %(found_channels)s, %(found_rules)s::text[],
                         %(found_from)s, %(found_until)s, %(values)s::bigint[], %(expected)s::bigint[])
    ON CONFLICT (meter_id, channel, rule, from_at) DO UPDATE
    SET until_at = excluded.until_at, found = excluded.found, expected = excluded.expected
    WHERE x.state = 'open'
      AND (x.until_at, x.found, x.expected) IS DISTINCT FROM (excluded.until_at, excluded.found, excluded.expected)
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """Where the rules looked: findings that begin in [`from_ms`, `until_ms`) of a meter's channel."""

    meter: Ints
    channel: Ints
    from_ms: Ints
    until_ms: Ints


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found; times in milliseconds since 1970. See `MeterException`."""

    project_id: int
    meter_id: int
    channel: int
    rule: Rule
    from_ms: int
    until_ms: int
    found: int | None = None
    expected: int | None = None


async def replace_findings(conn: Conn, rules: Sequence[Rule], looked: Looked, found: Sequence[Finding]) -> None:
    """Makes `found` the findings of these rules where they looked: new ones are open, open ones not in it go."""
    query = {
        "meters": Int8Column(looked.meter),
        "channels": Int2Column(looked.channel),
        "from": TimeColumn(looked.from_ms),
        "until": TimeColumn(looked.until_ms),
        "rules": list(rules),
        "found_projects": Int8Column(_column([one.project_id for one in found])),
        "found_meters": Int8Column(_column([one.meter_id for one in found])),
        "found_channels": Int2Column(_column([one.channel for one in found])),
        "found_rules": [one.rule for one in found],
        "found_from": TimeColumn(_column([one.from_ms for one in found])),
        "found_until": TimeColumn(_column([one.until_ms for one in found])),
        "values": [one.found for one in found],
        "expected": [one.expected for one in found],
    }
    await conn.execute(_FORGET, query)
    if found:
        await conn.execute(_KEEP, query)


def _column(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)
