"""What was served, what is stored, and what may lie between: the arithmetic of 'nothing lost, nothing doubled'."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.kit.db import Database
from tests.acceptance.system import system_rows

COUNTERS: Final = ("energy_import_total", "energy_import_peak", "energy_import_flat", "energy_import_valley")
"""With `--advance` no two answers show the same value of these: a value names its answer."""

_ON_ITS_WAY_MS: Final = 1_000
"""An answer is served before it is taken."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One register that a meter served."""

    device: str
    channel: str
    value: int
    at_ms: int


def served_answers(path: Path) -> list[Answer]:
    """What the meters say they served, billing registers only."""
    entries = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [
        Answer(entry["device"], entry["channel"], entry["value"], entry["at_ms"])
        for entry in entries
        if entry["channel"] in COUNTERS
    ]


async def stored_values(db: Database) -> dict[Key, Counter[int]]:
    """How often each value of each billing register is in the database."""
    rows = await system_rows(
        db,
        """SELECT d.code AS device, c.code AS channel, r.value
           FROM store.reading r JOIN device_binding b USING (meter_id) JOIN device d ON d.id = b.device_id
           JOIN channel c ON c.id = r.channel WHERE c.code = ANY (%s)""",
        [list(COUNTERS)],
    )
    values: dict[Key, Counter[int]] = defaultdict(Counter)
    for row in rows:
        values[row["device"], row["channel"]][int(row["value"])] += 1
    return values


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway said it had to give up; an empty device or channel stands for all."""

    device: str
    channel: str
    since_ms: int
    until_ms: int

    def covers(self, answer: Answer) -> bool:
        """Whether the loss of `answer` was told. A reading is taken when its answer arrives, a little after it left."""
        return (
            self.device in ("", answer.device)
            and self.channel in ("", answer.channel)
            and self.since_ms - _ON_ITS_WAY_MS <= answer.at_ms <= self.until_ms
        )


async def told_gaps(db: Database) -> list[Told]:
    """Every gap of readings that arrived."""
    rows = await system_rows(
        db,
        """SELECT device_code, channel_code, extract(epoch FROM from_at) * 1000 AS since,
                  extract(epoch FROM until_at) * 1000 AS until
           FROM reading_gap WHERE content = 'readings'""",
    )
    return [Told(row["device_code"], row["channel_code"], int(row["since"]), int(row["until"])) for row in rows]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison found wrong; empty when the promise was kept."""

    lost: list[Answer]
    doubled: list[tuple[Key, int]]
    invented: list[tuple[Key, int]]


def judge(
    served: Sequence[Answer], stored: dict[Key, Counter[int]], excused: Iterable[range], told: Sequence[Told] = ()
) -> Verdict:
    """Every served answer is stored once, unless its loss was `told`, or it was served in one of the `excused` ranges.

    Times are milliseconds since 1970.
    """
    windows = list(excused)
    known: dict[Key, set[int]] = defaultdict(set)
    lost: list[Answer] = []
    for answer in served:
        key = (answer.device, answer.channel)
        known[key].add(answer.value)
        if stored[key][answer.value] or any(answer.at_ms in window for window in windows):
            continue
        if not any(gap.covers(answer) for gap in told):
            lost.append(answer)
    doubled = [(key, value) for key, values in stored.items() for value, times in values.items() if times > 1]
    invented = [(key, value) for key, values in stored.items() for value in values if value not in known[key]]
    return Verdict(lost, doubled, invented)
