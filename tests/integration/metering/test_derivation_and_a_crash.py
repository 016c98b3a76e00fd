"""Deriving does not wait for the disk: what a crash of the database undoes is derived again, and nothing is missing."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cloud.kit.db import Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.jobs import JobContext
from cloud.kit.migrate import migrate
from cloud.metering.checks import jobs as validation_jobs
from tests.crashes import crash
from tests.integration.metering.site import hourly, make_site
from tests.integration.metering.test_derivation import Rows, derive, store, table, usage

METERS = 3
HOURS = 30


@pytest.fixture
def place() -> Iterator[Path]:
    # A short path for the server's socket, and a folder that its own user may enter.
    with TemporaryDirectory(prefix="gmcrash", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
async def untouched(worker_db: Database) -> Database:
    """What the same readings come to where nothing crashes."""
    await make_site(worker_db, meters=METERS)
    await come(worker_db)
    await derive(worker_db)
    await settle(worker_db)
    return worker_db


async def come(db: Database) -> None:
    for n in range(1, METERS + 1):
        await store(db, hourly(f"m{n}", 0, [n * 10 * hour for hour in range(HOURS)]))


async def settle(db: Database) -> None:
    await validation_jobs.settle(JobContext(1, None, {}, db))


async def came_to(db: Database) -> tuple[Rows, Rows]:
    found = "SELECT meter_id, channel, rule, from_at, until_at FROM meter_exception ORDER BY 1, 2, 3, 4"
    return await usage(db), await table(db, found)


@pytest.mark.slow
async def test_what_a_crash_undoes_is_derived_again(untouched: Database, place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        dsn = server.create_database("crash")
        migrate(dsn)
        async with Database(dsn, "gatemeter_worker", max_size=2) as db:
            await make_site(db, meters=METERS)
            await come(db)
            await derive(db)
            await settle(db)
            crash(server)
    with EmbeddedPostgres(place) as server:
        async with Database(server.dsn("crash"), "gatemeter_worker", max_size=2) as db:
            await derive(db)
            await settle(db)
            assert await came_to(db) == await came_to(untouched)
            assert len(await usage(db)) == METERS * (HOURS - 1)
            [sums] = await table(
                db,
                """SELECT (SELECT sum(quantity) FROM store.usage) AS rows,
                          (SELECT sum(quantity) FROM store.usage_day) AS days""",
            )
            assert sums["rows"] == sums["days"] > 0
            assert await table(db, "SELECT * FROM store.dirty_window") == []
            assert await table(db, "SELECT * FROM store.changed_usage") == []
