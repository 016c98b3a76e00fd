"""Whether the gateway itself is well: what must keep moving says so, and what has stopped is named."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from gateway.health.stats import LineStats

BEAT_S: Final = 1.0
"""How often the event loop shows that it turns."""
STALE_AFTER_S: Final = 15.0
"""Longer than any single step that the loop or the outbox may take."""

Clock = Callable[[], float]
"""Seconds on the monotonic clock."""


class Vitals:
    """Beats of the parts that must not stop. Read from other threads; written by the event loop only.

    What lies outside (a silent meter, a broker that is away) is no illness: the gateway goes on by itself and a
    restart would help nobody.
    """

    def __init__(self, clock: Clock = monotonic, look: Callable[[], Iterable[str]] = tuple) -> None:
        """`look` names what has stopped among parts that do not beat here; other threads call it too."""
        self._clock, self._look = clock, look
        self._beats: dict[str, float] = {}

    def beat(self, part: str) -> None:
        """`part` has just done a piece of its work."""
        self._beats[part] = self._clock()

    def forget(self, part: str) -> None:
        """`part` has ended on purpose."""
        self._beats.pop(part, None)

    def problems(self) -> list[str]:
        """The parts that have not moved for too long, each in words; empty when all is well."""
        now = self._clock()
        stale = ((part, now - beat) for part, beat in sorted(self._beats.copy().items()))
        found = [f"{part} has not moved for {age:.0f} s" for part, age in stale if age > STALE_AFTER_S]
        return [*found, *self._look()]


def hanging(lines: Sequence[LineStats], now: float) -> list[str]:
    """The lines whose loop should have turned before `now` (monotonic), in words."""
    return [
        f"line {line.name} has not moved for {now - line.moves_by:.0f} s too long"
        for line in lines
        if line.moves_by < now
    ]


async def keep_beating(
    vitals: Vitals, stop: asyncio.Event, notify: Callable[[], None] | None = None, every_s: float = BEAT_S
) -> None:
    """Beats for the event loop until `stop`; calls `notify` after each beat at which nothing is wrong."""
    while not stop.is_set():
        vitals.beat("event-loop")
        if notify is not None and not vitals.problems():
            notify()
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stop.wait()
    vitals.forget("event-loop")
