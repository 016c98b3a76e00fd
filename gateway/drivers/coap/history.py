"""When a sample was taken, and whether it was recorded before; pure.

A device's clock is absurd when it says a time before 2000 or more than five minutes ahead. What is done then:

- A sample of a sane time keeps it. Older than the line's bound, it was kept by the device and is flagged RESTORED.
- Of a channel whose times in a pack are all absurd, the newest sample takes the arrival time, flagged
  ESTIMATED_CLOCK: it was just taken, most likely, and a meter with a broken clock is still read.
- Every other sample of an absurd time is refused and counted: nobody knows when it was taken. So is an absurd one
  beside sane ones: the sane ones say more, and a register must not be moved to a time that it does not belong to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.contract.limits import MIN_TIME_MS
from gateway.contract.messages import Point, Quality
from gateway.drivers.coap.readings import Sample

MAX_AHEAD_MS: Final = 300_000
REMEMBERED: Final = 100_000
"""Points that a line remembers: some twenty megabytes."""


@dataclass(frozen=True, slots=True)
class Dated:
    """Points of one pack, and how many of its samples were refused for their time."""

    points: list[Point]
    refused: int


def dated(device: str, samples: Sequence[Sample], arrival_ms: int, history_after_ms: int, unsure: bool) -> Dated:
    """Gives every sample its time and flags; `unsure` says that the gateway's own clock is estimated."""
    sane = {sample.channel for sample in samples if _is_sane(sample, arrival_ms)}
    newest: dict[str, Sample] = {}
    for sample in samples:
        if sample.channel not in sane and sample.at_ms >= newest.get(sample.channel, sample).at_ms:
            newest[sample.channel] = sample
    points: list[Point] = []
    for sample in samples:
        if _is_sane(sample, arrival_ms):
            flags = Quality.RESTORED if sample.at_ms < arrival_ms - history_after_ms else Quality.GOOD
            if unsure and not sample.absolute:
                flags |= Quality.ESTIMATED_CLOCK
            points.append(_point(device, sample, sample.at_ms, flags))
        elif sample is newest.get(sample.channel):
            points.append(_point(device, sample, arrival_ms, Quality.ESTIMATED_CLOCK))
    return Dated(points, len(samples) - len(points))


def _is_sane(sample: Sample, arrival_ms: int) -> bool:
    return MIN_TIME_MS <= sample.at_ms <= arrival_ms + MAX_AHEAD_MS


def _point(device: str, sample: Sample, at_ms: int, flags: Quality) -> Point:
    return Point(device, sample.channel, at_ms, sample.value, sample.quality | int(flags))


class Memory:
    """Points recorded lately. Bounded, and gone with the process: the cloud drops what it has already (WIRE.md), so
    that this only saves the way there.

    Another value at the same time is not held back: the cloud keeps it as a revision and says so.
    """

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._values: dict[tuple[str, str, int], int] = {}

    def unknown(self, points: Iterable[Point]) -> list[Point]:
        """Those of `points` that were not recorded yet, each once."""
        seen: set[tuple[str, str, int, int]] = set()
        fresh: list[Point] = []
        for point in points:
            key = (point.device, point.channel, point.taken_at, point.value)
            if key not in seen and self._values.get(key[:3]) != point.value:
                fresh.append(point)
            seen.add(key)
        return fresh

    def remember(self, points: Iterable[Point]) -> None:
        """Notes points that are recorded; the longest known are forgotten."""
        for point in points:
            key = (point.device, point.channel, point.taken_at)
            self._values.pop(key, None)
            self._values[key] = point.value
        while len(self._values) > self._capacity:
            del self._values[next(iter(self._values))]
