"""When each device of a line is due: a grid on the wall clock, devices spread inside the period; pure."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.drivers.base import Group, Groups

LONGEST_BACKOFF_MS = 300_000
"""A dead device is tried at least this often."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Due at every `offset_ms + k · period_ms` since 1970: the same slots after every restart."""

    period_ms: int
    offset_ms: int

    def after(self, time_ms: int) -> int:
        """The first slot later than `time_ms`."""
        return time_ms + self.period_ms - (time_ms - self.offset_ms) % self.period_ms


def spread(index: int, count: int, periods_ms: Mapping[Group, int]) -> dict[Group, Beat]:
    """Beats of device `index` of `count` on a line.

    Each group is spread evenly over its period. Where a longer period is a multiple of the shortest, its slots
    fall on slots of the shortest, so that one visit serves both groups.
    """
    shortest = min(periods_ms.values())
    base = index * shortest // count
    beats: dict[Group, Beat] = {}
    for group, period in periods_ms.items():
        multiple = period // shortest if period % shortest == 0 else 1
        offset = base + shortest * (index % multiple) if multiple > 1 else index * period // count
        beats[group] = Beat(period, offset % period)
    return beats


def backoff_ms(failures: int, period_ms: int) -> int:
    """How long a device is left alone after its `failures`-th failed visit in a row: doubling, bounded."""
    return min(period_ms << min(failures - 1, 16), max(LONGEST_BACKOFF_MS, period_ms)) if failures else 0


class LineSchedule:
    """What is due next on one line. Slots that pass while the line is busy are skipped, never queued up."""

    def __init__(self, beats: Sequence[Mapping[Group, Beat]], now_ms: int) -> None:
        self._beats = beats
        self._due: list[dict[Group, int]] = [
            {group: beat.after(now_ms) for group, beat in device.items()} for device in beats
        ]
        self._heap = [(min(due.values()), index) for index, due in enumerate(self._due) if due]
        heapq.heapify(self._heap)

    def next_due(self) -> int | None:
        """Time of the earliest visit; None for a line without devices."""
        return self._heap[0][0] if self._heap else None

    def take(self, now_ms: int) -> tuple[int, Groups]:
        """(device, groups) of the earliest visit; every group of it that is due by `now_ms`.

        The device is out of the schedule until `put_back`.
        """
        slot, index = heapq.heappop(self._heap)
        until = max(slot, now_ms)
        return index, frozenset(group for group, due in self._due[index].items() if due <= until)

    def put_back(self, index: int, groups: Groups, now_ms: int, failures: int) -> None:
        """After a visit: the next slot of each group, or for a dead device the first one behind its back-off."""
        due = self._due[index]
        if failures:
            quiet_until = now_ms + backoff_ms(failures, min(beat.period_ms for beat in self._beats[index].values()))
            for group, beat in self._beats[index].items():
                due[group] = beat.after(quiet_until)
        else:
            for group in groups:
                due[group] = self._beats[index][group].after(now_ms)
        heapq.heappush(self._heap, (min(due.values()), index))

    def postpone(self, index: int, until_ms: int) -> None:
        """Instead of a visit: every group of the taken device waits for its first slot after `until_ms`."""
        self._due[index] = {group: beat.after(until_ms) for group, beat in self._beats[index].items()}
        heapq.heappush(self._heap, (min(self._due[index].values()), index))

    def release(self, index: int) -> None:
        """Puts a taken device back as it was: what was due is due still."""
        heapq.heappush(self._heap, (min(self._due[index].values()), index))
