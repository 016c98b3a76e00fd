"""Broker and ingest are killed again and again: every reading that a meter served is stored exactly once."""

import asyncio
import json
import random
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.kit.db import SYSTEM, Database
from tests.acceptance.system import (
    System,
    chaos_rounds,
    create_metered_device,
    create_project,
    meter_site,
    running_system,
    system_rows,
    until,
)

METERS = 20
PERIOD_S = 1.0
Series = dict[tuple[str, str], list[int]]


@pytest.mark.slow
async def test_every_served_reading_is_stored_exactly_once(tmp_path: Path, owner_dsn: str, worker_db: Database) -> None:
    chance = random.Random(2024)
    served_log = tmp_path / "served.jsonl"
    await set_up(worker_db)
    with running_system(tmp_path, owner_dsn, meter_site(METERS, period_s=PERIOD_S)) as system:
        meters = ("simulate", "meters", "--site", str(system.site_file), "--advance", "--served-log", str(served_log))
        system.start("meters", *meters)
        system.start_ingest()
        system.start_gateway()
        for _ in range(chaos_rounds(3)):
            await more_is_stored(worker_db)
            system.broker.kill()
            if chance.random() < 0.5:
                system.kill("ingest")
                system.start_ingest()
            await asyncio.sleep(chance.uniform(0.0, 1.0))  # how long the outage lasts
            system.broker.start()
            await more_is_stored(worker_db)
            system.kill("ingest")
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            system.start_ingest()
        await more_is_stored(worker_db)
        # The gateway finishes the polls it began and hands over what it has before the meters go.
        system.stop("gateway")
        assert waiting_batches(system) == 0
        system.stop("ingest")
        system.stop("meters")
    stored = await stored_series(worker_db)
    served = served_series(served_log)
    assert len(served) == METERS * 7, "every channel of every meter was served"
    assert {key: len(values) for key, values in stored.items()} == {key: len(values) for key, values in served.items()}
    assert stored == served
    assert await system_rows(worker_db, "SELECT 1 FROM store.reading_revision") == []
    assert await system_rows(worker_db, "SELECT 1 FROM unclaimed_reading") == []
    assert await system_rows(worker_db, "SELECT 1 FROM dead_letter") == []


async def set_up(db: Database) -> None:
    since = datetime.now(UTC).date() - timedelta(days=2)
    async with db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        for number in range(1, METERS + 1):
            await create_metered_device(conn, project, gateway_id, f"e-{number:03}", "electricity", since)


async def more_is_stored(db: Database) -> None:
    """The pipeline works again: two more rounds of all meters are in the database."""
    before = await count(db)

    async def grown() -> bool:
        return await count(db) >= before + 2 * METERS

    await until(grown, "more readings in the database", 60.0)


async def count(db: Database) -> int:
    return int((await system_rows(db, "SELECT count(*) AS n FROM store.reading"))[0]["n"])


async def stored_series(db: Database) -> Series:
    rows = await system_rows(
        db,
        """SELECT d.code AS device, c.code AS channel, array_agg(r.value ORDER BY r.taken_at) AS values
           FROM store.reading r JOIN device_binding b USING (meter_id) JOIN device d ON d.id = b.device_id
           JOIN channel c ON c.id = r.channel GROUP BY 1, 2""",
    )
    return {(row["device"], row["channel"]): [int(value) for value in row["values"]] for row in rows}


def served_series(path: Path) -> Series:
    """What the meters say they served, in order."""
    series: dict[tuple[str, str], list[int]] = defaultdict(list)
    for line in path.read_text("utf-8").splitlines():
        entry = json.loads(line)
        series[(entry["device"], entry["channel"])].append(entry["value"])
    return dict(series)


def waiting_batches(system: System) -> int:
    with closing(sqlite3.connect(system.outbox)) as db:
        return int(db.execute("SELECT count(*) FROM batch").fetchone()[0])
