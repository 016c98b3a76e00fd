"""What the derivation counts of the rows that it adds is what counting the rows themselves comes to."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from cloud.kit.db import SYSTEM, Database
from tests.integration.metering.site import Site, make_site
from tests.integration.metering.test_derivation import Rows, derive, table

CHANGES_OF_CLOCKS = {
    "Asia/Shanghai": datetime(2026, 3, 1, tzinfo=UTC),
    "Asia/Kathmandu": datetime(2026, 3, 1, tzinfo=UTC),
    "Europe/Berlin": datetime(2026, 3, 29, tzinfo=UTC),
    # Clocks change by half an hour; at midnight, forward; at one, back to midnight, which there is twice.
    "Australia/Lord_Howe": datetime(2026, 4, 4, tzinfo=UTC),
    "Asia/Beirut": datetime(2026, 3, 28, tzinfo=UTC),
    "America/Havana": datetime(2025, 11, 2, tzinfo=UTC),
}


@pytest.mark.parametrize("zone", CHANGES_OF_CLOCKS)
async def test_counted_by_the_derivation_as_by_the_database(worker_db: Database, owner_db: Database, zone: str) -> None:
    chance = random.Random(zone)
    site = await make_site(worker_db, meters=5, zone=zone)
    await unlike_each_other(worker_db, site)
    start = CHANGES_OF_CLOCKS[zone] - timedelta(days=2)
    readings = {n: chance.sample(range(96 * 5), 300) for n in site.meters}
    await read(worker_db, {meter: slots[:150] for meter, slots in readings.items()}, start)
    await derive(worker_db)
    assert len(await table(worker_db, "SELECT 1 FROM store.usage")) > 200
    assert await table(worker_db, "SELECT 1 FROM store.usage WHERE length_s > 3600") != []
    await counted_again(worker_db, owner_db)
    # Rows that are there change and go, others come between them.
    await read(worker_db, readings, start)
    await derive(worker_db)
    await counted_again(worker_db, owner_db)


async def unlike_each_other(db: Database, site: Site) -> None:
    """Quarters, half hours, hours and days; the last meter is one of the first one's sub-meters."""
    async with db.transaction(SYSTEM) as conn:
        for meter, interval in zip(site.meters, (900, 1800, 3600, 86400, 900), strict=True):
            await conn.execute("UPDATE meter SET interval_s = %s WHERE id = %s", (interval, meter))
        await conn.execute("UPDATE meter SET parent_id = %s WHERE id = %s", (site.meters[0], site.meters[-1]))


async def read(db: Database, slots: dict[int, list[int]], start: datetime) -> None:
    """Readings at quarters since `start`; of those that are there already nothing becomes."""
    async with db.transaction(SYSTEM) as conn:
        for meter, some in slots.items():
            await conn.execute(
                """INSERT INTO store.reading (meter_id, channel, taken_at, value, quality, project_id)
                   SELECT id, 1, %s + n * interval '15 minutes', 1000 + n * n, 0, project_id
                   FROM meter CROSS JOIN unnest(%s::int[]) AS n WHERE id = %s
                   ON CONFLICT DO NOTHING""",
                (start, some, meter),
            )
        await conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               SELECT id, 1, project_id, %s, %s + interval '10 days' FROM meter""",
            (start, start),
        )


async def counted_again(db: Database, owner: Database) -> None:
    """Nothing changes when the database counts everything from the rows."""
    before = await sums(db)
    assert before[0]
    async with owner.transaction(SYSTEM) as conn:
        await conn.execute("CALL gm.count_again()")
    assert await sums(db) == before


async def sums(db: Database) -> list[Rows]:
    """Totals of hours, and days and months; of plain PostgreSQL only, elsewhere they are aggregates of the engine."""
    totals = await table(
        db,
        """SELECT * FROM (
               SELECT project_id, medium, channel, start, reach, sum(top) AS top, sum(top_rows) AS top_rows,
                      sum(all_meters) AS all_meters, sum(rows) AS rows, sum(top_covered_s) AS top_covered_s,
                      sum(top_estimated_s) AS top_estimated_s, sum(covered_s) AS covered_s,
                      sum(estimated_s) AS estimated_s
               FROM (SELECT * FROM store.usage_total UNION ALL SELECT * FROM store.usage_total_change) AS t
               GROUP BY 1, 2, 3, 4, 5) AS t
           WHERE rows <> 0 OR all_meters <> 0 ORDER BY 1, 2, 3, 4, 5""",
    )
    steps = [
        await table(db, f"SELECT * FROM store.usage_{step} WHERE rows <> 0 ORDER BY meter_id, channel, start")
        for step in ("day", "month")
    ]
    return [totals, *steps]
