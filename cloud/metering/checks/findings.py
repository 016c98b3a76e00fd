"""What the rules found, put beside what was found before: new findings are added, open ones that no longer hold go.

A rule has one teller: who tells a rule here takes its open findings that are not told again for over.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import Conn
from cloud.metering.checks import findings_sql as sql
from cloud.metering.records import Rule

Ints = NDArray[np.int64]


FOREVER: Final = 2**42
"""Later than any time that is judged, in ms."""


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

    @property
    def key(self) -> tuple[int, int, str, int]:
        """What makes it the same finding when it is found again."""
        return self.meter_id, self.channel, self.rule, self.from_ms


@dataclass(frozen=True, slots=True)
class Looked:
    """Where the rules looked: findings that begin in [`from_ms`, `until_ms`) of a meter's channel."""

    meter: Ints
    channel: Ints
    from_ms: Ints
    until_ms: Ints


@dataclass(frozen=True, slots=True)
class Judged:
    """Meters, with all their channels, and the times for which rules were asked: [from, until) in ms."""

    meter: Ints
    from_ms: Ints
    until_ms: Ints

    @classmethod
    def between(cls, meter: Ints, from_ms: int, until_ms: int) -> "Judged":
        """Of all of them the same time."""
        return cls(meter, np.full(len(meter), from_ms), np.full(len(meter), until_ms))


NO_ONE: Final = Judged(*(np.zeros(0, np.int64) for _ in range(3)))
"""Nothing was judged: what is found is added, nothing is taken for over."""


async def replace_findings(conn: Conn, rules: Sequence[Rule], looked: Looked, found: Sequence[Finding]) -> None:
    """Makes `found` the findings of these rules where they looked: new ones are open, open ones not in it go."""
    query = {
        "meters": Int8Column(looked.meter),
        "channels": Int2Column(looked.channel),
        "from": TimeColumn(looked.from_ms),
        "until": TimeColumn(looked.until_ms),
        "rules": list(rules),
        **_columns(found),
    }
    await conn.execute(sql.FORGET, query)
    if found:
        await conn.execute(sql.KEEP, query)


async def keep(
    conn: Conn,
    project_id: int,
    judged: Judged,
    rules: Collection[Rule],
    findings: Sequence[Finding],
    unsure: Collection[tuple[int, int, str, int]] = (),
) -> int:
    """Writes findings of `rules` about the time that was judged; returns how many rows changed.

    Open findings of these rules that begin in that time and are not among `findings` are deleted, unless their key is
    in `unsure`. Decided ones stay as they are.
    """
    query = {
        "project_id": project_id,
        "meters": Int8Column(judged.meter),
        "from": TimeColumn(judged.from_ms),
        "until": TimeColumn(judged.until_ms),
        "rules": sorted(rules),
    }
    known = await (await conn.execute(sql.OPEN, query)).fetchall()
    still = {one.key for one in findings} | set(unsure)
    gone = [row["id"] for row in known if (row["meter_id"], row["channel"], row["rule"], row["from_ms"]) not in still]
    changed = 0
    if gone:
        changed += (await conn.execute(sql.GONE, {"ids": gone})).rowcount
    if findings:
        changed += (await conn.execute(sql.KEEP, _columns(findings))).rowcount
    return changed


def _columns(found: Sequence[Finding]) -> dict[str, object]:
    return {
        "found_projects": Int8Column(_column([one.project_id for one in found])),
        "found_meters": Int8Column(_column([one.meter_id for one in found])),
        "found_channels": Int2Column(_column([one.channel for one in found])),
        "found_rules": [one.rule for one in found],
        "found_from": TimeColumn(_column([one.from_ms for one in found])),
        "found_until": TimeColumn(_column([one.until_ms for one in found])),
        "values": [one.found for one in found],
        "expected": [one.expected for one in found],
    }


def _column(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)
