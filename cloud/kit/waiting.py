"""Waiting for the database on the spot for a moment, before the event loop is asked to tell when it has answered.

Most statements of ingest and worker are answered within a fraction of a millisecond. To be told so by the event loop
costs twice as much as such a statement (measured: 105 µs with it, 55 µs without, server included), and a vehicle at an
exit waits for forty of them.
"""

import asyncio
import select
from collections.abc import Generator
from typing import Any, Final, TypeVar

from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.rows import DictRow
from psycopg.waiting import Ready, Wait

RV = TypeVar("RV")

_MOMENT_MS: Final = 1
"""The event loop stands still at most so long for one statement; poll(2) knows nothing shorter."""
_EVENTS: Final = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}
_INTERVAL_S: Final = 0.1


class PromptConnection(AsyncConnection[DictRow]):
    """A connection for processes in which one thing is done at a time and nobody else waits for the event loop.

    What takes longer than a moment gives way to other tasks as ever, and so does whoever has got an answer: in a row of
    statements that are all answered at once, what a broker sends would be read too slowly.
    """

    async def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_S, timeout: float | None = None) -> RV:
        """As the library's own, which is asked only for what does not come at once."""
        answer = await super().wait(promptly(gen, self.pgconn.socket), interval, timeout)
        await asyncio.sleep(0)
        return answer


def promptly(gen: PQGen[RV], socket: int) -> Generator[Any, Any, RV]:
    """The same dialogue with the server; only what was waited for in vain is asked of the outside."""
    poll = select.poll()
    try:
        state = next(gen)
        while True:
            poll.register(socket, _EVENTS[state])
            state = gen.send(_ready(poll) or (yield state))
    except StopIteration as done:
        answer: RV = done.value
        return answer


def _ready(poll: select.poll) -> int:
    """What can be done without waiting longer than a moment; 0 for nothing. Of a lost connection the error is read."""
    ready = 0
    for _, events in poll.poll(_MOMENT_MS):
        if events & ~select.POLLOUT:
            ready |= Ready.R
        if events & select.POLLOUT:
            ready |= Ready.W
    return ready
