"""Counters of devices and lines; plain integers, collected when somebody asks."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from statistics import median_low
from typing import Final

from gateway.contract.messages import Action, DeviceHealth, Point
from gateway.drivers.base import Reading, ReadOutcome

_ROUND_TRIPS_KEPT: Final = 31
HANGS_AFTER_S: Final = 900.0
"""No visit takes this long, not even one to a silent device with many reads, a long timeout and a full disk behind."""
_UTILISATION_S: Final = 10.0


@dataclass(slots=True)
class DeviceStats:
    """What one device did since the start."""

    device: str
    actions: tuple[Action, ...] = ()
    """What it can be told to do."""
    answers: int = 0
    timeouts: int = 0
    exceptions: int = 0
    malformed: int = 0
    missing: int = 0
    """Channels answered with "no value"."""
    errors: int = 0
    """Channels answered with what is no value, such as NaN."""
    points: int = 0
    last_seen_ms: int = 0
    failures_in_a_row: int = 0
    last_error: str = ""
    """What went wrong last, for people; kept when all is well again."""
    round_trips_us: deque[int] = field(default_factory=lambda: deque(maxlen=_ROUND_TRIPS_KEPT))
    shown: dict[str, tuple[int, list[Reading]]] = field(default_factory=dict)
    """Its last answers with their times, each under its first channel: what a monitor shows, kept without a copy."""

    def count(self, outcome: ReadOutcome, now_ms: int) -> None:
        """Adds one visit."""
        self.answers += len(outcome.answers)
        self.timeouts += outcome.timeouts
        self.exceptions += outcome.exceptions
        self.malformed += outcome.malformed
        self.missing += outcome.missing
        self.errors += outcome.errors
        self.round_trips_us.extend(outcome.round_trips_us)
        for taken_at, readings in outcome.answers:
            if readings:
                self.shown[readings[0].channel] = (taken_at, readings)
        if outcome.error:
            self.last_error = outcome.error
        if outcome.answered:
            self.last_seen_ms = now_ms
            self.failures_in_a_row = 0
        else:
            self.failures_in_a_row += 1

    def show(self, points: Iterable[Point]) -> None:
        """Takes what the device sent by itself, perhaps late and out of order."""
        for point in points:
            before = self.shown.get(point.channel)
            if before is None or before[0] <= point.taken_at:
                self.shown[point.channel] = (point.taken_at, [Reading(point.channel, point.value, point.quality)])

    def latest(self) -> dict[str, tuple[int, Reading]]:
        """The last value of each channel and when it was taken; may be called from another thread."""
        answers = sorted(self.shown.copy().values(), key=lambda answer: answer[0])
        return {reading.channel: (taken_at, reading) for taken_at, readings in answers for reading in readings}

    def round_trip_us(self) -> int:
        """Median of the recent round trips, 0 without any; may be called from another thread."""
        recent = self.round_trips_us.copy()
        return median_low(recent) if recent else 0

    def report(self) -> DeviceHealth:
        """As it goes to the cloud."""
        return DeviceHealth(
            self.device,
            self.last_seen_ms,
            self.answers,
            self.timeouts,
            self.exceptions,
            self.malformed,
            self.round_trip_us(),
            self.actions,
        )


@dataclass(slots=True)
class IntakeCounters:
    """What a line that devices send to did beside the counters of its devices."""

    unknown: int = 0
    """Messages and records of devices that this line does not have."""
    malformed: int = 0
    """Messages that no device could be blamed for."""
    duplicates: int = 0
    """Points that were recorded before and came in another message."""
    refused_times: int = 0
    """Samples whose time nobody knows (`history` has the rule)."""
    stale: int = 0
    """Observations that fell silent."""


@dataclass(slots=True)
class LineStats:
    """What one line did since the start."""

    name: str
    devices: list[DeviceStats]
    connects: int = 0
    connect_failures: int = 0
    visits: int = 0
    late_visits: int = 0
    """Visits that began more than one shortest period behind their slot: the line is too full."""
    busy_s: float = 0.0
    """In transactions since the start."""
    utilisation: float = 0.0
    """Share of the time spent in transactions, in the last ten seconds or so."""
    connected: bool = False
    moves_by: float = inf
    """When, on the monotonic clock, the line's loop will have turned again at the latest: later than that it hangs."""
    intake: IntakeCounters | None = None
    """Of a line that devices send to."""
    _counted: tuple[float, float] | None = None
    """(time, `busy_s`) where the present stretch of ten seconds began."""

    def count_time(self, busy_s: float, now_s: float) -> None:
        """`busy_s` of the line's own count, at a time of a clock that runs evenly."""
        self.busy_s = busy_s
        if self._counted is None:
            self._counted = now_s, busy_s
        elif (stretch := now_s - self._counted[0]) >= _UTILISATION_S:
            self.utilisation = min((busy_s - self._counted[1]) / stretch, 1.0)
            self._counted = now_s, busy_s
