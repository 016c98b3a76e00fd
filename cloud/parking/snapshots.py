"""Hubs of a web process: how things of watched projects are, once a second, and what changed to every stream.

A stream shows how things are, not what happened: who reads slowly or comes back late gets what is true now.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

import psycopg
import structlog
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout
from pydantic import BaseModel

from cloud.identity.streams import NextEvent, admit, named
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Unavailable

_log = structlog.get_logger(__name__)


class Thing(Protocol):
    """Something of a project that is shown as it is now."""

    @property
    def project_id(self) -> int:
        """Whose it is."""

    @property
    def key(self) -> int:
        """Its number among its kind."""


Shown = TypeVar("Shown", bound=Thing)
Look = Callable[[Conn, Sequence[int], datetime], Awaitable[Sequence[Shown]]]
"""Reads the things of some projects as they are now."""


@dataclass(frozen=True, slots=True)
class StreamRules:
    """Limits of the streams of a process; times in seconds."""

    poll_s: float = 1.0
    """Changes are told at most so often."""
    heartbeat_s: float = 15.0
    recheck_s: float = 20.0
    streams: int = 500
    of_user: int = 20


@dataclass(frozen=True, slots=True)
class Changed(Generic[Shown]):
    """Things as they are now, and the name of how all watched ones are."""

    position: str
    items: tuple[Shown, ...]


@dataclass(eq=False)
class SnapshotStream(Generic[Shown]):
    """One client: the things of a project that he watches, one or all, and how he saw them last."""

    user_id: int
    project_id: int
    only: int | None = None
    """The key of the one thing that is watched."""
    known: str | None = None
    """The name of what he saw last; None before anything."""
    closed: bool = False
    _begun: bool = False
    _seen: dict[int, Shown] = field(default_factory=dict)
    _now: dict[int, Shown] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, found: Sequence[Shown]) -> None:
        """How things are; what is the same as before is no news."""
        self._now = {
            one.key: one for one in found if one.project_id == self.project_id and self.only in (None, one.key)
        }
        if self._now != self._seen or not self._begun:
            # Whoever comes is told where he stands, even when that is where he was.
            self._ready.set()

    def close(self) -> None:
        """Ends the stream."""
        self.closed = True
        self._ready.set()

    async def next(self, timeout_s: float) -> Changed[Shown] | None:
        """What changed since the last time: all at first, unless the client knows exactly that already."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return None
        if self.closed:
            return None
        self._ready.clear()
        position = name_of(self._now.values())
        changed = () if position == self.known else self._changes()
        self._seen, self.known, self._begun = self._now, position, True
        return Changed(position, changed)

    def _changes(self) -> tuple[Shown, ...]:
        return tuple(one for one in self._now.values() if self._seen.get(one.key) != one)


def telling(name: str, shown: Callable[[Shown], BaseModel]) -> NextEvent[SnapshotStream[Shown]]:
    """The next event of a stream for `EventStream`: what changed under `name`, or where the client stands."""

    async def next_event(stream: SnapshotStream[Shown], timeout_s: float) -> bytes | None:
        changed = await stream.next(timeout_s)
        if changed is None:
            return None
        if not changed.items:
            return named("position", {}, changed.position)
        return named(name, [shown(one).model_dump() for one in changed.items], changed.position)

    return next_event


class SnapshotHub(Generic[Shown]):
    """All streams of one kind of a process. It looks once for all of them, and only while there are any."""

    def __init__(
        self, db: Database, look: Look[Shown], name: str, gauge: Gauge, rules: StreamRules | None = None
    ) -> None:
        self._db = db
        self._look_at = look
        self._name = name
        self._gauge = gauge
        self.rules = rules or StreamRules()
        self._streams: set[SnapshotStream[Shown]] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def stream(
        self, user_id: int, project_id: int, only: int | None, known: str | None
    ) -> AsyncIterator[SnapshotStream[Shown]]:
        """A stream of the things of a project or of one of them. Raises TooManyRequests, Unavailable."""
        if self._closed:
            raise Unavailable("stopping", "this process is about to end: connect again")
        admit(user_id, [one.user_id for one in self._streams], self.rules.streams, self.rules.of_user)
        stream: SnapshotStream[Shown] = SnapshotStream(user_id, project_id, only, known)
        self._streams.add(stream)
        self._gauge.set(len(self._streams))
        try:
            stream.offer(await self._look([project_id]))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
            yield stream
        finally:
            self._streams.discard(stream)
            self._gauge.set(len(self._streams))

    async def close(self) -> None:
        """Ends all streams; there are no new ones."""
        self._closed = True
        self._end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._streams and not self._closed:
            await asyncio.sleep(self.rules.poll_s)
            try:
                found = await self._look(sorted({stream.project_id for stream in self._streams}))
                for stream in self._streams:
                    stream.offer(found)
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning(f"{self._name}.database_lost", error=str(error).strip())
            except Exception:  # noqa: BLE001 - a stream that is silent looks like a car park where nothing happens
                _log.exception(f"{self._name}.failed")
                self._end()
                return

    def _end(self) -> None:
        """Ends the streams that there are: browsers come back by themselves."""
        for stream in self._streams:
            stream.close()

    async def _look(self, projects: Sequence[int]) -> Sequence[Shown]:
        """Looks at projects that somebody who may do so watches."""
        asker = Asker("staff", tuple(projects), request_id=self._name)
        async with self._db.transaction(asker) as conn:
            return await self._look_at(conn, projects, datetime.now(UTC))


def name_of(found: Iterable[Shown]) -> str:
    """The same for the same things, in every process."""
    return blake2b(repr(sorted(found, key=lambda one: one.key)).encode(), digest_size=12).hexdigest()
