"""Usage of many meters from a day of readings in the database to judged rows in the database, by two workers.

The readings are there and marked as ingest leaves them, with a day before that was derived already, and vacuumed: in a
running system that goes on all day, here it would begin at any moment. Two processes run the job as two workers would.
The curve shows what a reading costs as meters become many.
"""

import asyncio
import multiprocessing
import os
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import psycopg

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.garbage import keep_what_is_loaded
from cloud.kit.jobs import JobContext
from cloud.kit.migrate import migrate
from cloud.metering import jobs
from cloud.metering import service as metering
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.records import NewMeter
from tests.benchmarks.ingest import fresh_database
from tests.benchmarks.measure import Bound, Measure

_METERS: Final = 10_000
_CURVE: Final = tuple(int(n) for n in os.environ.get("GATEMETER_BENCH_METERS", "1000,10000,100000").split(","))
_WORKERS: Final = 2
_SLOTS: Final = 96


def run() -> list[Measure | Bound]:
    """Seconds for 10,000 meters, and the cost of a reading at every size against that at the smallest."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return _measures([(meters, _seconds(fresh_database(given), meters)) for meters in _CURVE])
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return _measures([(m, _seconds(server.create_database(f"bench{m}"), m)) for m in _CURVE])


def _measures(curve: list[tuple[int, float]]) -> list[Measure | Bound]:
    found: list[Measure | Bound] = [
        Bound(f"validation and usage of {meters:,} meters × 1 day of 15 minutes, {_WORKERS} workers", seconds, "s", 5.0)
        for meters, seconds in curve
        if meters == _METERS
    ]
    first_meters, first_seconds = curve[0]
    for meters, seconds in curve[1:]:
        name = f"readings to usage, {meters:,} meters"
        reference = f"{first_meters:,} meters"
        found.append(
            Measure(name, meters * _SLOTS / seconds, reference, first_meters * _SLOTS / first_seconds, "readings")
        )
    return found


def _seconds(dsn: str, meters: int) -> float:
    migrate(dsn)
    asyncio.run(_set_up(dsn, meters))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    _fill(dsn, midnight, 0)
    _derive(dsn)
    _fill(dsn, midnight + timedelta(days=1), _SLOTS)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")
    elapsed = _derive(dsn)
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT count(*) FROM store.usage WHERE method = 0").fetchone()
        left = conn.execute("SELECT count(*) FROM store.changed_usage").fetchone()
    if left != (0,):
        raise AssertionError(f"{left} changes were not judged")
    if row != (meters * (2 * _SLOTS - 1),):
        raise AssertionError(f"expected usage of {2 * _SLOTS - 1} intervals of {meters} meters, found {row} rows")
    return elapsed


async def _set_up(dsn: str, meters: int) -> None:
    async with Database(dsn, "gatemeter_worker", max_size=2) as db, db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "bench", "Bench", "Asia/Shanghai", "CNY")
        new = [
            NewMeter(f"E{n}", "electricity", None, 10**9, 60_000, date(2020, 1, 1), interval_s=900)
            for n in range(meters)
        ]
        await metering.create_meters(conn, project.id, new)


def _fill(dsn: str, start: datetime, first: int) -> None:
    """A day of readings of all meters, in the order in which they come, and the windows that ingest would leave.

    No two intervals of a load are alike for long; one meter in a hundred stands at the same load all day, a finding.
    """
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, quality, project_id)
               SELECT m.id, 1, %(start)s + n * interval '15 minutes',
                      (%(first)s + n) * (100 + m.id %% 50)
                      + CASE WHEN m.id %% 100 > 0 THEN ((%(first)s + n) * (%(first)s + n) * 17 + m.id) %% 37 ELSE 0 END,
                      0, m.project_id
               FROM generate_series(0, %(last)s) AS n CROSS JOIN meter m""",
            {"start": start, "first": first, "last": _SLOTS - 1},
        )
        conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               SELECT id, 1, project_id, %s, %s + interval '1425 minutes' FROM meter""",
            (start, start),
        )


def _derive(dsn: str) -> float:
    """Seconds in which running workers derive and judge what is marked; both kinds of job, as the worker has them."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(_WORKERS + 1)
    workers = [context.Process(target=_work, args=(dsn, ready)) for _ in range(_WORKERS)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise AssertionError(f"a worker ended with {worker.exitcode}")
    return time.perf_counter() - began


def _work(dsn: str, ready: Barrier) -> None:
    asyncio.run(_job(dsn, ready))


async def _job(dsn: str, ready: Barrier) -> None:
    """A worker of a running system has its modules loaded and its connections open."""
    async with Database(dsn, "gatemeter_worker", max_size=2) as db:
        async with db.transaction(SYSTEM) as conn:
            row = await (await conn.execute("INSERT INTO job (kind) VALUES ('bench') RETURNING id")).fetchone()
        assert row is not None
        keep_what_is_loaded()
        await asyncio.to_thread(ready.wait)
        await jobs.derive_usage(JobContext(row["id"], None, {}, db))
        await validation_jobs.settle(JobContext(row["id"], None, {}, db))
