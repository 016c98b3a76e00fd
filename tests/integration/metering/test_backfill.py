"""History is stored once, and each row is told what became of it."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.metering.readings.backfill import HistoryColumns, store_history
from cloud.metering.readings.storing import Rows, store_rows
from tests.integration.metering.site import HOUR_MS, START_MS, Site, make_site

MANUAL = 32
Row = tuple[int, int, int, int]
"""Meter, channel, time, value."""


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


def columns(site: Site, rows: list[Row]) -> HistoryColumns:
    meters, channels, taken, values = (np.array([row[n] for row in rows], np.int64) for n in range(4))
    return HistoryColumns(site.project_id, meters, channels, taken, values, np.full(len(rows), MANUAL, np.int64))


async def fetch(db: Database, query: bytes) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        return [tuple(row.values()) for row in await (await conn.execute(query)).fetchall()]


STORED = b"""SELECT meter_id, channel, (extract(epoch FROM taken_at) * 1000)::bigint, value
             FROM store.reading ORDER BY 1, 2, 3"""
REVISIONS = STORED.replace(b"store.reading", b"store.reading_revision").replace(b"1, 2, 3", b"1, 2, 3, 4")


async def test_every_row_is_told_its_fate(worker_db: Database, site: Site) -> None:
    chance = random.Random(4)
    there: dict[tuple[int, int, int], int] = {}
    revisions: set[Row] = set()
    for _ in range(6):
        rows = [
            (chance.choice(site.meters), chance.choice((1, 3, 20)), START_MS + chance.randrange(40) * 30 * HOUR_MS,
             chance.randrange(3))
            for _ in range(chance.randrange(1, 120))
        ]  # fmt: skip
        wanted = []
        # The parts go by time; rows of one key keep their order.
        for row in rows:
            standing = there.get(row[:3])
            wanted.append("stored" if standing is None else "repeated" if standing == row[3] else "revised")
            there.setdefault(row[:3], row[3])
            if wanted[-1] == "revised":
                revisions.add(row)
        async with worker_db.transaction(SYSTEM) as conn:
            result = await store_history(conn, columns(site, rows))
        for name in ("stored", "repeated", "revised"):
            assert getattr(result, name).tolist() == [one == name for one in wanted]
    assert await fetch(worker_db, STORED) == sorted((*key, value) for key, value in there.items())
    assert await fetch(worker_db, REVISIONS) == sorted(revisions)


async def test_only_registers_that_changed_are_looked_at_again(worker_db: Database, site: Site) -> None:
    one, other = site.meters[:2]
    async with worker_db.transaction(SYSTEM) as conn:
        await store_history(conn, columns(site, [(one, 1, START_MS, 5), (other, 1, START_MS, 5)]))
        await conn.execute("DELETE FROM store.dirty_window")
        await store_history(
            conn,
            columns(
                site,
                [(one, 1, START_MS, 5), (other, 1, START_MS + 7 * HOUR_MS, 9), (other, 1, START_MS + HOUR_MS, 6)],
            ),
        )
    windows = await fetch(
        worker_db,
        b"""SELECT meter_id, channel, (extract(epoch FROM from_at) * 1000)::bigint AS first,
                   (extract(epoch FROM until_at) * 1000)::bigint AS last FROM store.dirty_window""",
    )
    assert windows == [(other, 1, START_MS + HOUR_MS, START_MS + 7 * HOUR_MS)]


async def test_an_empty_history_is_nothing(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        assert len((await store_history(conn, columns(site, []))).stored) == 0


async def test_writers_of_overlapping_rows_never_wait_crosswise(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    """Rows of several months in any order, by two writers at once: a deadlock would raise in one of them."""
    chance = random.Random(9)
    keys = [(meter, 1, START_MS + n * 9 * HOUR_MS, n) for meter in site.meters for n in range(400)]

    async def write(db: Database, rows: list[Row], *, expect_new: bool) -> int:
        given = columns(site, rows)
        async with db.transaction(SYSTEM) as conn:
            outcome = await store_rows(
                conn,
                Rows(
                    given.meters,
                    given.channels,
                    given.taken_ms,
                    given.values,
                    given.qualities,
                    np.full(len(rows), site.project_id, np.int64),
                ),
                expect_new=expect_new,
            )
        assert not outcome.revised.any()
        return int(outcome.stored.sum())

    for _ in range(12):
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute("DELETE FROM store.reading")
        parts = [chance.sample(keys, 800) for _ in range(2)]
        stored = await asyncio.gather(
            write(worker_db, parts[0], expect_new=chance.random() < 0.5),
            write(ingest_db, parts[1], expect_new=chance.random() < 0.5),
        )
        assert sum(stored) == len(set(parts[0]) | set(parts[1]))
