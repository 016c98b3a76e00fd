"""The asyncio face of the outbox: one thread owns the file and commits concurrent writes together."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, Generic, TypeVar

import structlog

from gateway.contract import stored
from gateway.contract.messages import GapReason, Point
from gateway.contract.topics import Up
from gateway.outbox.damage import is_damage, is_full
from gateway.outbox.schema import OutboxError
from gateway.outbox.shedding import Shed, usual_shed
from gateway.outbox.store import OutboxDamaged, OutboxFull, OutboxStats, Row, Store, open_store

T = TypeVar("T")

_GROUP_LIMIT: Final = 512
"""Most jobs in one commit; beyond it the wait for the commit grows faster than the gain."""

_PAGE: Final = 4096
_STEPS_OF_ROOM: Final = 48
_STEPS_ALIKE: Final = 8
"""Room is made a page at a time, then two, then four: rows of different classes share pages, and one that is only
half free helps nobody. In the end 2 MB were given up for one batch: then the cause is another one."""
_RELEASE_WAIT_S: Final = 0.05
"""Freed rows wait so long for a commit that is made anyway: one that gets lost is only sent again."""
_TRY_AGAIN_S: Final = 1.0
"""When the disk had no room to free rows."""
_TAIL_ROWS: Final = 128
_TAIL_BYTES: Final = 1 << 20
_ALL: Final = tuple(Up)

_log = structlog.get_logger(__name__)


def wall_clock_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class _Job(Generic[T]):
    """One piece of work for the thread. Nobody waits for one without a future; it is tried until it succeeds."""

    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[Store], T], future: "asyncio.Future[T] | None") -> None:
        self.work, self.future = work, future


class _Put(_Job[int]):
    """A batch to be written. On a full disk nothing more valuable than its class gives way to it."""

    __slots__ = ("also", "body", "created_at", "kind", "shed")

    def __init__(
        self,
        row: tuple[Up, Shed, bytes, int],
        also: Callable[[sqlite3.Connection], object] | None,
        future: "asyncio.Future[int]",
    ) -> None:
        super().__init__(self._insert, future)
        self.kind, self.shed, self.body, self.created_at = row
        self.also = also

    def _insert(self, store: Store) -> int:
        if not stored.is_packed(self.body):
            self.body = stored.pack(self.body)
        if self.also is not None:
            self.also(store.connection)
        return store.insert(self.kind, self.shed, self.body, self.created_at)


class _Release(_Job[None]):
    """Rows that the cloud has."""

    __slots__ = ("seqs",)

    def __init__(self, seqs: Iterable[int]) -> None:
        super().__init__(self._delete, None)
        self.seqs = set(seqs)

    def _delete(self, store: Store) -> None:
        store.delete(self.seqs)


class Outbox:
    """Queue of encoded batches. All methods are for one event loop; what is awaited returns after its commit.

    `arrived` is set whenever rows were added; who waits on it clears it before looking. Every method raises
    OutboxDamaged once damage was found in the file: the process is to end then, and to begin with a new file.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self.epoch = store.epoch
        self.blind_before = store.blind_before
        """Of commands issued before this time (Unix milliseconds, 0: none) a damaged file may hold the memory."""
        self.arrived = asyncio.Event()
        self._store = store
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._unreleased: set[int] = set()
        self._broken: OutboxDamaged | None = None
        self._tail: deque[Row] = deque()
        self._tail_bytes = 0
        self._tail_after = self._last_seq = store.last_seq
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)
        self._thread.start()
        self._closed = False

    @classmethod
    def open(cls, path: Path, max_bytes: int, clock: Callable[[], int] = wall_clock_ms) -> "Outbox":
        """Opens or creates the file at `path`, holding at most `max_bytes` of batches. Raises OutboxError."""
        store = open_store(path, max_bytes, clock())
        if store.set_aside is not None:
            _log.error("outbox file was damaged and set aside", path=str(path), set_aside=str(store.set_aside))
        elif store.blind_before:
            _log.warning("outbox lost part of what it held earlier", path=str(path), before=store.blind_before)
        return cls(store, clock)

    @property
    def shedding(self) -> bool:
        """Whether diagnostics should not be recorded at present, for lack of room."""
        return self._store.pressure.shedding

    async def put(
        self,
        kind: Up,
        body: bytes,
        also: Callable[[sqlite3.Connection], object] | None = None,
        *,
        shed: Shed | None = None,
    ) -> int:
        """Makes a batch durable and returns its sequence number.

        On a full outbox the least valuable rows go, which may be this very one; its loss is counted. Returns 0
        when the disk takes nothing at all: lost and counted, and the caller goes on. `also` runs in the same
        commit, for tables that live beside the queue; it does not happen when 0 is returned. `shed` is the class of
        the batch, by default that of its kind, which for readings is the class of registers.
        """
        future: asyncio.Future[int] = self._future()
        row = (kind, usual_shed(kind) if shed is None else shed, body, self._clock())
        self._jobs.put(_Put(row, also, future))  # type: ignore[arg-type]  # the queue is of mixed results
        return await future

    def lose(self, points: Sequence[Point]) -> None:
        """Counts diagnostics that were not recorded while `shedding`; the cloud is told when there is room."""
        left = [points]

        def count(store: Store) -> None:
            if left:  # not again when the transaction is tried again: this is no part of it
                store.unwritten.add_points(Shed.DIAGNOSTICS, left.pop(), GapReason.OUTBOX_FULL)

        self._later(_Job(count, None))

    async def waiting(self, after_seq: int, limit: int, kinds: Sequence[Up] = _ALL) -> list[Row]:
        """At most `limit` queued rows of `kinds` with a sequence number above `after_seq`, in order."""
        return await self._do(lambda store: store.waiting(after_seq, limit, kinds))

    async def look(self, after_seq: int, limit: int, kinds: Sequence[Up]) -> tuple[list[Row], int]:
        """As `waiting`, and the number up to which there is nothing more of `kinds`: where to go on.

        What was put a moment ago is handed over from memory; then rows that are freed already may be among them.
        """
        if after_seq < self._tail_after:

            def read(store: Store) -> tuple[list[Row], int]:
                rows = store.waiting(after_seq, limit, kinds)
                return rows, store.last_seq

            rows, last = await self._do(read)
        else:
            rows, last = [row for row in self._tail if row.seq > after_seq and row.kind in kinds], self._last_seq
        if len(rows) < limit:
            return rows, max(after_seq, last)
        return rows[:limit], rows[limit - 1].seq

    def accept(self, seqs: Iterable[int]) -> None:
        """Frees rows that the cloud has committed, with the next commit: a row that stays is only sent again."""
        self._later(_Release(seqs))

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

    def _future(self) -> "asyncio.Future[T]":
        if self._closed:
            raise OutboxError("the outbox is closed")
        self._loop = asyncio.get_running_loop()
        return self._loop.create_future()

    def _do(self, work: Callable[[Store], T]) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self._future()
        self._jobs.put(_Job(work, future))  # type: ignore[arg-type]  # the queue is of mixed results
        return future

    def _later(self, job: _Job[None]) -> None:
        if self._closed:
            raise OutboxError("the outbox is closed")
        self._jobs.put(job)  # type: ignore[arg-type]  # the queue is of mixed results

    # The thread

    def _serve(self) -> None:
        ending = False
        while not ending:
            group, ending = self._next_group()
            if self._unreleased:
                group.append(_Release(self._unreleased))  # type: ignore[arg-type]  # the group is of mixed results
                self._unreleased = set()
            if group:
                self._finish(group)

    def _next_group(self) -> tuple[list[_Job[object]], bool]:
        """What is to be committed together, and whether it is the last."""
        group: list[_Job[object]] = []
        somebody_waits = False
        deadline = 0.0
        while len(group) < _GROUP_LIMIT:
            try:
                if not group:
                    job = self._jobs.get(timeout=_TRY_AGAIN_S if self._unreleased else None)
                    deadline = monotonic() + _RELEASE_WAIT_S
                elif somebody_waits:
                    job = self._jobs.get_nowait()
                else:
                    job = self._jobs.get(timeout=max(0.0, deadline - monotonic()))
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
            somebody_waits = somebody_waits or job.future is not None
        return group, False

    def _finish(self, group: list[_Job[object]]) -> None:
        try:
            answers = self._commit(group)
        except Exception:  # noqa: BLE001  # whose fault it was shows when each job is tried alone
            answers = [self._commit_alone(job) for job in group]
        self._hand_over(group, answers)
        self._tend()

    def _commit(self, group: list[_Job[object]]) -> list[object]:
        if self._broken is not None:
            raise self._broken
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
            if is_damage(error):
                return self._condemn(error)
            return self._commit_in_need(job) if is_full(error) else _outbox_error(error)
        except Exception as error:  # noqa: BLE001  # handed to the caller; the thread serves the others
            return error

    def _commit_in_need(self, job: _Job[object]) -> object:
        """Tries again on a full disk: the log is written back, and what is worth less makes room step by step."""
        try:
            self._store.disk_refused()
            for step in range(_STEPS_OF_ROOM + 1):
                try:
                    return self._commit([job])[0]
                except sqlite3.Error as error:
                    if step == _STEPS_OF_ROOM or not is_full(error) or not isinstance(job, _Put):
                        raise
                    if not self._give_up(_PAGE << step // _STEPS_ALIKE, job.shed):
                        raise
        except sqlite3.Error as error:
            if is_damage(error):
                return self._condemn(error)
            return self._without_room(job, error) if is_full(error) else _outbox_error(error)
        raise AssertionError("the last try returns or raises")

    def _without_room(self, job: _Job[object], error: sqlite3.Error) -> object:
        if isinstance(job, _Put):
            self._store.lose(job.shed, job.kind, job.body, job.created_at)
            _log.error("no room on disk, batch lost", kind=job.kind.value, bytes=len(job.body))
            return 0
        if isinstance(job, _Release):
            self._unreleased |= job.seqs
        return OutboxFull(str(error))

    def _give_up(self, needed: int, shed: Shed) -> bool:
        self._store.begin()
        try:
            freed = self._store.make_room(needed, GapReason.DISK_FULL, shed)
            self._store.commit()
        except BaseException:
            self._store.rollback()
            raise
        return freed > 0

    def _condemn(self, error: sqlite3.Error) -> OutboxDamaged:
        try:
            fate = f"set aside as {self._store.condemn().name}, start again"
        except OSError as hindrance:  # the next start tries again; nobody may wait for this thread for ever
            fate = f"it cannot be set aside: {hindrance}"
        _log.error("outbox file is damaged", reason=str(error), fate=fate)
        self._broken = OutboxDamaged(f"{self._store.path}: {error}; {fate}")
        return self._broken

    def _tend(self) -> None:
        """What the store does between commits. On a full disk it is tried again after the next one."""
        if self._broken is not None:
            return
        try:
            added = self._store.tend(self._clock)
        except sqlite3.Error as error:
            if is_damage(error):
                self._condemn(error)
            elif not is_full(error):
                _log.error("outbox cannot note losses", reason=str(error))
            return
        if added:
            last = self._store.last_seq
            self._call(lambda: self._skip_tail(last))

    # Back in the loop

    def _call(self, what: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    def _hand_over(self, group: list[_Job[object]], answers: list[object]) -> None:
        last, others = self._store.last_seq, self._store.changed_by_others
        self._store.changed_by_others = False

        def resolve() -> None:
            if others:
                self._skip_tail(last)
            for job, answer in zip(group, answers, strict=True):
                if isinstance(job, _Put) and isinstance(answer, int) and answer and not others:
                    self._extend_tail(Row(answer, job.kind, job.created_at, job.body))
                if job.future is None or job.future.done():  # its caller was cancelled
                    continue
                if isinstance(answer, Exception):
                    job.future.set_exception(answer)
                else:
                    job.future.set_result(answer)

        if others or any(job.future is not None for job in group):
            self._call(resolve)

    def _extend_tail(self, row: Row) -> None:
        self._tail.append(row)
        self._tail_bytes += len(row.kept)
        self._last_seq = row.seq
        while len(self._tail) > _TAIL_ROWS or self._tail_bytes > _TAIL_BYTES:
            gone = self._tail.popleft()
            self._tail_bytes -= len(gone.kept)
            self._tail_after = gone.seq
        self.arrived.set()

    def _skip_tail(self, last: int) -> None:
        """There are rows up to `last` that only the file knows: whoever has not seen them reads there."""
        self._tail.clear()
        self._tail_bytes = 0
        self._tail_after = self._last_seq = max(self._last_seq, last)
        self.arrived.set()


def _outbox_error(error: sqlite3.Error) -> OutboxError:
    wrapped = OutboxError(str(error))
    wrapped.__cause__ = error
    return wrapped
