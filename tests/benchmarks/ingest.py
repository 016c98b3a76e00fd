"""Readings per second from a full outbox to COMMIT against raw binary COPY into the same table on the same server.

Ours is the whole way: SQLite outbox, uplink, a real broker, the ingest process, one transaction per group with
everything that follows from it, the acknowledgement back, the row deleted from the outbox. The reference is one
connection that copies ready-made rows and nothing else. The server is durable in both.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg

from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.migrate import migrate
from gateway.contract.codec import encode_body
from gateway.contract.messages import Command, Point
from gateway.contract.topics import Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox
from gateway.uplink import BrokerSettings, Uplink
from tests.acceptance.system import (
    GATEWAY,
    PASSWORDS,
    PROJECT,
    System,
    create_metered_device,
    create_project,
    running_system,
    until,
)
from tests.benchmarks.measure import Measure

METERS: Final = 100
_BATCH: Final = 200
POINTS: Final = 200_000
Fill = Callable[[Outbox], Awaitable[int]]
"""Puts readings into an outbox and tells how many."""
_CHANNEL: Final = "energy_import_total"


def run() -> list[Measure]:
    """COPY, ours, COPY again: the reference is the better of its two runs."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return [_measure(Path(folder), fresh_database(given))]
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return [_measure(Path(folder), server.create_database("bench"))]


def fresh_database(server_dsn: str) -> str:
    """DSN of an empty database on a given server."""
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS gm_bench WITH (FORCE)")
        conn.execute("CREATE DATABASE gm_bench")
    return psycopg.conninfo.make_conninfo(server_dsn, dbname="gm_bench")


def drained(folder: Path, dsn: str, meters: int, start: datetime, fill: Fill) -> float:
    """Seconds in which what `fill` puts into an outbox is stored and acknowledged, readings from `start` on.

    The devices are `m-000` and so on. Raises AssertionError when not every reading is stored once.
    """
    migrate(dsn)
    with running_system(folder, dsn, {}) as system:
        set_up(dsn, meters)
        listen(folder, system)
        return asyncio.run(_drain(folder, dsn, system.broker.port, start, fill))


def _measure(folder: Path, dsn: str) -> Measure:
    migrate(dsn)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=60)
    with running_system(folder, dsn, {}) as system:
        meters = set_up(dsn, METERS)
        copies = [copy_rate(dsn, meters, start - timedelta(days=60))]
        listen(folder, system)
        seconds = asyncio.run(_drain(folder, dsn, system.broker.port, start, lambda outbox: _fill(outbox, start)))
        system.stop("ingest")
        copies.append(copy_rate(dsn, meters, start - timedelta(days=90)))
    name = f"outbox to COMMIT, {POINTS:,} readings, one worker"
    return Measure(name, POINTS / seconds, "binary COPY, same table", max(copies), "readings")


def listen(folder: Path, system: System) -> None:
    """Starts one ingest process and returns when it listens."""
    ready = folder / "ingest-listens"
    os.environ["GATEMETER_INGEST_READY_FILE"] = str(ready)
    system.start_ingest()
    asyncio.run(_wait_for(ready))


def set_up(dsn: str, meters: int) -> list[int]:
    """A project with a gateway and so many metered devices; ids of the meters."""
    return asyncio.run(_set_up(dsn, meters))


async def _set_up(dsn: str, meters: int) -> list[int]:
    async with Database(dsn, "gatemeter_worker", max_size=2) as db, db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        since = date(2020, 1, 1)
        return [
            await create_metered_device(conn, project, gateway_id, f"m-{n:03}", "electricity", since)
            for n in range(meters)
        ]


def copy_rate(dsn: str, meters: list[int], start: datetime, points: int = POINTS) -> float:
    """Rows per second of one COPY: one minute a row for each meter, in the order in which readings come: by time."""
    rows = [(meter, 1, start + timedelta(minutes=n), n, 0, 1) for n in range(points // len(meters)) for meter in meters]
    began = time.perf_counter()
    with psycopg.connect(dsn) as conn, conn.cursor() as cursor:
        columns = "(meter_id, channel, taken_at, value, quality, project_id)"
        with cursor.copy(f"COPY store.reading {columns} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "int2", "timestamptz", "int8", "int2", "int8"])
            for row in rows:
                copy.write_row(row)
        conn.commit()
    return len(rows) / (time.perf_counter() - began)


async def _wait_for(file: Path) -> None:
    async def is_there() -> bool:
        return file.exists()

    await until(is_there, "ingest listens", 30)


async def _fill(outbox: Outbox, start: datetime) -> int:
    first = int(start.timestamp() * 1000)
    points = (
        Point(f"m-{meter:03}", _CHANNEL, first + minute * 60_000, minute)
        for minute in range(POINTS // METERS)
        for meter in range(METERS)
    )
    everything = list(points)
    for at in range(0, len(everything), _BATCH):
        await outbox.put(Up.READINGS, encode_body(everything[at : at + _BATCH]))
    return POINTS


async def _drain(folder: Path, dsn: str, port: int, start: datetime, fill: Fill) -> float:
    outbox = Outbox.open(folder / "bench.sqlite", 1 << 30)
    count = await fill(outbox)
    os.environ["GATEMETER_BENCH_PASSWORD"] = PASSWORDS["gateway"]
    broker = BrokerSettings(
        host="127.0.0.1",
        port=port,
        username=f"{PROJECT}.{GATEWAY}",
        password_env="GATEMETER_BENCH_PASSWORD",
        window=128,
    )
    uplink = Uplink(broker, PROJECT, GATEWAY, outbox, _no_command, cloud_keys={})
    began = time.perf_counter()
    session = asyncio.create_task(uplink.run())

    async def empty() -> bool:
        return (await outbox.stats()).rows == 0

    await until(empty, "the outbox is empty", 300)
    elapsed = time.perf_counter() - began
    uplink.stop()
    await session
    outbox.close()
    with psycopg.connect(dsn) as conn:
        query = "SELECT count(*) FROM store.reading WHERE taken_at >= %s"
        stored = conn.execute(query, (start,)).fetchone()
    if stored != (count,):
        raise AssertionError(f"{count} readings were sent, {stored} are stored")
    return elapsed


async def _no_command(command: Command) -> CommandOutcome:
    raise AssertionError(f"nobody sent a command, but here is {command}")
