"""Messages that wait to be stored: in the order they came, but nobody at an exit waits behind what can wait."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.ingest.messages import Incoming, Passages, Refused
from gateway.contract.messages import Outcome, Passage

Message = Incoming | Refused
Lane = tuple[str, str, str]
"""Project, gateway, device."""

_PATIENCE_S: Final = 0.2
"""What can wait waits no longer than this for those at exits."""
_BESIDE_EXITS_S: Final = 0.04
_BUSY_S: Final = 1.0
"""Where vehicles came to exits so recently, what can wait gathers for longer: the next one is about to come."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Message
    since: float
    lanes: frozenset[Lane]
    at_exit: bool


@dataclass(frozen=True, slots=True)
class _Taken:
    """A group that is being stored or answered."""

    messages: int
    since: float


class Line:
    """A bounded line, and which messages of it are stored together.

    A vehicle that was recognised at an exit may wait for its price: such a message goes first, together with all that
    was told of its lane before and after (it may have left meanwhile, and no barrier is to open for it). All else
    lingers, the longer where exits are busy: the database does much in one transaction with as little effort as one
    thing.
    """

    def __init__(
        self, longest: int, at_once: int, linger_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest, self._at_once, self._linger_s, self._clock = longest, at_once, linger_s, clock
        self._waiting: list[_Waiting] = []
        self._last_at_exit = -_BUSY_S
        self._taken: deque[_Taken] = deque()
        self._news, self._all_answered = asyncio.Event(), asyncio.Event()
        self._all_answered.set()

    @property
    def full(self) -> bool:
        """Whether no more are taken in."""
        return len(self._waiting) >= self._longest

    @property
    def unanswered(self) -> int:
        """How many were put in and are not answered."""
        return len(self._waiting) + sum(group.messages for group in self._taken)

    @property
    def longest_wait_s(self) -> float:
        """For how long the oldest of those has been here."""
        since = [*(group.since for group in self._taken), *(one.since for one in self._waiting[:1])]
        return self._clock() - min(since) if since else 0.0

    def put(self, message: Message) -> None:
        """Joins the line."""
        now, (lanes, at_exit) = self._clock(), _lanes_of(message)
        self._waiting.append(_Waiting(message, now, lanes, at_exit))
        if at_exit:
            self._last_at_exit = now
        self._all_answered.clear()
        if at_exit or len(self._waiting) in (1, self._at_once):
            self._news.set()

    async def next_group(self) -> list[Message]:
        """Waits for messages, and takes out those that are to be stored next. Groups are answered in their order."""
        while (pause_s := self._pause_s()) is None or pause_s > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._news.wait()
        chosen = self._chosen()
        taken = set(map(id, chosen))
        self._waiting = [one for one in self._waiting if id(one) not in taken]
        self._taken.append(_Taken(len(chosen), min(one.since for one in chosen)))
        return [one.message for one in chosen]

    def answered(self) -> None:
        """The first of the groups taken out is done with."""
        self._taken.popleft()
        if not self.unanswered:
            self._all_answered.set()

    async def all_answered(self) -> None:
        """Waits until nothing is left to be done."""
        await self._all_answered.wait()

    def _pause_s(self) -> float | None:
        """How long to wait for more; None: until something comes."""
        if not self._waiting:
            return None
        if self._lanes_at_exits() or len(self._waiting) >= self._at_once:
            return 0
        busy = self._clock() - self._last_at_exit < _BUSY_S
        return (max(self._linger_s, _BESIDE_EXITS_S) if busy else self._linger_s) - self._age_s(self._waiting)

    def _chosen(self) -> Sequence[_Waiting]:
        lanes = self._lanes_at_exits()
        if not lanes:
            return self._waiting[: self._at_once]
        first = [one for one in self._waiting if one.lanes & lanes]
        rest = [one for one in self._waiting if not one.lanes & lanes]
        if rest and self._age_s(rest) >= _PATIENCE_S:
            first += rest
        return first[: self._at_once]

    def _lanes_at_exits(self) -> set[Lane]:
        """All that those tell of who stand at an exit."""
        return {lane for one in self._waiting if one.at_exit for lane in one.lanes}

    def _age_s(self, waiting: Sequence[_Waiting]) -> float:
        return self._clock() - waiting[0].since


def _lanes_of(message: Message) -> tuple[frozenset[Lane], bool]:
    """The lanes that a message tells of, and whether a vehicle stands at the exit of one of them."""
    if not isinstance(message, Incoming) or not isinstance(message.content, Passages):
        return frozenset(), False
    address, passages = message.address, message.content.items
    lanes = frozenset((address.project, address.gateway, passage.device) for passage in passages)
    return lanes, any(map(_at_exit, passages))


def _at_exit(passage: Passage) -> bool:
    return passage.outcome is Outcome.ARRIVED and passage.direction == "exit"
