"""The asyncio face of the outbox: one thread owns the file and commits concurrent writes together."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from gateway.contract.topics import Up
from gateway.outbox.store import OutboxError, OutboxFull, OutboxStats, Row, Store, is_full, open_store

T = TypeVar("T")

_GROUP_LIMIT: Final = 512
"""Most jobs in one commit; beyond it the wait for the commit grows faster than the gain."""

_PAGE: Final = 4096
_PAGES_GIVEN_UP: Final = 64
"""Bound of the eviction for one batch: on a disk that takes nothing at all it would empty the outbox in vain."""
_ALL: Final = tuple(Up)

_log = structlog.get_logger(__name__)


def wall_clock_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Job(Generic[T]):
    """One piece of work for the thread. On a full disk nothing more valuable than `kind` gives way to it."""

    work: Callable[[Store], T]
    future: "asyncio.Future[T]"
    kind: Up | None = None


class Outbox:
    """Queue of encoded batches. All methods are for one event loop; each returns after its commit.

    `arrived` is set whenever rows were added; who waits on it clears it before looking.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self.epoch = store.epoch
        self.arrived = asyncio.Event()
        self._store = store
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)
        self._thread.start()
        self._closed = False

    @classmethod
    def open(cls, path: Path, max_bytes: int, clock: Callable[[], int] = wall_clock_ms) -> "Outbox":
        """Opens or creates the file at `path`, holding at most `max_bytes` of batches. Raises OutboxError."""
        store = open_store(path, max_bytes)
        if store.set_aside is not None:
            _log.error("outbox file was damaged and set aside", path=str(path), set_aside=str(store.set_aside))
        return cls(store, clock)

    async def put(self, kind: Up, body: bytes, also: Callable[[sqlite3.Connection], object] | None = None) -> int:
        """Makes a batch durable and returns its sequence number.

        On a full outbox the least valuable rows go, which may be this very one; its loss is counted. Returns 0
        when the disk takes nothing at all: lost and counted, and the caller goes on. `also` runs in the same
        commit, for tables that live beside the queue; it does not happen when 0 is returned.
        """
        created_at = self._clock()

        def insert(store: Store) -> int:
            if also is not None:
                also(store.connection)
            return store.insert(kind, body, created_at)

        try:
            seq = await self._do(insert, kind)
        except OutboxFull:
            self._store.lost(kind, body, created_at)
            _log.error("no room on disk, batch lost", kind=kind.value, bytes=len(body))
            return 0
        self.arrived.set()
        return seq

    async def waiting(self, after_seq: int, limit: int, kinds: Sequence[Up] = _ALL) -> list[Row]:
        """At most `limit` queued rows of `kinds` with a sequence number above `after_seq`, in order."""
        return await self._do(lambda store: store.waiting(after_seq, limit, kinds))

    async def accept(self, seqs: Iterable[int]) -> None:
        """Frees rows that the cloud has committed."""
        chosen = list(seqs)
        await self._do(lambda store: store.delete(chosen))

    async def park(self, refused: Iterable[tuple[int, str]]) -> None:
        """Keeps rows that the cloud refuses for ever, each with its reason."""
        chosen = list(refused)
        await self._do(lambda store: store.park(chosen))

    async def holds(self, seq: int) -> bool:
        """Whether the row still waits for the cloud."""
        return await self._do(lambda store: store.holds(seq))

    async def stats(self) -> OutboxStats:
        """Counts of rows, bytes, parked rows and losses."""
        return await self._do(lambda store: store.stats())

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` inside the next commit, for tables that must live and die with the queue.

        Raises OutboxError when it cannot be made durable.
        """
        return await self._do(lambda store: work(store.connection))

    def close(self) -> None:
        """Finishes what was handed over, then closes the file. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._store.close()

    def _do(self, work: Callable[[Store], T], kind: Up | None = None) -> "asyncio.Future[T]":
        if self._closed:
            raise OutboxError("the outbox is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, future, kind))  # type: ignore[arg-type]  # the queue is of mixed results
        return future

    def _serve(self) -> None:
        ending = False
        while not ending:
            group: list[_Job[object]] = []
            job = self._jobs.get()
            while job is not None:
                group.append(job)
                if len(group) == _GROUP_LIMIT:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            else:
                ending = True
            if group:
                self._finish(group)

    def _finish(self, group: list[_Job[object]]) -> None:
        try:
            answers = self._commit(group)
        except Exception:  # noqa: BLE001  # whose fault it was shows when each job is tried alone
            answers = [self._commit_alone(job) for job in group]
        _hand_over(group, answers)

    def _commit(self, group: list[_Job[object]]) -> list[object]:
        self._store.begin()
        try:
            answers = [job.work(self._store) for job in group]
            self._store.commit()
        except BaseException:
            self._store.rollback()
            raise
        return answers

    def _commit_alone(self, job: _Job[object]) -> object:
        """The answer of one job, or the exception that its caller is to see."""
        try:
            return self._commit([job])[0]
        except sqlite3.Error as error:
            return self._commit_in_need(job) if is_full(error) else _outbox_error(error)
        except Exception as error:  # noqa: BLE001  # handed to the caller; the thread serves the others
            return error

    def _commit_in_need(self, job: _Job[object]) -> object:
        """Tries again on a full disk: the log is written back, and what is worth less makes room page by page."""
        try:
            self._store.checkpoint()
            for given_up in range(_PAGES_GIVEN_UP + 1):
                try:
                    return self._commit([job])[0]
                except sqlite3.Error as error:
                    last = given_up == _PAGES_GIVEN_UP
                    if last or not is_full(error) or job.kind is None or not self._give_up_a_page(job.kind):
                        raise
        except sqlite3.Error as error:
            return OutboxFull(str(error)) if is_full(error) else _outbox_error(error)
        raise AssertionError("the last try returns or raises")

    def _give_up_a_page(self, kind: Up) -> bool:
        self._store.begin()
        try:
            freed = self._store.make_room(_PAGE, kind)
            self._store.commit()
        except BaseException:
            self._store.rollback()
            raise
        return freed > 0


def _outbox_error(error: sqlite3.Error) -> OutboxError:
    wrapped = OutboxError(str(error))
    wrapped.__cause__ = error
    return wrapped


def _hand_over(group: list[_Job[object]], answers: list[object]) -> None:
    def resolve() -> None:
        for job, answer in zip(group, answers, strict=True):
            if job.future.done():  # its caller was cancelled
                continue
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    loop = group[0].future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)
