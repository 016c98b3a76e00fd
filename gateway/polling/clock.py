"""The clock of readings: wall time at the start, monotonic from there; it cannot step back within a run."""

import time
from collections.abc import Callable

_STEP_MS = 2_000
"""A disagreement with the wall clock beyond this is a step, not slewing."""


class Clock:
    """Milliseconds since 1970, never going back.

    When the wall clock is stepped forward (a gateway without a battery learns the time after its start), it
    follows. When the wall clock is stepped back, it goes on and says so by `estimated`.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._anchor_ns = wall_ns() - monotonic_ns()
        self.estimated = False
        """Whether the wall clock lies behind this one: times of readings are then not those of the wall."""

    def now_ms(self) -> int:
        """The time of what happens now."""
        monotonic = self._monotonic_ns()
        now = (self._anchor_ns + monotonic) // 1_000_000
        ahead = self._wall_ns() // 1_000_000 - now
        if ahead > _STEP_MS:
            self._anchor_ns += ahead * 1_000_000
            now += ahead
        self.estimated = ahead < -_STEP_MS
        return now

    def is_sure(self) -> bool:
        """Whether the wall clock says the same as this one, now."""
        self.now_ms()
        return not self.estimated
