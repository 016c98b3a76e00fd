"""The hub of a web process: lanes of the watched projects once a second, and what changed to every stream.

A stream shows how things are, not what happened: who reads slowly or comes back late gets what is true now.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
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
from cloud.parking.desk.repository import LaneNow, lanes_now
from cloud.parking.desk.watching import SHOWN_AT_MOST

_log = structlog.get_logger(__name__)
_STREAMS = Gauge("gatemeter_desk_streams", "Streams of lanes that this process holds open.")


@dataclass(frozen=True, slots=True)
class DeskRules:
    """Limits of the streams of a process; times in seconds."""

    poll_s: float = 1.0
    heartbeat_s: float = 15.0
    recheck_s: float = 20.0
    streams: int = 500
    of_user: int = 20


@dataclass(frozen=True, slots=True)
class LanesChanged:
    """Lanes as they are now, and the name of how all of them are."""

    position: str
    lanes: tuple[LaneNow, ...]


@dataclass(eq=False)
class DeskStream:
    """One desk: the lanes of a project, and how it saw them last."""

    user_id: int
    project_id: int
    known: str | None = None
    """The name of what it saw last; None before anything."""
    closed: bool = False
    _begun: bool = False
    _seen: dict[int, LaneNow] = field(default_factory=dict)
    _now: dict[int, LaneNow] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, found: Sequence[LaneNow]) -> None:
        """How things are; what is the same as before is no news."""
        self._now = {one.lane_id: one for one in found if one.project_id == self.project_id}
        if self._now != self._seen or not self._begun:
            self._ready.set()

    def close(self) -> None:
        """Ends the stream."""
        self.closed = True
        self._ready.set()

    async def next(self, timeout_s: float) -> LanesChanged | None:
        """What changed since the last time: all at first, unless the desk knows exactly that already."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return None
        if self.closed:
            return None
        self._ready.clear()
        position = name_of(self._now.values())
        changed = tuple(one for one in self._now.values() if self._seen.get(one.lane_id) != one)
        told = LanesChanged(position, () if position == self.known else changed)
        self._seen, self.known, self._begun = self._now, position, True
        return told


class DeskHub:
    """All desks of a process. It asks the database once for all of them, and only while there are any."""

    def __init__(self, db: Database, rules: DeskRules | None = None) -> None:
        self._db = db
        self.rules = rules or DeskRules()
        self._streams: set[DeskStream] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def stream(self, user_id: int, project_id: int, known: str | None) -> AsyncIterator[DeskStream]:
        """A stream of the lanes of a project. Raises TooManyRequests, Unavailable."""
        if self._closed:
            raise Unavailable("stopping", "this process is about to end: connect again")
        admit(user_id, [one.user_id for one in self._streams], self.rules.streams, self.rules.of_user)
        stream = DeskStream(user_id, project_id, known)
        self._streams.add(stream)
        _STREAMS.set(len(self._streams))
        try:
            stream.offer(await self._look([project_id]))
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
                found = await self._look(sorted({stream.project_id for stream in self._streams}))
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("desk.database_lost", error=str(error).strip())
                continue
            for stream in self._streams:
                stream.offer(found)

    async def _look(self, projects: Sequence[int]) -> list[LaneNow]:
        """Reads projects that somebody who may do so watches."""
        asker = Asker("staff", tuple(projects), request_id="desk")
        async with self._db.transaction(asker) as conn:
            return await lanes_now(conn, projects, datetime.now(UTC) - SHOWN_AT_MOST)


def name_of(lanes: Iterable[LaneNow]) -> str:
    """The same for the same lanes, in every process."""
    return blake2b(repr(sorted(lanes, key=lambda one: one.lane_id)).encode(), digest_size=12).hexdigest()
