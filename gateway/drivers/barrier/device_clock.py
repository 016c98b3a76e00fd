"""The clock of a barrier's device as it is heard: how far it is off, and what is believed of its times."""

from collections.abc import Callable
from typing import Final

from gateway.contract.limits import MAX_TIME_MS
from gateway.drivers.barrier.credible import Believed, believed_time
from gateway.elapsed import elapsed_ns

_APART_MS: Final = 60_000
"""Clocks that are less apart are left alone."""


class DeviceClock:
    """Of one device; `clock` gives the time here, Unix milliseconds, and may be set between."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._told: tuple[int, int] | None = None
        """What the device's clock showed (Unix milliseconds), and `elapsed_ns` when it was heard."""

    def hear(self, told: int) -> None:
        """The device says what its clock shows now. An event that waits its turn would seem to be from a slow clock."""
        self._told = told, elapsed_ns()

    @property
    def off(self) -> int:
        """Milliseconds that the device's clock is behind the one here, which may have been set since it was heard."""
        if self._told is None:
            return 0
        told, heard = self._told
        off = self._clock() - told - (elapsed_ns() - heard) // 1_000_000
        return off if abs(off) <= MAX_TIME_MS else 0

    def believed(self, taken_at: int, offline: bool) -> Believed:
        """When something happened of which the device says that it was at `taken_at`."""
        off = self.off
        return believed_time(taken_at, offline, self._clock(), off if abs(off) > _APART_MS else 0)
