"""Live counts and reports of parking over a million stays, of which 5,000 are open.

Counts: what many stays that are over cost one that counts those that are open. Reports: against reading the rows that
they are made of, which is what a program has to do that adds them up itself.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import psycopg

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.migrate import migrate
from cloud.parking import service as parking
from cloud.parking.counts.counting import counts
from cloud.reports.parking import service as reports
from tests.benchmarks.ingest import fresh_database
from tests.benchmarks.measure import Measure

_STAYS: Final = int(os.environ.get("GATEMETER_BENCH_STAYS", "1000000"))
_FEW: Final = 10_000
_OPEN: Final = 5_000
_ROUNDS: Final = 7
_FIRST, _LAST = date(2025, 1, 1), date(2026, 1, 1)

# A year of stays of some hours; the audit trail of what is made up here would be most of the time.
_FILL = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state, currency)
    SELECT l.project_id, l.id, 'P' || n, CASE WHEN n %% 20 = 0 THEN 'large' ELSE 'small' END, at,
           at + (n %% 600 + 5) * interval '1 minute', 'closed', 'CNY'
    FROM generate_series(%(from)s::int, %(to)s::int) AS n
    JOIN LATERAL (SELECT id, project_id FROM parking_lot ORDER BY id OFFSET n %% 4 LIMIT 1) AS l ON true,
         LATERAL (SELECT timestamptz '2025-01-01' + (n::bigint * 7919 %% 31500000) * interval '1 second' AS at) AS t
"""
_FILL_OPEN = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, currency)
    SELECT l.project_id, l.id, 'O' || n, 'small', timestamptz '2025-12-30' + n * interval '1 second', 'CNY'
    FROM generate_series(1, %(open)s::int) AS n
    JOIN LATERAL (SELECT id, project_id FROM parking_lot ORDER BY id OFFSET n %% 4 LIMIT 1) AS l ON true
"""


def run() -> list[Measure]:
    """Rates over few and over many stays."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    if given is not None:
        return asyncio.run(_measure(fresh_database(given)))
    with (
        tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "pg") as server,
    ):
        return asyncio.run(_measure(server.create_database("bench")))


async def _measure(dsn: str) -> list[Measure]:
    migrate(dsn)
    async with Database(dsn, "gatemeter_worker", max_size=1) as db:
        async with db.transaction(SYSTEM) as conn:
            project = await estate.create_project(conn, "bench", "Bench", "Asia/Shanghai", "CNY")
            outer = await parking.create_lot(conn, project.id, "outer", "Outer", 5_000)
            for nth in range(3):
                await parking.create_lot(conn, project.id, f"l{nth}", f"Lot {nth}", 2_000, outer.id if nth else None)
        _fill(dsn, 1, _FEW, _OPEN)

        async def count(conn: Conn) -> None:
            found = await counts(conn, [project.id], datetime.now(UTC))
            if sum(lot.inside for lot in found) != _OPEN:
                raise AssertionError(f"expected {_OPEN} vehicles inside")

        few = await _seconds(db, count)
        _fill(dsn, _FEW + 1, _STAYS, 0)
        many = await _seconds(db, count)

        async def rows(conn: Conn) -> None:
            query = "SELECT entered_at, left_at FROM parking_session WHERE project_id = %s AND state <> 'unmatched'"
            await (await conn.execute(query, (project.id,))).fetchall()

        async def occupancy(conn: Conn) -> None:
            wanted = await reports.wanted(conn, project.id, _FIRST, _LAST)
            if len(await reports.occupancy(conn, wanted)) != 7 * 24:
                raise AssertionError("expected every hour of the week")

        async def turnover(conn: Conn) -> None:
            wanted = await reports.wanted(conn, project.id, _FIRST, _LAST)
            await reports.turnover(conn, wanted)

        read, heat, ended = [await _seconds(db, one, 3) for one in (rows, occupancy, turnover)]
    reference = "reading the rows of these stays"
    return [
        Measure(
            f"live counts, {_OPEN:,} open of {_STAYS:,} stays", 1 / many, f"of {_FEW:,} stays", 1 / few, "counts", 0.5
        ),
        Measure(f"occupancy of a year, {_STAYS:,} stays", _STAYS / heat, reference, _STAYS / read, "stays", 1),
        Measure(f"turnover of a year, {_STAYS:,} stays", _STAYS / ended, reference, _STAYS / read, "stays", 1),
    ]


def _fill(dsn: str, first: int, last: int, still_open: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE parking_session DISABLE TRIGGER USER")
        conn.execute(_FILL, {"from": first, "to": last})
        conn.execute(_FILL_OPEN, {"open": still_open})
        conn.execute("ALTER TABLE parking_session ENABLE TRIGGER USER")
        conn.execute("VACUUM ANALYZE parking_session")


async def _seconds(db: Database, work: Callable[[Conn], Awaitable[None]], rounds: int = _ROUNDS) -> float:
    """The best of some rounds, after one that warms up."""
    found = []
    for _ in range(rounds + 1):
        async with db.transaction(SYSTEM) as conn:
            started = time.perf_counter()
            await work(conn)
            found.append(time.perf_counter() - started)
    return min(found[1:])
