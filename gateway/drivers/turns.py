"""Turns on a line: one transaction at a time, those of commands first, and with each turn a connection."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

from gateway.errors import LineDown

_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


@contextmanager
def urgent() -> Iterator[None]:
    """Whatever this task asks inside goes before polls. The context carries it, so that no meter passes it on."""
    token = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(token)


class Connects(Protocol):
    """A line as far as its turns need it."""

    @property
    def connected(self) -> bool:
        """Whether a request can be sent now."""

    async def connect(self) -> None:
        """Opens the connection. Raises LineDown."""


class Turns:
    """`async with turns` around each transaction: waits for the line to be free, and connects it when it is not.

    Urgent transactions go first, but none is interrupted. An urgent task that asks again at once keeps its turn; while
    it waits for something else (a valve that moves), polls go on. Entering raises LineDown when there is no connection
    to be had.
    """

    def __init__(self, line: Connects) -> None:
        self._line = line
        self._taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._usual: deque[asyncio.Future[None]] = deque()
        self.connects = 0
        self.connect_failures = 0

    async def __aenter__(self) -> None:
        await self._take()
        if self._line.connected:
            return
        try:
            await self._line.connect()
        except LineDown:
            self.connect_failures += 1
            self._give_back()
            raise
        except BaseException:
            self._give_back()
            raise
        self.connects += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    async def _take(self) -> None:
        queue = self._urgent if _urgent.get() else self._usual
        while self._taken or (self._urgent and queue is self._usual):
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.append(woken)
            try:
                await woken
            except asyncio.CancelledError:
                queue.remove(woken)
                self._wake_next()  # the turn may have been given to this task, or others held back for it
                raise
            queue.remove(woken)
        self._taken = True

    def _give_back(self) -> None:
        self._taken = False
        self._wake_next()

    def _wake_next(self) -> None:
        """The one woken stays in its queue until it runs: only an urgent task may take the turn before it."""
        queue = self._urgent or self._usual
        if queue and not self._taken and not queue[0].done():
            queue[0].set_result(None)
