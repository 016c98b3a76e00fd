"""The way to TimescaleDB while work is under way: nothing pending is lost, late readings are right, archives stay."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.errors import DeadlockDetected, DuplicateObject
from typer.testing import CliRunner

from cloud.commands import db as db_commands
from cloud.ingest.writer import Writer
from cloud.kit.db import Database
from cloud.kit.engine_upgrade import upgrade
from cloud.kit.jobs import JobContext
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.rollups import maintenance
from tests.integration.metering.site import START_MS, hourly, make_site, message
from tests.integration.metering.test_derivation import derive, store, table, usage
from tests.integration.metering.test_engine_upgrade import plain_dsn

__all__ = ["plain_dsn"]

_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""
_NOT_COMPRESSED = """
    SELECT format('%%I.%%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'store' AND hypertable_name = %s AND NOT is_compressed
"""
_PATIENCE_S = 60.0
_HOURS = 24 * 40


def has_extension(dsn: str) -> bool:
    with psycopg.connect(dsn) as conn:
        return conn.execute("SELECT FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone() is not None


def once_it_waits(dsn: str, begin: Callable[[], "Future[dict[str, object]]"]) -> "Future[dict[str, object]]":
    """Begins some work and returns as soon as a lock holds it up."""
    running = begin()
    deadline = time.monotonic() + _PATIENCE_S
    with psycopg.connect(dsn, autocommit=True) as conn:
        while conn.execute(_WAITING).fetchone() == (0,):
            assert not running.done(), "it went through tables that are being copied"
            assert time.monotonic() < deadline, "nothing waits"
    return running


async def test_derivation_goes_on_over_an_upgrade_and_late_readings_are_right(plain_dsn: str) -> None:
    if not has_extension(plain_dsn):
        pytest.skip("the server has no TimescaleDB")
    loop = asyncio.get_running_loop()
    values = [100 * n for n in range(_HOURS)]
    missing = set(range(50, 60)) | {700}
    known = [point for n, point in enumerate(hourly("m1", 0, values)) if n not in missing]
    async with (
        Database(plain_dsn, "gatemeter_worker", max_size=3) as worker,
        Database(plain_dsn, "gatemeter_ingest", max_size=2) as ingest,
    ):
        await make_site(worker)
        await store(ingest, known[:500])
        await derive(worker)
        await store(ingest, [*known[500:], *hourly("m2", 0, values[:100])])
        pending = await table(worker, "SELECT meter_id, from_at, until_at, created_at FROM store.dirty_window")
        assert len(pending) == 2
        started: list[Future[dict[str, object]]] = []

        def say(_: str) -> None:
            if not started:
                started.append(once_it_waits(plain_dsn, lambda: asyncio.run_coroutine_threadsafe(derive(worker), loop)))

        await asyncio.to_thread(upgrade, plain_dsn, say)
        assert (await asyncio.wrap_future(started[0]))["meters"] == 2
        assert await table(worker, "SELECT FROM store.dirty_window") == []
        rows = await usage(worker)
        assert [row["quantity"] for row in rows if row["method"] == 0] == [100] * (_HOURS - 1 - 11 - 2 + 99)
        assert sum(row["quantity"] for row in rows) == 100 * (_HOURS - 1 + 99)

        with psycopg.connect(plain_dsn, autocommit=True) as owner:
            for series in ("reading", "usage"):
                compress(owner, series)
        for _ in range(2):
            await Writer(ingest).store([message(9, [hourly("m1", 0, values)[n] for n in sorted(missing)])])
            await derive(worker)
        rows = await usage(worker)
        assert {(row["method"], row["quantity"]) for row in rows} == {(0, 100)}
        assert len(rows) == _HOURS - 1 + 99
        await validation_jobs.settle(JobContext(1, None, {}, worker))
        await maintenance.refresh_roll_ups(JobContext(1, None, {}, worker))
        for name in ("usage_hour", "usage_day", "usage_month"):
            [found] = await table(
                worker, f"SELECT sum(quantity)::bigint AS quantity, sum(rows)::bigint AS rows FROM {name}"
            )
            assert found == {"quantity": 100 * len(rows), "rows": len(rows)}, name
        first_day = await table(worker, "SELECT quantity FROM usage_day ORDER BY meter_id, channel, start LIMIT 2")
        # 16 hours of the first local day in Shanghai, then whole days.
        assert [row["quantity"] for row in first_day] == [1600, 2400]


def compress(owner: psycopg.Connection[tuple[object, ...]], series: str) -> None:
    """Compresses all chunks. The engine's own policy, which an upgrade starts, is at them too: it is let go first."""
    owner.execute(
        """SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs
           WHERE proc_name = 'policy_compression'"""
    )
    deadline = time.monotonic() + _PATIENCE_S
    while left := owner.execute(_NOT_COMPRESSED, (series,)).fetchall():
        assert time.monotonic() < deadline, f"not compressed: {left}"
        for (chunk,) in left:
            with suppress(DuplicateObject, DeadlockDetected):
                owner.execute("SELECT compress_chunk(%s, if_not_compressed => true)", (chunk,))
    assert owner.execute("SELECT show_chunks(%s)", (f"store.{series}",)).fetchall()


async def test_what_is_archived_stays_and_can_be_put_back(plain_dsn: str) -> None:
    if not has_extension(plain_dsn):
        pytest.skip("the server has no TimescaleDB")
    async with (
        Database(plain_dsn, "gatemeter_worker", max_size=3) as worker,
        Database(plain_dsn, "gatemeter_ingest", max_size=2) as ingest,
    ):
        await make_site(worker)
        old = hourly("m1", -24 * 300, [100, 200, 300])
        await store(ingest, old + hourly("m1", 0, [100_000, 100_100]))
        await derive(worker)
        with psycopg.connect(plain_dsn, autocommit=True) as owner:
            owner.execute("UPDATE store.retention SET readings_months = 12")
        await maintenance.maintain(JobContext(1, None, {}, worker))
        archived = await archive(plain_dsn)
        place = f"reading_{datetime.fromtimestamp(START_MS / 1000, UTC) - timedelta(days=300):%Y_%m}"
        assert place in archived
        before = await usage(worker)
        assert len(before) == 4
        assert await asyncio.to_thread(upgrade, plain_dsn, lambda _: None) == 2 + len(before)

        assert await archive(plain_dsn) == archived
        assert await usage(worker) == before
        shown = CliRunner().invoke(db_commands.app, ["retention", "drop-archived", "--dsn", plain_dsn])
        assert place in shown.output
        # Late readings of an archived month are kept; usage before the horizon stays as it is.
        await store(ingest, hourly("m1", -24 * 300 + 3, [400]))
        await derive(worker)
        assert await usage(worker) == before
        with psycopg.connect(plain_dsn, autocommit=True) as owner:
            statement = f"INSERT INTO store.reading SELECT * FROM archive.{place} ON CONFLICT DO NOTHING"
            assert owner.execute(statement.encode()).rowcount == 3
        values = await table(worker, "SELECT value FROM reading ORDER BY taken_at")
        assert [row["value"] for row in values] == [100, 200, 300, 400, 100_000, 100_100]
        dropped = CliRunner().invoke(db_commands.app, ["retention", "drop-archived", "--yes", "--dsn", plain_dsn])
        assert dropped.exit_code == 0
        assert await archive(plain_dsn) == []


async def archive(dsn: str) -> list[str]:
    """Names of the tables in schema `archive`."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'archive' ORDER BY 1").fetchall()
    return [str(name) for (name,) in rows]
