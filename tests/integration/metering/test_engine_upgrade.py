"""A plain database becomes a TimescaleDB one without losing a row; only where the server has the extension."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cloud.kit.db import SYSTEM, Database
from cloud.kit.engine_upgrade import UpgradeRefused, plan, upgrade
from cloud.kit.jobs import JobContext
from cloud.kit.migrate import migrate
from cloud.metering.records import ChangedSpan
from cloud.metering.rollups import maintenance
from cloud.metering.rollups import reading as rollups
from tests.integration.metering.counted import COUNT
from tests.integration.metering.site import make_site

_HIDE = """
    CREATE VIEW public.pg_available_extensions AS
    SELECT * FROM pg_catalog.pg_available_extensions WHERE name <> 'timescaledb'
"""
_READINGS = """
    INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
    SELECT m, 1, timestamptz '2025-10-30 00:00+00' + n * interval '1 hour', n * 10, %s
    FROM unnest(%s::bigint[]) AS m, generate_series(0, 2000) AS n RETURNING 1
"""
_USAGE = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
    SELECT m, 1, timestamptz '2025-10-30 00:00+00' + n * interval '1 hour', 3600, 10, %s
    FROM unnest(%s::bigint[]) AS m, generate_series(0, 1999) AS n RETURNING 1
"""
_ALL = {
    "reading": "SELECT * FROM reading ORDER BY 1, 2, 3",
    "usage": "SELECT * FROM usage ORDER BY 1, 2, 3",
    "hour": "SELECT * FROM usage_hour ORDER BY 1, 2, 3, 4",
    "day": "SELECT * FROM usage_day ORDER BY 1, 2, 3, 4",
    "month": "SELECT * FROM usage_month ORDER BY 1, 2, 3, 4",
    "total": "SELECT * FROM usage_total ORDER BY 1, 2, 3, 4, 5",
    "crossing": "SELECT * FROM crossing_usage ORDER BY 1, 2, 3",
}


@pytest.fixture
def plain_dsn(server_dsn: str) -> Iterator[str]:
    """A database that was migrated while the server did not have the extension."""
    name = f"gm_plain_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    dsn = make_conninfo(server_dsn, dbname=name)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(_HIDE)
        migrate(make_conninfo(dsn, options="-c search_path=public,pg_catalog"))
        conn.execute("DROP VIEW public.pg_available_extensions")
    yield dsn
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def everything(db: Database) -> dict[str, list[dict[str, object]]]:
    async with db.transaction(SYSTEM) as conn:
        return {name: await (await conn.execute(query.encode())).fetchall() for name, query in _ALL.items()}


async def test_a_plain_database_is_upgraded_without_losing_a_row(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn) as conn:
        known = conn.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    if known is None:
        with pytest.raises(UpgradeRefused, match="no extension timescaledb"):
            plan(plain_dsn)
        return
    assert plan(plain_dsn) == []
    async with Database(plain_dsn, "gatemeter_worker", max_size=2) as db:
        site = await make_site(db)
        async with db.transaction(SYSTEM) as conn:
            await conn.execute(_READINGS.encode(), (site.project_id, site.meters))
            await conn.execute(_USAGE.encode(), (site.project_id, site.meters))
            await conn.execute(
                """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
                   VALUES (%s, 1, '2026-03-01 00:00+00', 9000000, 5, 2, %s)""", (site.meters[0], site.project_id)
            )  # fmt: skip
            await conn.execute(COUNT)
        before = await everything(db)
    said: list[str] = []
    assert sum(month.rows for month in plan(plain_dsn)) == upgrade(plain_dsn, said.append) == 3 * (2001 + 2000) + 1
    assert len(said) == len({*said}) == 9
    with pytest.raises(UpgradeRefused, match="already"):
        upgrade(plain_dsn, said.append)
    async with Database(plain_dsn, "gatemeter_worker", max_size=2) as db:
        await maintenance.refresh_roll_ups(JobContext(1, None, {}, db))
        after = await everything(db)
        for name in _ALL:
            assert len(before[name]) > 0
            assert after[name] == before[name], name
        late = (site.meters[0], datetime(2025, 11, 5, 0, 30, tzinfo=UTC), site.project_id)
        async with db.transaction(SYSTEM) as conn:
            await conn.execute(
                "INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id) "
                "VALUES (%s, 1, %s, 900, 7, %s)", late)  # fmt: skip
            await conn.execute(COUNT)
            await rollups.refresh(conn, [ChangedSpan(late[2], late[0], 1, late[1], late[1])])
        await maintenance.refresh_roll_ups(JobContext(1, None, {}, db))
        more = await everything(db)
    for name in ("hour", "day", "month"):
        assert (
            sum(int(str(row["quantity"])) for row in more[name])
            == sum(int(str(row["quantity"])) for row in before[name]) + 7
        )
