"""An event loop on which time passes only while it waits in vain: for tests of lines with both ends in one process.

On a busy machine a process stands still for half a second between a question and its answer, and so may the system
that carries it; by the time of the wall an answer that takes a millisecond comes too late. Here what the loop computes
takes no time, a pause of the whole process none either, and what arrives has arrived within a millisecond.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

_STEP_S: Final = 0.001
"""A wait may be longer than asked for by this: that of the selector is in whole milliseconds."""


class _Waits(selectors.DefaultSelector):
    """Sums up the time that was spent waiting."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        began = monotonic()
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        most = _STEP_S if found else _STEP_S + (timeout or 0.0)
        if timeout is None or timeout > 0:
            self.passed_s += min(monotonic() - began, most)
        return found


class WaitedTime(asyncio.SelectorEventLoop):
    """Its `time` stands still while anything but waiting is done; timeouts of asyncio go by it."""

    def __init__(self) -> None:
        self._waits = _Waits()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.passed_s


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A room's conftest imports this to have all its tests run so."""
    return {"waited-time": WaitedTime}
