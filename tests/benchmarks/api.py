"""Answers of the REST API through a real socket, as a dashboard asks for them: how long 95 of 100 take at most.

A project of 10,000 meters with a month of hourly usage, and one meter with a year of quarter-hours, rolled up by the
triggers as in operation. `gatemeter web run` serves it from a process of its own; one client asks one question after
the other. Beside each stands the bare query that adds up the same rows of usage, over a connection to the database.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, LiteralString

import httpx
import psycopg

from cloud.estate import service as estate
from cloud.identity import repository, service
from cloud.identity.policy import Grant
from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.jobs import JobContext
from cloud.kit.migrate import migrate
from cloud.kit.security import Keys
from cloud.metering import service as metering
from cloud.metering.records import ChangedSpan, NewMeter
from cloud.metering.rollups import maintenance
from cloud.metering.rollups import reading as rollups
from tests.benchmarks.ingest import fresh_database
from tests.benchmarks.measure import Bound, Measure
from tests.integration.metering.counted import COUNT
from tests.web_process import web_process

_METERS: Final = int(os.environ.get("GATEMETER_BENCH_API_METERS", "10000"))
_ASKED: Final = 100
_BARE_ASKED: Final = 5
_YEAR: Final = datetime(2025, 1, 1, tzinfo=UTC) - timedelta(hours=8)
_MONTH: Final = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=8)
_FILL_YEAR: LiteralString = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
    SELECT %(meter)s, 1, at, 900, 100 + (extract(epoch FROM at)::bigint / 900) %% 50, 0, 0, %(project)s
    FROM generate_series(%(start)s::timestamptz, %(start)s + interval '365 days' - interval '1 second', '15 minutes') at
"""
_FILL_DAY: LiteralString = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
    SELECT m.id, 1, %(start)s + n * interval '1 hour', 3600, 400 + m.id %% 50, 0, CASE n WHEN 3 THEN 4 ELSE 0 END,
           m.project_id
    FROM meter m CROSS JOIN generate_series(0, 23) AS n WHERE m.id <> %(meter)s
"""
# Beside the meter with a year: an index must find its days among those of the others.
_FILL_AUTUMN: LiteralString = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
    SELECT m.id, 1, %(start)s + n * interval '1 day', 86400, 9600 + m.id %% 50, 0, 0, m.project_id
    FROM meter m CROSS JOIN generate_series(0, 29) AS n WHERE m.id <> %(meter)s
"""
_BARE_YEAR: LiteralString = """
    SELECT date_trunc('day', start, 'Asia/Shanghai'), sum(quantity) FROM store.usage
    WHERE meter_id = %(meter)s AND channel = 1 AND start >= %(start)s AND start < %(start)s + interval '365 days'
    GROUP BY 1
"""
_BARE_MONTH: LiteralString = """
    SELECT date_trunc('hour', start), sum(quantity) FROM store.usage
    WHERE project_id = %(project)s AND channel = 1 AND start >= %(start)s AND start < %(start)s + interval '31 days'
    GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, the query that adds up its rows of usage, and the milliseconds that are promised."""

    name: str
    address: str
    bare: LiteralString
    query: dict[str, object]
    wanted_ms: float


