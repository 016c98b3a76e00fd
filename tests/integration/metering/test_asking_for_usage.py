"""What staff change is derived at once: the web role asks for it. How long a change waits is known."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.jobs import JobContext
from cloud.metering import service as metering
from cloud.metering.derivation import update as derivation
from cloud.metering.edits import service as edits
from cloud.metering.edits.service import NewEdit
from cloud.metering.jobs import HANDLERS
from cloud.metering.manual import service as manual
from tests.integration.metering.site import START_MS, Site, hourly, make_site, message

START = datetime.fromtimestamp(START_MS / 1000, UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def rows(db: Database, query: str) -> list[dict[str, Any]]:
    async with db.transaction(SYSTEM) as conn:
        return await (await conn.execute(query.encode())).fetchall()


async def do_what_is_asked(db: Database) -> list[str]:
    """Does the work that is queued, as a worker would, and returns its kinds."""
    jobs = await rows(
        db, "UPDATE job SET state = 'done' WHERE state = 'queued' RETURNING id, project_id, kind, payload"
    )
    for job in jobs:
        await HANDLERS[job["kind"]](JobContext(job["id"], job["project_id"], job["payload"], db))
    return sorted(job["kind"] for job in jobs)


async def quantities(db: Database) -> list[int]:
    return [row["quantity"] for row in await rows(db, "SELECT quantity FROM store.usage ORDER BY meter_id, start")]


async def test_manual_readings_and_edits_through_the_web_are_derived_at_once(
    worker_db: Database, ingest_db: Database, web_db: Database, site: Site
) -> None:
    await Writer(ingest_db).store([message(1, hourly("m1", 0, [1000, 1400]))])
    staff = Asker("staff", (site.project_id,), user_id=None)
    async with web_db.transaction(staff) as conn:
        typed = await manual.read_typed(conn, site.meters[0], "2", START + 2 * HOUR)
        await manual.enter(conn, typed, "somebody")
    assert await do_what_is_asked(worker_db) == ["metering.derive-usage"]
    assert await quantities(worker_db) == [400, 600]
    async with web_db.transaction(staff) as conn:
        decided = NewEdit(site.meters[0], 1, START + HOUR, "set", "misread", "somebody", 1500)
        await edits.add_edit(conn, decided)
    kinds = await do_what_is_asked(worker_db)
    assert "metering.derive-usage" in kinds
    assert await quantities(worker_db) == [500, 500]


@pytest.mark.parametrize("kind", ["nobody", "resident", "sign-in"])
async def test_nobody_else_asks(web_db: Database, site: Site, kind: Any) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with web_db.transaction(Asker(kind, (site.project_id,))) as conn:
            await metering.ask_for_usage(conn)


async def test_a_gap_that_is_shaped_again_waits_since_what_changed_came(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    """Four days with a gap behind them; the first of them change late: the gap is asked to be shaped again."""
    day = list(range(0, 24 * 100, 100))
    await Writer(ingest_db).store([message(1, hourly("m1", 0, day))])
    await Writer(ingest_db).store([message(2, hourly("m1", 24 * 3, [10_000]))])
    await do_what_is_asked(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await metering.ask_for_usage(conn)
    await do_what_is_asked(worker_db)
    assert await rows(worker_db, "SELECT FROM store.estimated_gap") != []
    async with worker_db.transaction(SYSTEM) as conn:
        decided = NewEdit(site.meters[0], 1, START + 2 * HOUR, "set", "misread", "somebody", 250)
        await edits.add_edit(conn, decided)
    await rows(worker_db, "UPDATE store.dirty_window SET created_at = '2026-05-05Z' RETURNING id")
    async with worker_db.transaction(SYSTEM) as conn:
        meters = await derivation.lock_meters(conn, site.meters)
        taken = await derivation.take_registers(conn, meters, {site.project_id: ZoneInfo("Asia/Shanghai")})
        assert (await derivation.update(conn, taken)).again > 0
        waiting = await (await conn.execute("SELECT created_at FROM store.dirty_window")).fetchall()
    assert {row["created_at"] for row in waiting} == {datetime(2026, 5, 5, tzinfo=UTC)}
