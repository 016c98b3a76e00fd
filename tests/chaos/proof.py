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
class Verdict:
    """What the comparison found wrong; empty when the promise was kept."""

    lost: list[Answer]
    doubled: list[tuple[Key, int]]
    invented: list[tuple[Key, int]]


def judge(served: Sequence[Answer], stored: dict[Key, Counter[int]], excused: Iterable[range]) -> Verdict:
    """Every served answer is stored once, unless it was served in one of the `excused` ranges of milliseconds."""
    windows = list(excused)
    known: dict[Key, set[int]] = defaultdict(set)
    lost: list[Answer] = []
    for answer in served:
        key = (answer.device, answer.channel)
        known[key].add(answer.value)
        if not stored[key][answer.value] and not any(answer.at_ms in window for window in windows):
            lost.append(answer)
    doubled = [(key, value) for key, values in stored.items() for value, times in values.items() if times > 1]
    invented = [(key, value) for key, values in stored.items() for value in values if value not in known[key]]
    return Verdict(lost, doubled, invented)
