"""The hub of a web process: one poll of what was stored, handed out to every stream that may see it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import psycopg
import structlog
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout

from cloud.identity.streams import admit
from cloud.kit.db import Asker, Database
from cloud.kit.errors import Unavailable
from cloud.metering.live import batches as live_batches
from cloud.metering.live.batches import News, Points
from cloud.metering.readings.storing import Ints

_log = structlog.get_logger(__name__)
_STREAMS = Gauge("gatemeter_live_streams", "Streams of live readings that this process holds open.")

Lost = Literal["slow", "too-old", "too-much"]
"""Why readings are missing: the client read too slowly, came back too late, or more came than is sent."""

MOST_IN_EVENT: Final = 500


@dataclass(frozen=True, slots=True)
class LiveRules:
    """Limits of the streams of a process; times in seconds."""

    poll_s: float = 1.0
    """NOTIFY would be quicker, but takes a lock of the whole server at every COMMIT of ingest."""
    heartbeat_s: float = 15.0
    recheck_s: float = 20.0
    """How long a stream may outlive the session or the right to it."""
    waiting: int = 5_000
    """Readings that may wait for one client."""
    streams: int = 500
    of_user: int = 20


@dataclass(frozen=True, slots=True)
class Watched:
    """What a stream may show: meters of one project, each within [from_ms, until_ms]."""

    project_id: int
    meters: Ints
    """Sorted; a meter may stand there several times."""
    from_ms: Ints
    until_ms: Ints

    def visible(self, points: Points) -> Points:
        """The points that lie within what is watched."""
        if points.project_id != self.project_id or not len(self.meters):
            return points.where(np.zeros(len(points), np.bool_))
        mask = np.zeros(len(points), np.bool_)
        first = np.searchsorted(self.meters, points.meters, "left")
        last = np.searchsorted(self.meters, points.meters, "right")
        for nth in range(int((last - first).max(initial=0))):
            place = np.minimum(first + nth, len(self.meters) - 1)
            inside = (points.taken_ms >= self.from_ms[place]) & (points.taken_ms <= self.until_ms[place])
            mask |= (first + nth < last) & inside
        return points.where(mask)


@dataclass(frozen=True, slots=True)
class Event:
    """Something for one client; `position` is set on the last event of a step, where it can resume."""

    position: str | None
    points: Points | None = None
    lost: Lost | None = None


@dataclass(eq=False)
class Stream:
    """One client: what he may see and what waits for him."""

    user_id: int
    watched: Watched
    limit: int
    _waiting: deque[Event] = field(default_factory=deque)
    _size: int = 0
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def offer(self, news: News) -> None:
        """Queues what is visible of the news; all that waits is given up when it is too much."""
        seen = [points for batch in news.batches if len(points := self.watched.visible(batch))]
        size = sum(map(len, seen))
        if self._size + size > self.limit:
            self.lose("slow", news.position)
            return
        pieces = [part for points in seen for part in _parts(points)]
        for nth, part in enumerate(pieces, start=1):
            self._push(Event(news.position if nth == len(pieces) else None, part), len(part))

    def tell(self, position: str) -> None:
        """Queues a position with nothing: from here the client can resume."""
        self._push(Event(position), 0)

    def lose(self, why: Lost, position: str) -> None:
        """Forgets what waits and says so."""
        self._waiting.clear()
        self._size = 0
        self._push(Event(position, lost=why), 0)

    def close(self) -> None:
        """Ends the stream."""
        self.closed = True
        self._ready.set()

    async def next(self, timeout_s: float) -> Event | None:
        """The next event, None when there was none for so long or the stream is closed."""
        if not self._waiting and not self.closed:
            self._ready.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ready.wait()
            except TimeoutError:
                return None
        if self.closed or not self._waiting:
            return None
        event = self._waiting.popleft()
        self._size -= 0 if event.points is None else len(event.points)
        return event

    def _push(self, event: Event, size: int) -> None:
        self._waiting.append(event)
        self._size += size
        self._ready.set()


class LiveHub:
    """All streams of a process. It asks the database once for all of them, and only while there are any."""

    def __init__(self, db: Database, rules: LiveRules | None = None) -> None:
        self._db = db
        self.rules = rules or LiveRules()
        self._streams: set[Stream] = set()
        self._position = ""
        self._task: asyncio.Task[None] | None = None
        self._stepping = asyncio.Lock()
        self._closed = False

    @asynccontextmanager
    async def stream(self, user_id: int, watched: Watched, since: str | None) -> AsyncIterator[Stream]:
        """A stream from `since` (a position) on, or from now on. Raises TooManyRequests, Unavailable."""
        async with self._stepping:
            self._admit(user_id)
            stream = Stream(user_id, watched, self.rules.waiting)
            await self._begin(stream, since)
            # Nothing is awaited from here on: the position is still the one that the stream began at.
            self._streams.add(stream)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
        _STREAMS.set(len(self._streams))
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            _STREAMS.set(len(self._streams))

    async def close(self) -> None:
        """Ends all streams; there are no new ones."""
        self._closed = True
        self._end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _admit(self, user_id: int) -> None:
        if self._closed:
            raise Unavailable("stopping", "this process is about to end: connect again")
        admit(user_id, [one.user_id for one in self._streams], self.rules.streams, self.rules.of_user)

    async def _begin(self, stream: Stream, since: str | None) -> None:
        """Brings the stream to where all others are; behind the lock no step of theirs comes in between."""
        projects = [stream.watched.project_id]
        async with self._db.transaction(_asker(projects)) as conn:
            if self._task is None or self._task.done():
                self._position = await live_batches.position(conn)
            if since is None:
                stream.tell(self._position)
            elif live_batches.is_position(since) and await live_batches.is_readable(conn, projects, since):
                found = await live_batches.news(conn, projects, since, self._position)
                stream.offer(News(self._position, found.batches))
                stream.tell(self._position)
            else:
                stream.lose("too-old", self._position)

    async def _run(self) -> None:
        while self._streams and not self._closed:
            await asyncio.sleep(self.rules.poll_s)
            try:
                async with self._stepping:
                    await self._step()
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("live.database_lost", error=str(error).strip())
            except Exception:  # noqa: BLE001 - a stream that is silent looks like meters that are not read
                _log.exception("live.failed")
                self._end()
                return

    def _end(self) -> None:
        """Ends the streams that there are: browsers come back by themselves."""
        for stream in self._streams:
            stream.close()

    async def _step(self) -> None:
        projects = sorted({stream.watched.project_id for stream in self._streams})
        async with self._db.transaction(_asker(projects)) as conn:
            if not await live_batches.is_readable(conn, projects, self._position):
                self._position = await live_batches.position(conn)
                for stream in self._streams:
                    stream.lose("too-much", self._position)
                return
            found = await live_batches.news(conn, projects, self._position)
        self._position = found.position
        for stream in self._streams:
            stream.offer(found)


def _asker(projects: Sequence[int]) -> Asker:
    """Reads the batches of those projects that somebody who may do so watches."""
    return Asker("staff", tuple(projects), request_id="live")


def _parts(points: Points) -> list[Points]:
    places = np.arange(len(points))
    return [points.where(places // MOST_IN_EVENT == nth) for nth in range((len(points) - 1) // MOST_IN_EVENT + 1)]
