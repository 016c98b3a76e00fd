"""The hub of a web process: counts of the watched projects once a second, and what changed to every stream.

A stream shows how things are, not what happened: who reads slowly or comes back late gets what is true now.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

import psycopg
import structlog
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout

from cloud.identity.streams import admit
from cloud.kit.db import Asker, Database
from cloud.kit.errors import Unavailable
from cloud.parking.counts.counting import LotCounts, counts

_log = structlog.get_logger(__name__)
_STREAMS = Gauge("gatemeter_count_streams", "Streams of free places that this process holds open.")


@dataclass(frozen=True, slots=True)
class CountRules:
    """Limits of the streams of a process; times in seconds."""

    poll_s: float = 1.0
    """Changes of a lot are told at most so often."""
    heartbeat_s: float = 15.0
    recheck_s: float = 20.0
    streams: int = 500
    of_user: int = 20


@dataclass(frozen=True, slots=True)
class Changed:
    """Lots as they are now, and the name of how all watched ones are."""

    position: str
    lots: tuple[LotCounts, ...]


@dataclass(eq=False)
class CountStream:
    """One client: the lots that he watches, and how he saw them last."""

    user_id: int
    project_id: int
    lot_id: int | None
    known: str | None = None
    """The name of what he saw last; None before anything."""
    closed: bool = False
    _begun: bool = False
    _seen: dict[int, LotCounts] = field(default_factory=dict)
    _now: dict[int, LotCounts] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, found: Sequence[LotCounts]) -> None:
        """How things are; what is the same as before is no news."""
        self._now = {
            one.lot_id: one for one in found if one.project_id == self.project_id and self.lot_id in (None, one.lot_id)
        }
        if self._now != self._seen or not self._begun:
            # Whoever comes is told where he stands, even when that is where he was.
            self._ready.set()

    def close(self) -> None:
        """Ends the stream."""
        self.closed = True
        self._ready.set()

    async def next(self, timeout_s: float) -> Changed | None:
        """What changed since the last time: all at first, unless the client knows exactly that already."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return None
        if self.closed:
            return None
        self._ready.clear()
        position = name_of(list(self._now.values()))
        changed = () if position == self.known else self._changes()
        self._seen, self.known, self._begun = self._now, position, True
        return Changed(position, changed)

    def _changes(self) -> tuple[LotCounts, ...]:
        return tuple(one for one in self._now.values() if self._seen.get(one.lot_id) != one)


class CountHub:
    """All streams of a process. It counts once for all of them, and only while there are any."""

    def __init__(self, db: Database, rules: CountRules | None = None) -> None:
        self._db = db
        self.rules = rules or CountRules()
        self._streams: set[CountStream] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def stream(
        self, user_id: int, project_id: int, lot_id: int | None, known: str | None
    ) -> AsyncIterator[CountStream]:
        """A stream of the lots of a project or of one lot. Raises TooManyRequests, Unavailable."""
        if self._closed:
            raise Unavailable("stopping", "this process is about to end: connect again")
        admit(user_id, [one.user_id for one in self._streams], self.rules.streams, self.rules.of_user)
        stream = CountStream(user_id, project_id, lot_id, known)
        self._streams.add(stream)
        _STREAMS.set(len(self._streams))
        try:
            stream.offer(await self._count([project_id]))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
            yield stream
        finally:
            self._streams.discard(stream)
            _STREAMS.set(len(self._streams))

    async def close(self) -> None:
        """Ends all streams; there are no new ones."""
        self._closed = True
        for stream in self._streams:
            stream.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._streams and not self._closed:
            await asyncio.sleep(self.rules.poll_s)
            try:
                found = await self._count(sorted({stream.project_id for stream in self._streams}))
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("counts.database_lost", error=str(error).strip())
                continue
            for stream in self._streams:
                stream.offer(found)

    async def _count(self, projects: Sequence[int]) -> list[LotCounts]:
        """Counts projects that somebody who may do so watches."""
        asker = Asker("staff", tuple(projects), request_id="counts")
        async with self._db.transaction(asker) as conn:
            return await counts(conn, projects, datetime.now(UTC))


def name_of(found: Sequence[LotCounts]) -> str:
    """The same for the same counts, in every process."""
    return blake2b(repr(sorted(found, key=lambda one: one.lot_id)).encode(), digest_size=12).hexdigest()
