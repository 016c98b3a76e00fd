"""Durable work: jobs written in the asker's transaction, run at least once by any number of workers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import psycopg
import structlog
from prometheus_client import Counter
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cloud.kit.db import SYSTEM, Asker, Conn, Database, state_asker
from cloud.kit.errors import Conflict, GatemeterError, Unavailable

CHANNEL = "gm_job"

_log = structlog.get_logger(__name__)
_RUNS = Counter("gatemeter_jobs", "Runs of jobs by kind and outcome.", ["kind", "outcome"])

# Advisory locks of running jobs: the upper bytes say "gm, job", the lower five are the job's id.
_LOCK_SPACE = 0x67_6D_02 << 40
_FIRST_DELAY_S = 5
_LONGEST_DELAY_S = 3600
_MAX_ERROR_CHARS = 500

_INSERT: LiteralString = """
    INSERT INTO job (kind, payload, project_id, dedupe_key, run_at, created_by)
    VALUES (%(kind)s, %(payload)s, %(project_id)s, %(dedupe_key)s, coalesce(%(run_at)s, now()), %(created_by)s)
    ON CONFLICT (kind, dedupe_key) WHERE state IN ('queued', 'running') DO NOTHING
    RETURNING id
"""
_UNFINISHED: LiteralString = """
    SELECT id FROM job WHERE kind = %(kind)s AND dedupe_key = %(dedupe_key)s AND state IN ('queued', 'running')
