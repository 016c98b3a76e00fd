"""Durable jobs on a real database: each once, taken over from the dead, retried, deduplicated."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import InvalidInput, Unavailable
from cloud.kit.jobs import Handler, JobContext, JobRunner, enqueue

DEADLINE_S = 60.0


async def _until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await true():
            await asyncio.sleep(0.02)


async def _jobs(db: Database) -> list[dict[str, Any]]:
    async with db.transaction(SYSTEM) as conn:
        return await (await conn.execute("SELECT * FROM job ORDER BY id")).fetchall()


async def _states(db: Database) -> list[str]:
    return [job["state"] for job in await _jobs(db)]


@asynccontextmanager
async def _running(*runners: JobRunner) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(runner.run(stop)) for runner in runners]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _enqueue(db: Database, kind: str, payload: dict[str, object] | None = None, **options: Any) -> int:
    async with db.transaction(SYSTEM) as conn:
        return await enqueue(conn, kind, payload or {}, **options)


async def test_two_runners_do_each_job_once(worker_db: Database) -> None:
    runs: Counter[int] = Counter()

    async def count(context: JobContext) -> dict[str, object]:
        runs[context.payload["n"]] += 1
        await asyncio.sleep(0)
        return {"n": context.payload["n"]}

    for n in range(40):
        await _enqueue(worker_db, "count", {"n": n})
    async with _running(*(JobRunner(worker_db, {"count": count}, concurrency=2) for _ in range(2))):
        await _until(lambda: _all_in(worker_db, {"done"}))
    assert runs == Counter(range(40))
    assert [job["result"] for job in await _jobs(worker_db)] == [{"n": n} for n in range(40)]


async def _all_in(db: Database, states: set[str]) -> bool:
    return set(await _states(db)) <= states


async def test_a_job_of_a_rolled_back_transaction_never_was(worker_db: Database) -> None:
    async def undone() -> None:
        async with worker_db.transaction(SYSTEM) as conn:
            await enqueue(conn, "count", {})
            raise InvalidInput("x", "x")

    with pytest.raises(InvalidInput):
        await undone()
    assert await _jobs(worker_db) == []


async def test_asking_twice_is_asking_once_until_it_is_done(worker_db: Database) -> None:
    first = await _enqueue(worker_db, "close", dedupe_key="2026-01")
    assert await _enqueue(worker_db, "close", dedupe_key="2026-01") == first
    assert await _enqueue(worker_db, "close", dedupe_key="2026-02") != first
    assert await _enqueue(worker_db, "close", dedupe_key="2026-01", project_id=1) != first
    async with _running(JobRunner(worker_db, {"close": _nothing})):
        await _until(lambda: _all_in(worker_db, {"done"}))
    assert await _enqueue(worker_db, "close", dedupe_key="2026-01") != first


async def _nothing(_: JobContext) -> None:
    return None


async def test_notification_starts_a_job_without_waiting_for_the_poll(worker_db: Database) -> None:
    await _enqueue(worker_db, "close")
    async with _running(JobRunner(worker_db, {"close": _nothing}, poll_s=3600)):
        await _until(lambda: _all_in(worker_db, {"done"}))  # found when it started to look
        await _enqueue(worker_db, "close")
        await _until(lambda: _all_in(worker_db, {"done"}))


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (InvalidInput("bad-month", "no such month"), "failed", "bad-month: no such month"),
        (Unavailable("broker", "no answer"), "queued", "broker: no answer"),
        (ZeroDivisionError("division by zero\nsecret row"), "queued", "ZeroDivisionError: division by zero"),
    ],
)
async def test_a_failure_is_told_and_only_what_may_pass_is_tried_again(
    worker_db: Database, error: Exception, state: str, text: str
) -> None:
    async def fails(_: JobContext) -> None:
        raise error

    await _enqueue(worker_db, "close")
    async with _running(JobRunner(worker_db, {"close": fails})):
        await _until(lambda: _has_error(worker_db))
    (job,) = await _jobs(worker_db)
    assert (job["state"], job["error"], job["attempts"]) == (state, text, 1)
    if state == "queued":
        assert (job["run_at"] - job["started_at"]).total_seconds() == pytest.approx(5, abs=2)


async def _has_error(db: Database) -> bool:
    return (await _jobs(db))[0]["error"] is not None


async def test_after_the_last_attempt_a_job_has_failed(worker_db: Database) -> None:
    async def fails(_: JobContext) -> None:
        raise Unavailable("broker", "no answer")

    job_id = await _enqueue(worker_db, "close")
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE job SET max_attempts = 1 WHERE id = %s", (job_id,))
    async with _running(JobRunner(worker_db, {"close": fails})):
        await _until(lambda: _all_in(worker_db, {"failed"}))


async def test_stopping_puts_unfinished_work_back(worker_db: Database) -> None:
    started = asyncio.Event()

    async def endless(_: JobContext) -> None:
        started.set()
        await asyncio.Event().wait()

    await _enqueue(worker_db, "close")
    async with _running(JobRunner(worker_db, {"close": endless}, grace_s=0.01)):
        async with asyncio.timeout(DEADLINE_S):
            await started.wait()
    (job,) = await _jobs(worker_db)
    assert (job["state"], job["attempts"]) == ("queued", 0)


async def test_a_job_of_a_killed_worker_is_taken_over(worker_db: Database) -> None:
    await _enqueue(worker_db, "close")
    program = """
