"""The worker: one leader at a time, handlers of all features, nothing scheduled without one."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from apscheduler.triggers.cron import CronTrigger

from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext, Scheduled, enqueue
from cloud.prepaid.jobs import SWITCH_JOB
from cloud.worker import _enqueue_scheduled, all_handlers, all_schedules, lead, triggers, work

DEADLINE_S = 60.0


def test_every_schedule_has_a_handler_and_a_readable_time() -> None:
    handlers = all_handlers()
    assert "identity.forget" in handlers
    for scheduled in all_schedules():
        assert scheduled.kind in handlers
        assert CronTrigger.from_crontab(scheduled.cron, timezone="UTC").get_next_fire_time(None, datetime.now(UTC))


def test_what_is_due_each_minute_is_not_due_at_the_same_second() -> None:
    schedules, now = all_schedules(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    first = [(one, due.get_next_fire_time(None, now)) for one, due in zip(schedules, triggers(schedules), strict=True)]
    seconds = [at.second for one, at in first if one.cron == "* * * * *"]
    assert len(seconds) > 5
    assert len(set(seconds)) == len(seconds)
    for scheduled, at in first:
        crontab = CronTrigger.from_crontab(scheduled.cron, timezone="UTC")
        assert at.replace(second=0) == crontab.get_next_fire_time(None, now)


async def _leaders(dsn: str) -> list[int]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        rows = await (
            await conn.execute(
                """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 6778115
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
            )
        ).fetchall()
    return [row[0] for row in rows]


async def test_one_leads_and_another_follows_when_it_is_gone(worker_db: Database, owner_dsn: str) -> None:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(lead(worker_db, [], stop, look_again_s=0.05)) for _ in range(2)]
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (first := await _leaders(owner_dsn)):
                await asyncio.sleep(0.02)
            assert len(first) == 1
            async with await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True) as conn:
                await conn.execute("SELECT pg_terminate_backend(%s)", first)
            while not (second := await _leaders(owner_dsn)) or second == first:
                await asyncio.sleep(0.02)
            assert len(second) == 1
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert await _leaders(owner_dsn) == []


async def test_a_schedule_waits_for_its_last_job(worker_db: Database) -> None:
    scheduled = Scheduled("identity.forget", "0 3 * * *")
    for _ in range(3):
        await _enqueue_scheduled(worker_db, scheduled)
    async with worker_db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM job")).fetchone()
    assert row == {"n": 1}


async def test_old_answers_and_jobs_are_forgotten(worker_db: Database, owner_db: Database) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=100)
    async with owner_db.transaction(SYSTEM) as conn:
        for when in (long_ago, datetime.now(UTC)):
            await conn.execute("INSERT INTO job (kind, state, finished_at) VALUES ('x', 'done', %s)", (when,))
            await conn.execute(
                "INSERT INTO idempotency_key (user_id, key, request_hash, created_at) VALUES (1, %s, 'h', %s)",
                (str(when), when),
            )
    await _enqueue_scheduled(worker_db, Scheduled("identity.forget", "0 3 * * *"))
    stop = asyncio.Event()
    task = asyncio.create_task(work(worker_db, stop))
    try:
        async with asyncio.timeout(DEADLINE_S):
            while (result := await _result(worker_db)) is None:
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await task
    assert result == {"answers": 1, "jobs": 1}


async def test_a_home_whose_bill_is_paid_waits_for_no_run_of_bills(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def long_run(_: JobContext) -> None:
        await never.wait()

    handlers = {**all_handlers(), "billing.run": long_run}
    monkeypatch.setattr("cloud.worker.all_handlers", lambda: handlers)
    async with worker_db.transaction(SYSTEM) as conn:
        for kind in ("billing.run", "billing.run", SWITCH_JOB):
            await enqueue(conn, kind, {})
    stop = asyncio.Event()
    task = asyncio.create_task(work(worker_db, stop, concurrency=2))
    states: dict[str, set[str]] = {}
    try:
        async with asyncio.timeout(DEADLINE_S):
            while states.get(SWITCH_JOB) != {"done"} or states["billing.run"] != {"running"}:
                await asyncio.sleep(0.02)
                async with worker_db.transaction(SYSTEM) as conn:
                    query = "SELECT kind, array_agg(state) AS states FROM job GROUP BY kind"
                    rows = await (await conn.execute(query)).fetchall()
                states = {row["kind"]: set(row["states"]) for row in rows}
    finally:
        never.set()
        stop.set()
        await task


async def _result(db: Database) -> dict[str, int] | None:
    async with db.transaction(SYSTEM) as conn:
        query = "SELECT result FROM job WHERE kind = 'identity.forget'"
        row = await (await conn.execute(query)).fetchone()
    return row["result"] if row else None