def run() -> list[Measure | Bound]:
    """The two answers the project promises a time for, against that and against the bare query."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return _measures(Path(folder), fresh_database(given))
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return _measures(Path(folder), server.create_database("bench"))


def _measures(folder: Path, dsn: str) -> list[Measure | Bound]:
    migrate(dsn)
    keys_file = folder / "keys.json"
    Keys.generate().save(keys_file)
    project, meter, token = asyncio.run(_set_up(dsn))
    began = time.perf_counter()
    _fill(dsn, project, meter)
    asyncio.run(_refresh(dsn, project, meter))
    print(f"usage of {_METERS:,} meters stored and rolled up in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    year = f"/api/v1/meters/{meter}/usage?from=2025-01-01&to=2026-01-01&step=day"
    month = f"/api/v1/usage?project_id={project}&from=2026-01-01&to=2026-02-01&step=hour"
    asked = (
        _Asked("a meter's year by day", year, _BARE_YEAR, {"meter": meter, "start": _YEAR}, 100.0),
        _Asked(
            f"a month of {_METERS:,} meters by hour", month, _BARE_MONTH, {"project": project, "start": _MONTH}, 300.0
        ),
    )
    with web_process(dsn, keys_file) as url, httpx.Client(base_url=url) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        health = _p95(client, "/healthz")
        return [measure for one in asked for measure in _measured(client, dsn, one, health)]


def _measured(client: httpx.Client, dsn: str, asked: _Asked, health: float) -> list[Measure | Bound]:
    _check(client, dsn, asked)
    ours = _p95(client, asked.address)
    bare = 60 / _bare(dsn, asked)
    return [
        Bound(f"{asked.name}, 95 of {_ASKED} answers within", 1_000 * ours, "ms", asked.wanted_ms),
        Measure(asked.name, 60 / ours, "bare query that adds up the rows", bare, "answers", per="min"),
        Measure(asked.name, 60 / ours, "GET /healthz", 60 / health, "answers", per="min"),
    ]


def _check(client: httpx.Client, dsn: str, asked: _Asked) -> None:
    """A fast answer that is wrong is worth nothing."""
    answer = client.get(asked.address).raise_for_status().json()
    bars = answer["items"][0]["bars"] if "bars" in answer["items"][0] else answer["items"]
    with psycopg.connect(dsn) as conn:
        wanted = {at: int(total) for at, total in conn.execute(asked.bare, asked.query).fetchall()}
    got = {datetime.fromisoformat(bar["start"]): bar["quantity"] for bar in bars}
    if {at: f"{total / 1000:.3f}" for at, total in wanted.items()} != got:
        raise AssertionError(f"the answer to {asked.address} is not what the rows add up to")


def _p95(client: httpx.Client, address: str) -> float:
    """Seconds within which 95 of 100 are answered, after some that nobody counts."""
    taken = []
    for nth in range(5 + _ASKED):
        began = time.perf_counter()
        client.get(address).raise_for_status()
        if nth >= 5:
            taken.append(time.perf_counter() - began)
    return statistics.quantiles(taken, n=20)[-1]


def _bare(dsn: str, asked: _Asked) -> float:
    """Median seconds of the query that adds up the rows."""
    with psycopg.connect(dsn) as conn:
        taken = []
        for _ in range(_BARE_ASKED):
            began = time.perf_counter()
            conn.execute(asked.bare, asked.query).fetchall()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def _set_up(dsn: str) -> tuple[int, int, str]:
    """Project, the meter with a year, and a token of staff."""
    async with Database(dsn, None, max_size=2) as db, db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "bench", "Bench", "Asia/Shanghai", "CNY")
        new = [NewMeter(f"E{n}", "electricity", None, 10**9, 60_000, date(2020, 1, 1)) for n in range(_METERS)]
        new.append(NewMeter("YEAR", "electricity", None, 10**9, 60_000, date(2020, 1, 1), interval_s=900))
        meters = await metering.create_meters(conn, project.id, new)
        user_id, _ = await repository.insert_user(conn, "bench", "Bench", "no password opens this", "en")
        await repository.insert_grants(conn, user_id, [Grant("admin", None)])
        token = await service.issue_token(conn, user_id, "bearer", "bench", datetime.now(UTC) + timedelta(hours=1))
        return project.id, meters[-1].id, token.secret


def _fill(dsn: str, project: int, meter: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT gm.ensure_partitions('2024-12-01', '2026-03-01')")
        conn.execute(_FILL_YEAR, {"meter": meter, "project": project, "start": _YEAR})
        for days in (275, 305, 335):
            conn.execute(_FILL_AUTUMN, {"meter": meter, "start": _YEAR + timedelta(days=days)})
        for day in range(31):
            conn.execute(_FILL_DAY, {"meter": meter, "start": _MONTH + timedelta(days=day)})
        conn.execute(COUNT)
        conn.execute("ANALYZE")


async def _refresh(dsn: str, project: int, meter: int) -> None:
    """The job that follows a change: totals folded, with TimescaleDB days and months computed."""
    async with Database(dsn, "gatemeter_worker", max_size=2) as db:
        async with db.transaction(SYSTEM) as conn:
            await rollups.refresh(conn, [ChangedSpan(project, meter, 1, _YEAR, _MONTH + timedelta(days=31))])
        await maintenance.refresh_roll_ups(JobContext(1, None, {}, db))
