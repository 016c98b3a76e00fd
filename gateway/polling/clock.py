"""The clock of readings: wall time at the start, monotonic from there; it cannot step back within a run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_STEP_MS: Final = 2_000
"""A disagreement with the wall clock beyond this is a step, not slewing."""
EARLIEST_MS: Final = 1_767_225_600_000
"""2026-01-01: this software did not exist before, a wall clock that says so was never set."""
_KEPT_MS: Final = 10_000
"""How often the time is kept for the next start."""
_SURE_MS: Final = 60_000
"""An order lives a minute longer at most on a wall clock that is behind by no more than this."""
_BELIEVED_MS: Final = 30 * 86_400_000
"""A gateway is seldom switched off for longer; a clock that is later than that may be broken."""
_ERROR_MS: Final = 86_400_000
"""Whoever is a day ahead of a wall clock that was set had a wrong time, not a later one."""


class Clock:
    """Milliseconds since 1970, never going back; not over restarts either when it has a file to keep the time in.

    When the wall clock is stepped forward (a gateway without a battery learns the time after its start), it
    follows. When the wall clock is stepped back, it goes on and says so by `estimated`. A gateway that starts before
    the wall clock is set goes on from the time kept last, estimated too. Only a wall clock that lies more than a day
    behind is believed: then the time before was wrong.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        kept_in: Path | None = None,
    ) -> None:
        """The time is kept in the file `kept_in`, which is made when it is not there."""
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._kept_in = kept_in
        wall = wall_ns() // 1_000_000
        kept = _read(kept_in) if kept_in is not None else 0
        self.knows = max(wall, kept) >= EARLIEST_MS
        """Whether the time was ever known; False in a new gateway until its wall clock is set."""
        start = _start(wall, kept)
        self._anchor_ns = start * 1_000_000 - monotonic_ns()
        self._right_until_ms = start if kept > wall else kept + _KEPT_MS
        """Before the last step forward, or the end of the last run; no reading lies between here and its target."""
        self._began_ns = monotonic_ns()
        self._reached_ms = kept if kept and start - kept > _BELIEVED_MS else start
        self._keep_at_ms = 0
        self.estimated = start - wall > _STEP_MS
        """Whether the wall clock lies behind this one: times of readings are then not those of the wall."""

    def now_ms(self) -> int:
        """The time of what happens now."""
        now = (self._anchor_ns + self._monotonic_ns()) // 1_000_000
        wall = self._wall_ns() // 1_000_000
        ahead = wall - now
        if ahead > _STEP_MS:
            self._right_until_ms = now
            now = self._move(now, wall)
        elif ahead < -_ERROR_MS and wall > max(self._right_until_ms, EARLIEST_MS):
            log.warning("clock-was-wrong", ahead_ms=-ahead)
            now = self._move(now, wall)
        self.estimated = wall - now < -_STEP_MS
        if now >= self._keep_at_ms and self.knows:
            self._keep(now)
        return now

    def wall_ms(self) -> int:
        """The wall clock, which may be set back; before it is set for the first time, the time of readings.

        For what is of now: a vehicle at a barrier must not be stamped years ago, nor a day ahead of a mended clock.
        """
        wall = self._wall_ns() // 1_000_000
        return wall if wall >= EARLIEST_MS else self.now_ms()

    def wall_is_sure(self) -> bool:
        """Whether the wall clock was set, and not set back by more than a minute: an order is judged by it.

        A restart alone, which begins a few seconds ahead of what was kept, is no reason to doubt it.
        """
        ahead = self.now_ms() - self._wall_ns() // 1_000_000
        return ahead <= _SURE_MS and self._wall_ns() // 1_000_000 >= EARLIEST_MS

    def reached_ms(self) -> int:
        """A time that has certainly come, by which it is judged what is long ago and may be forgotten.

        A start more than a month after the time kept last may be that of a broken clock: only the time that has passed
        since is added to what was kept then.
        """
        passed = (self._monotonic_ns() - self._began_ns) // 1_000_000
        return min(self.now_ms(), self._reached_ms + passed)

    def _move(self, now: int, wall: int) -> int:
        self._anchor_ns += (wall - now) * 1_000_000
        self._keep_at_ms = 0
        self.knows = self.knows or wall >= EARLIEST_MS
        return wall

    def _keep(self, now: int) -> None:
        """For the next start. Its loss costs only that, so a disk that is full or gone is no reason to stop."""
        self._keep_at_ms = now + _KEPT_MS
        if self._kept_in is None:
            return
        new = self._kept_in.with_suffix(".new")
        try:
            new.write_text(f"{now}\n", encoding="ascii")
            new.replace(self._kept_in)
        except OSError as error:
            log.warning("time-not-kept", file=str(self._kept_in), reason=str(error))


def _start(wall: int, kept: int) -> int:
    """When a run begins: not before what the last one may have used."""
    if kept <= wall or (wall >= EARLIEST_MS and kept - wall > _ERROR_MS):
        return max(wall, EARLIEST_MS)
    return max(kept + _KEPT_MS, EARLIEST_MS)


def _read(file: Path) -> int:
    """The time kept last; 0 when there is none that can be read."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
