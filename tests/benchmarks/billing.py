"""The job of a bill run, from usage in the database to issued bills, lines and ledger entries in the database.

Every account pays for electricity by yearly tiers from a meter with daily usage, whose month the job judges before it
bills. The curve shows what an account costs as accounts become many.
"""

import asyncio
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import psycopg

import cloud
from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.service import NewAgreement, RunOptions
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.jobs import JobContext
from cloud.kit.migrate import migrate
from cloud.kit.periods import Period
from cloud.kit.security import Keys, Sealer
from cloud.kit.yaml_files import load_yaml
from cloud.metering import service as metering
from cloud.metering.records import NewMeter
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.benchmarks.ingest import fresh_database
from tests.benchmarks.measure import Bound, Measure
from tests.integration.metering.counted import COUNT

_CURVE: Final = tuple(int(n) for n in os.environ.get("GATEMETER_BENCH_ACCOUNTS", "1000,10000,100000").split(","))
_WANTED: Final = {1_000: 5.0, 100_000: 180.0}
_TARIFF: Final = Path(cloud.__file__).parents[1] / "firmware-config/tariffs/beijing-electricity.yaml"
_JANUARY, _FEBRUARY, _MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
_MEMORY_MB: Final = 1024


def run() -> list[Measure | Bound]:
    """Seconds against the bounds, the cost of an account at every size against the smallest, and memory."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return _measures([_seconds(fresh_database(given), accounts) for accounts in _CURVE])
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return _measures([_seconds(server.create_database(f"bench{n}"), n) for n in _CURVE])


@dataclass(frozen=True, slots=True)
class _Taken:
    """How long the job of so many accounts took, and a judgement of its meters by itself just before."""

    accounts: int
    seconds: float
    judging: float


def _measures(curve: list[_Taken]) -> list[Measure | Bound]:
    found: list[Measure | Bound] = [
        Bound(f"job of a bill run, {one.accounts:,} accounts, judged and issued", one.seconds, "s",
              _WANTED[one.accounts])
        for one in curve
        if one.accounts in _WANTED
    ]  # fmt: skip
    first = curve[0]
    found += [
        Measure(f"job of a bill run, {one.accounts:,} accounts", one.accounts / one.seconds,
                f"{first.accounts:,} accounts", first.accounts / first.seconds, "accounts")
        for one in curve[1:]
    ]  # fmt: skip
    found += [
        Measure(f"judging {one.accounts:,} meters by itself", one.accounts / one.judging,
                "the whole job", one.accounts / one.seconds, "meters")
        for one in curve
    ]  # fmt: skip
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return [*found, Bound("memory of the worker", most, "MB", _MEMORY_MB)]


def _seconds(dsn: str, accounts: int) -> _Taken:
    migrate(dsn)
    return asyncio.run(_measured(dsn, accounts))


async def _measured(dsn: str, accounts: int) -> _Taken:
    """January is billed before, so that February has a tier window to go on with."""
    async with Database(dsn, "gatemeter_worker", max_size=2) as db:
        project_id = await _set_up(db, accounts)
        _fill(dsn)
        await jobs.run(await _asked(db, project_id, Period(_JANUARY, _FEBRUARY)))
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("ANALYZE")
        job = await _asked(db, project_id, Period(_FEBRUARY, _MARCH))
        began = time.perf_counter()
        await billing.check_run(db, SYSTEM, job.payload["run_id"])
        judging = time.perf_counter() - began
        began = time.perf_counter()
        done = await jobs.run(job)
        elapsed = time.perf_counter() - began
        async with db.transaction(SYSTEM) as conn:
            run = await billing.run_of_job(conn, job.job_id)
            wrong = await billing.discrepancies(conn, project_id)
    if (run.state, run.billed, wrong) != ("issued", accounts, []):
        raise AssertionError(f"expected {accounts} bills that agree with the ledger, got {done}, {wrong[:3]}")
    return _Taken(accounts, elapsed, judging)


async def _asked(db: Database, project_id: int, period: Period) -> JobContext:
    """The job of a run, as a worker is given it: its progress is written too."""
    async with db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, project_id, period, options=RunOptions(issue_at_once=True))
        claim = "UPDATE job SET state = 'running', attempts = 1 WHERE id = %s RETURNING payload"
        row = await (await conn.execute(claim, (job_id,))).fetchone()
    assert row is not None
    return JobContext(job_id, project_id, row["payload"], db)


async def _set_up(db: Database, accounts: int) -> int:
    """A project whose accounts each pay for one meter."""
    async with db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "bench", "Bench", "Asia/Shanghai", "CNY")
        content = load_yaml(_TARIFF, TariffContent)
        version = await tariffs.publish(conn, project.id, "e", "E", "electricity", content, _JANUARY)
        new = [
            NewMeter(f"E{n}", "electricity", None, 10**9, 60_000, date(2025, 1, 1), interval_s=86_400)
            for n in range(accounts)
        ]
        meters = await metering.create_meters(conn, project.id, new)
        person = await estate.create_person(conn, Sealer(Keys.generate()), project.id, "Resident")
        await conn.execute(
            """INSERT INTO account (project_id, number, person_id, valid)
               SELECT %s, 'A-' || lpad(n::text, 7, '0'), %s, '[2025-01-01,)' FROM generate_series(1, %s) AS n""",
            (project.id, person.id, accounts),
        )
        rows = await (await conn.execute("SELECT id FROM account ORDER BY number")).fetchall()
        agreements = [
            NewAgreement(row["id"], "electricity", version.tariff_id, _JANUARY, meter.id)
            for row, meter in zip(rows, meters, strict=True)
        ]
        for start in range(0, accounts, 10_000):
            await billing.create_agreements(conn, project.id, agreements[start : start + 10_000])
    return project.id


def _fill(dsn: str) -> None:
    """Readings at every local midnight of two months and the daily usage between them."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, quality, project_id)
               SELECT m.id, 1, timestamptz '2026-01-01T00:00+08' + n * interval '1 day', n * (5000 + m.id %% 20000), 0,
                      m.project_id
               FROM generate_series(0, %s) AS n CROSS JOIN meter m""",
            ((_MARCH - _JANUARY).days,),
        )
        conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               SELECT m.id, 1, timestamptz '2026-01-01T00:00+08' + n * interval '1 day', 86400, 5000 + m.id %% 20000,
                      m.project_id
               FROM generate_series(0, %s) AS n CROSS JOIN meter m""",
            ((_MARCH - _JANUARY).days - 1,),
        )
        conn.execute(COUNT)