import asyncio, sys
from cloud.kit.db import Database
from cloud.kit.jobs import JobRunner

async def endless(_):
    print("started", flush=True)
    await asyncio.Event().wait()

async def main():
    async with Database(sys.argv[1], "gatemeter_worker") as db:
        await JobRunner(db, {"close": endless}).run(asyncio.Event())

asyncio.run(main())
"""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, worker_db.dsn, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    async with asyncio.timeout(60):
        assert await worker.stdout.readline() == b"started\n"
    runner = JobRunner(worker_db, {"close": _nothing}, poll_s=0.05)
    async with _running(runner):
        assert await _states(worker_db) == ["running"]  # the living worker keeps it
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
        await _until(lambda: _all_in(worker_db, {"done"}))
    (job,) = await _jobs(worker_db)
    assert job["attempts"] == 2


async def test_a_lost_connection_ends_the_run_and_work_goes_on(worker_db: Database, owner_dsn: str) -> None:
    attempts: list[int] = []
    first = asyncio.Event()

    async def once_stuck(context: JobContext) -> None:
        attempts.append(context.attempt)
        if len(attempts) == 1:
            first.set()
            await asyncio.Event().wait()

    handlers: dict[str, Handler] = {"close": once_stuck}
    await _enqueue(worker_db, "close")
    async with _running(JobRunner(worker_db, handlers, poll_s=0.05)):
        async with asyncio.timeout(DEADLINE_S):
            await first.wait()
        async with await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True) as conn:
            await conn.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
        await _until(lambda: _all_in(worker_db, {"done"}))
    assert len(attempts) == 2


async def test_progress_is_seen_from_outside(worker_db: Database) -> None:
    seen: list[tuple[int, int | None]] = []

    async def reports(context: JobContext) -> None:
        await context.progress(3, 10)
        (job,) = await _jobs(worker_db)
        seen.append((job["progress"], job["total"]))

    await _enqueue(worker_db, "close")
    async with _running(JobRunner(worker_db, {"close": reports})):
        await _until(lambda: _all_in(worker_db, {"done"}))
    assert seen == [(3, 10)]


async def test_staff_enqueue_in_their_projects_only(web_db: Database) -> None:
    asker = Asker(kind="staff", projects=(1,), user_id=1)
    async with web_db.transaction(asker) as conn:
        job_id = await enqueue(conn, "close", {}, project_id=1, dedupe_key="x")
        assert await enqueue(conn, "close", {}, project_id=1, dedupe_key="x") == job_id
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with web_db.transaction(asker) as conn:
            await enqueue(conn, "close", {}, project_id=2)