"""
_HURRY: LiteralString = "UPDATE job SET run_at = least(run_at, now()) WHERE id = %s AND state = 'queued'"
# The lock is taken before the claim is committed, so that nobody ever sees a running job without one.
_CLAIM: LiteralString = """
    WITH due AS (
        SELECT id FROM job WHERE state = 'queued' AND run_at <= now() AND kind = ANY (%(kinds)s)
        ORDER BY run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    UPDATE job SET state = 'running', attempts = attempts + 1, started_at = now(), finished_at = NULL,
                   progress = 0, total = NULL, error = NULL
    FROM due WHERE job.id = due.id AND pg_try_advisory_lock(%(space)s + due.id)
    RETURNING job.id, project_id, kind, payload, attempts, max_attempts
"""
_ORPHANS: LiteralString = """
    SELECT id, kind FROM job
    WHERE state = 'running' AND kind = ANY (%(kinds)s) AND NOT id = ANY (%(own)s)
    ORDER BY id
"""
_TAKE_OVER: LiteralString = """
    UPDATE job SET run_at = now(), error = 'the worker died',
                   state = CASE WHEN attempts < max_attempts THEN 'queued' ELSE 'failed' END,
                   finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE now() END
    WHERE id = %(id)s AND state = 'running' RETURNING state
"""
# `attempts` is the fence: a worker that lost its claim meanwhile changes nothing.
_DONE: LiteralString = """
    UPDATE job SET state = 'done', result = %(result)s, finished_at = now()
    WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s
"""
_AGAIN: LiteralString = """
    UPDATE job SET state = 'queued', error = %(error)s, run_at = now() + make_interval(secs => %(delay_s)s)
    WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s
"""
_FAILED: LiteralString = """
    UPDATE job SET state = 'failed', error = %(error)s, finished_at = now()
    WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s
"""
_PUT_BACK: LiteralString = """
    UPDATE job SET state = 'queued', attempts = attempts - 1, run_at = now()
    WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s
"""
_PROGRESS: LiteralString = """
    UPDATE job SET progress = %(done)s, total = %(total)s
    WHERE id = %(id)s AND state = 'running' AND attempts = %(attempts)s
"""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a handler is given. It opens its own transactions: `async with context.db.transaction(context.asker)`."""

    job_id: int
    project_id: int | None
    payload: dict[str, Any]
    db: Database
    attempt: int = 1

    @property
    def asker(self) -> Asker:
        """The system, named after the job in the audit trail."""
        return SYSTEM.named(f"job-{self.job_id}")

    async def progress(self, done: int, total: int) -> None:
        """Writes how far the job is, for people who watch it."""
        async with self.db.transaction(self.asker) as conn:
            await conn.execute(_PROGRESS, {"done": done, "total": total, "id": self.job_id, "attempts": self.attempt})


Handler = Callable[[JobContext], Awaitable[dict[str, object] | None]]
"""Does one job and returns its result (JSON). It may run more than once and must then do no harm."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job that the leading worker enqueues by a crontab expression, in UTC. Never twice while one is unfinished."""

    kind: str
    cron: str
    payload: dict[str, object] = field(default_factory=dict)


async def enqueue(
    conn: Conn,
    kind: str,
    payload: Mapping[str, object],
    *,
    project_id: int | None = None,
    dedupe_key: str | None = None,
    run_at: datetime | None = None,
    created_by: int | None = None,
) -> int:
    """Writes a job in the caller's transaction and returns its id; it starts after the commit, not before `run_at`.

    With a `dedupe_key` at most one job of this kind, project and key is unfinished, and the id may be that of the
    earlier one. It may be running already: what is written now it need not have seen.
    """
    row = {
        "kind": kind,
        "payload": Jsonb(dict(payload)),
        "project_id": project_id,
        # The project belongs to the key: an asker never meets the job of a project that he cannot see.
        "dedupe_key": None if dedupe_key is None else f"{project_id or ''}:{dedupe_key}",
        "run_at": run_at,
        "created_by": created_by,
    }
    while True:
        inserted = await (await conn.execute(_INSERT, row)).fetchone()
        if inserted is not None:
            await conn.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
            return int(inserted["id"])
        existing = await (await conn.execute(_UNFINISHED, row)).fetchone()
        if existing is not None:
            return int(existing["id"])


async def hurry(conn: Conn, job_id: int) -> bool:
    """A job that waits to be tried again is due now; False where it does not wait."""
    if not (await conn.execute(_HURRY, (job_id,))).rowcount:
        return False
    await conn.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
    return True


def retry_delay_s(attempts: int) -> int:
    """Seconds to wait after `attempts` failed runs: 5, 10, 20 … up to an hour."""
    return int(min(_FIRST_DELAY_S * 2 ** (attempts - 1), _LONGEST_DELAY_S))


@dataclass(frozen=True, slots=True)
class _Claim:
    id: int
    kind: str
    project_id: int | None
    payload: dict[str, Any]
    attempts: int
    max_attempts: int


class JobRunner:
    """Runs due jobs of the kinds it has handlers for, `concurrency` at a time.

    A running job is held by an advisory lock of the runner's own connection: when the worker dies, its server
    connection ends, the lock goes, and any other runner puts the job back into the queue.
    """

    def __init__(
        self,
        db: Database,
        handlers: Mapping[str, Handler],
        *,
        concurrency: int = 2,
        poll_s: float = 2.0,
        grace_s: float = 20.0,
    ) -> None:
        self._db = db
        self._handlers = dict(handlers)
        self._concurrency = concurrency
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._running: dict[asyncio.Task[None], _Claim] = {}
        self._wake = asyncio.Event()
        self._holding = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set; then lets running jobs finish for the time of grace and puts back the rest.

        A lost database connection ends the running jobs, and work starts again when the server answers.
        """
        while not stop.is_set():
            try:
                await self._session(stop)
            except psycopg.OperationalError as error:
                _log.warning("jobs.connection_lost", error=str(error).strip())
                await self._cancel_all()
                await _either(stop, timeout=self._poll_s)

    async def _session(self, stop: asyncio.Event) -> None:
        async with _own_connection(self._db.dsn) as holder, _own_connection(self._db.dsn) as listener:
            await listener.execute(f"LISTEN {CHANNEL}")
            listening = asyncio.create_task(self._listen(listener))
            try:
                while not stop.is_set():
                    await self._take_over_orphans(holder)
                    await self._start_due(holder)
                    await self._wait(stop, listening)
                await self._finish()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, listener: Conn) -> None:
        async for _ in listener.notifies():
            self._wake.set()

    async def _wait(self, stop: asyncio.Event, listening: asyncio.Task[None]) -> None:
        """Until somebody enqueues, a job ends, `stop` is set, or it is time to look again."""
        if listening.done():
            await listening
        await _either(stop, self._wake, timeout=self._poll_s)
        self._wake.clear()

    async def _start_due(self, holder: Conn) -> None:
        while len(self._running) < self._concurrency:
            claim = await self._claim(holder)
            if claim is None:
                return
            task = asyncio.create_task(self._run_one(claim, holder), name=f"job-{claim.id}")
            self._running[task] = claim
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("jobs.outcome_not_written", error=str(error))

    async def _claim(self, holder: Conn) -> _Claim | None:
        async with self._holding, holder.transaction():
            await state_asker(holder, SYSTEM)
            query = {"kinds": list(self._handlers), "space": _LOCK_SPACE}
            row = await (await holder.execute(_CLAIM, query)).fetchone()
        return None if row is None else _Claim(**row)

    async def _take_over_orphans(self, holder: Conn) -> None:
        async with self._holding, holder.transaction():
            await state_asker(holder, SYSTEM)
            query = {"kinds": list(self._handlers), "own": [claim.id for claim in self._running.values()]}
            for row in await (await holder.execute(_ORPHANS, query)).fetchall():
                free = await (
                    await holder.execute("SELECT pg_try_advisory_xact_lock(%s) AS free", (_LOCK_SPACE + row["id"],))
                ).fetchone()
                if free is not None and free["free"]:
                    await holder.execute(_TAKE_OVER, row)
                    _log.warning("jobs.taken_over", job=row["id"], kind=row["kind"])
                    _RUNS.labels(row["kind"], "orphaned").inc()

    async def _run_one(self, claim: _Claim, holder: Conn) -> None:
        context = JobContext(claim.id, claim.project_id, claim.payload, self._db, claim.attempts)
        try:
            with structlog.contextvars.bound_contextvars(job=claim.id, kind=claim.kind):
                await self._outcome(claim, context)
        except asyncio.CancelledError:
            if not holder.closed:
                await self._write(_PUT_BACK, claim)
            raise
        finally:
            await self._release(claim, holder)

    async def _outcome(self, claim: _Claim, context: JobContext) -> None:
        try:
            result = await self._handlers[claim.kind](context)
        except GatemeterError as error:
            # What the input forbids stays forbidden; only what another moment may change is tried again.
            again = isinstance(error, Unavailable | Conflict)
            await self._failed(claim, f"{error.code}: {error.detail}", again=again)
        except Exception as error:  # noqa: BLE001 - the door of all handlers: whatever it is, the job must say so
            _log.exception("jobs.crashed")
            first_line = (str(error).splitlines() or [""])[0]
            await self._failed(claim, f"{type(error).__name__}: {first_line}", again=True)
        else:
            await self._write(_DONE, claim, result=None if result is None else Jsonb(result))
            _RUNS.labels(claim.kind, "done").inc()
            _log.info("jobs.done")

    async def _failed(self, claim: _Claim, error: str, *, again: bool) -> None:
        if again and claim.attempts < claim.max_attempts:
            await self._write(_AGAIN, claim, error=error[:_MAX_ERROR_CHARS], delay_s=retry_delay_s(claim.attempts))
            _RUNS.labels(claim.kind, "retried").inc()
            _log.warning("jobs.again_later", error=error, attempt=claim.attempts)
            return
        await self._write(_FAILED, claim, error=error[:_MAX_ERROR_CHARS])
        _RUNS.labels(claim.kind, "failed").inc()
        _log.error("jobs.failed", error=error, attempt=claim.attempts)

    async def _write(self, statement: LiteralString, claim: _Claim, **values: object) -> None:
        async with self._db.transaction(SYSTEM.named(f"job-{claim.id}")) as conn:
            await conn.execute(statement, {"id": claim.id, "attempts": claim.attempts, **values})

    async def _release(self, claim: _Claim, holder: Conn) -> None:
        async with self._holding:
            if not holder.closed:
                await holder.execute("SELECT pg_advisory_unlock(%s)", (_LOCK_SPACE + claim.id,))

    async def _finish(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace_s)
        await self._cancel_all()

    async def _cancel_all(self) -> None:
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _own_connection(dsn: str) -> AsyncIterator[Conn]:
    """A connection outside any pool, for locks and notifications that live as long as it does."""
    async with await AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row) as conn:
        await conn.execute("SET ROLE gatemeter_worker")
        yield conn


async def _either(*events: asyncio.Event, timeout: float) -> None:
    """Returns when any of the events is set, or after `timeout` seconds."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
