"""Rows of usage that touch spans of time: found meter by meter, whatever the others have and however long a row is."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import LiteralString

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.metering import repository
from tests.integration.metering.site import Site, make_site
from tests.plans import rows_read
from tests.worlds import World, world

METERS, DAYS = 30, 40
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# The third of the meters was silent from the fifth day to the twentieth: one row tells what it used meanwhile.
_ROWS: LiteralString = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
    SELECT m.id, 1, %(start)s + n * interval '1 hour', CASE WHEN silent AND n = 96 THEN 384 * 3600 ELSE 3600 END, n,
           m.project_id
    FROM (SELECT id, project_id, row_number() OVER (ORDER BY id) = 3 AS silent FROM meter) m
    CROSS JOIN generate_series(0, %(hours)s - 1) n WHERE NOT (silent AND n > 96 AND n < 480)
"""
_ALL: LiteralString = "SELECT meter_id, start, length_s, quantity, method, version FROM store.usage ORDER BY start"


@world
async def site_world(db: Database) -> Site:
    """Forty days of usage by the hour of thirty meters."""
    made = await make_site(db, METERS)
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(_ROWS, {"start": START, "hours": DAYS * 24})
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def test_they_are_those_that_touch_the_span(site: Site, worker_db: Database) -> None:
    chance = Random(7)
    asked = []
    for meter in site.meters[:4] * 20:
        begin = START + timedelta(minutes=chance.randrange(-3_000, DAYS * 24 * 60 + 3_000))
        asked.append((meter, 1, begin, begin + timedelta(minutes=chance.randrange(1, 4_000))))
    async with worker_db.transaction(SYSTEM) as conn:
        found = await repository.usage_of_many(conn, asked)
        every = await (await conn.execute(_ALL)).fetchall()
    for (meter, _, begin, end), rows in zip(asked, found, strict=True):
        touching = [
            (one["start"], one["length_s"], one["quantity"])
            for one in every
            if one["meter_id"] == meter
            and one["start"] < end
            and one["start"] + timedelta(seconds=one["length_s"]) > begin
        ]
        assert [(row.start, row.length_s, row.quantity) for row in rows] == touching
    assert any(row.length_s > 86_400 for rows in found for row in rows)


@pytest.mark.parametrize("count", [1, 20])
async def test_no_more_is_read_than_lies_about_the_spans(site: Site, worker_db: Database, count: int) -> None:
    """A day each: neither the other meters are read, nor what came long before."""
    start = START + 30 * 24 * HOUR
    asked = {
        "meters": site.meters[-count:],
        "channels": [1] * count,
        "starts": [start] * count,
        "ends": [start + 24 * HOUR] * count,
    }
    read = await rows_read(worker_db, repository._USAGE_OF_MANY, asked, "usage", "_hyper", "compress")
    assert read <= 2 * count * 10 * 24
