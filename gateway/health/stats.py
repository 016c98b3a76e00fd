"""Counters of devices and lines; plain integers, collected when somebody asks."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

from gateway.contract.messages import Action, DeviceHealth
from gateway.drivers.base import ReadOutcome

_ROUND_TRIPS_KEPT: Final = 31
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

    def count(self, outcome: ReadOutcome, now_ms: int) -> None:
        """Adds one visit."""
        self.answers += len(outcome.answers)
        self.timeouts += outcome.timeouts
        self.exceptions += outcome.exceptions
        self.malformed += outcome.malformed
        self.missing += outcome.missing
        self.errors += outcome.errors
        self.round_trips_us.extend(outcome.round_trips_us)
        if outcome.error:
            self.last_error = outcome.error
        if outcome.answered:
            self.last_seen_ms = now_ms
            self.failures_in_a_row = 0
        else:
            self.failures_in_a_row += 1

    def report(self) -> DeviceHealth:
        """As it goes to the cloud."""
        return DeviceHealth(
            self.device,
            self.last_seen_ms,
            self.answers,
            self.timeouts,
            self.exceptions,
            self.malformed,
            median_low(self.round_trips_us) if self.round_trips_us else 0,
            self.actions,
        )


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
