"""What the derivation counts of the rows that it adds is what counting the rows themselves comes to."""

import itertools
import random
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.metering import service as metering
from cloud.metering.records import NewMeter
from cloud.metering.rollups import maintenance
from cloud.metering.rollups.proving import UsageWasMiscounted, prove_counts
from tests.integration.metering.counted import COUNT
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
    "Atlantic/Azores": datetime(2025, 10, 26, tzinfo=UTC),
}


@pytest.mark.parametrize("zone", CHANGES_OF_CLOCKS)
async def test_counted_by_the_derivation_as_by_the_database(worker_db: Database, owner_db: Database, zone: str) -> None:
    chance = random.Random(zone)
    site = await make_site(worker_db, meters=5, zone=zone)
    await unlike_each_other(worker_db, site)
    start = CHANGES_OF_CLOCKS[zone] - timedelta(days=2)
    readings = {n: [*chance.sample(range(96 * 5), 300), 96 * 120] for n in site.meters}
    await read(worker_db, {meter: slots[-150:] for meter, slots in readings.items()}, start)
    await derive(worker_db)
    assert len(await table(worker_db, "SELECT 1 FROM store.usage")) > 200
    assert await table(worker_db, "SELECT 1 FROM store.usage WHERE length_s > 3600 AND length_s < 90000") != []
    assert await table(worker_db, "SELECT 1 FROM store.crossing_usage") != []
    await counted_again(worker_db, owner_db)
    # Rows that are there change and go, others come between them.
    await read(worker_db, readings, start)
    await derive(worker_db)
    await counted_again(worker_db, owner_db)


@pytest.mark.parametrize("zone", CHANGES_OF_CLOCKS)
async def test_a_proof_of_any_days_leaves_what_is_right(worker_db: Database, owner_db: Database, zone: str) -> None:
    """Also where the first or the last of them begins twice, or never."""
    site = await make_site(worker_db, meters=5, zone=zone)
    await unlike_each_other(worker_db, site)
    around = CHANGES_OF_CLOCKS[zone].date()
    await read(
        worker_db, {meter: [*range(96 * 6)] for meter in site.meters}, CHANGES_OF_CLOCKS[zone] - timedelta(days=3)
    )
    await derive(worker_db)
    days = [around + timedelta(days=n) for n in range(-4, 5)]
    for first, end in itertools.combinations(days, 2):
        days_of = f"id, '{first}', '{end}'"
        statement = f"SELECT gm.mend_counts({days_of}), gm.miscounted_crossing({days_of}) AS meters FROM project"
        assert await table(worker_db, statement) == [{"mend_counts": 0, "meters": []}], (first, end)
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
               SELECT id, 1, project_id, %s, %s + interval '150 days' FROM meter""",
            (start, start),
        )


async def counted_again(db: Database, owner: Database) -> None:
    """Nothing changes when the database counts everything from the rows, and the proof finds nothing to mend."""
    before = await sums(db)
    assert before[0]
    assert {row["mend_counts"] for row in await table(db, COUNT)} == {0}
    async with owner.transaction(SYSTEM) as conn:
        await conn.execute("CALL gm.count_again()")
        await conn.execute("CALL gm.find_crossing_usage()")
    assert await sums(db) == before


async def sums(db: Database) -> list[Rows]:
    """Totals of hours, days, months, and rows that cross hours.

    Days and months of plain PostgreSQL only: elsewhere they are aggregates of the engine.
    """
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
    return [totals, *steps, await table(db, "SELECT * FROM store.crossing_usage ORDER BY meter_id, channel, start")]


async def test_what_is_not_counted_is_found_and_mended(worker_db: Database, owner_db: Database) -> None:
    """Whoever forgets to count, in whatever rows; and counts of rows that there are not."""
    site = await make_site(worker_db, meters=5, zone="Asia/Kathmandu")
    await unlike_each_other(worker_db, site)
    start = CHANGES_OF_CLOCKS["Asia/Kathmandu"]
    await read(worker_db, {meter: [*range(300), 96 * 120] for meter in site.meters}, start)
    await derive(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               SELECT m.id, 1, %s - n * interval '13 hours', n * 2000, n * 7, n %% 5, m.project_id
               FROM meter m CROSS JOIN generate_series(1, 400) AS n""",
            (start,),
        )
    with pytest.raises(UsageWasMiscounted, match=r"demo: \d+"):
        await prove_counts(JobContext(1, None, {}, worker_db))
    assert await prove_counts(JobContext(1, None, {}, worker_db)) == {"projects": 1}
    assert len(await table(worker_db, "SELECT 1 FROM store.crossing_usage")) > len(site.meters) * 300
    await counted_again(worker_db, owner_db)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.usage_total SET covered_s = covered_s + 1 WHERE reach = 1")
        await conn.execute("UPDATE store.usage_total_change SET top = top - 1 WHERE start > %s", (start,))
        await conn.execute("DELETE FROM store.crossing_usage WHERE quantity % 2 = 0")
        await conn.execute("UPDATE store.crossing_usage SET quantity = quantity + 1 WHERE quantity % 3 = 0")
    await table(owner_db, COUNT)
    await counted_again(worker_db, owner_db)


async def test_days_that_were_proved_are_not_proved_again_but_for_the_last(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    context = JobContext(1, None, {}, worker_db)
    await prove_counts(context)
    insert = """INSERT INTO store.usage (meter_id, start, length_s, quantity, channel, project_id)
                VALUES (%s, %s, 900, 1, 1, %s)"""
    for age, expected in ((timedelta(days=2), pytest.raises(UsageWasMiscounted)), (timedelta(days=30), nullcontext())):
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute(insert, (site.meters[0], datetime.now(UTC) - age, site.project_id))
        with expected:
            await prove_counts(context)


@pytest.mark.parametrize("installed", [None, timedelta(days=60)])
async def test_a_project_that_used_nothing_yet_is_proved(worker_db: Database, installed: timedelta | None) -> None:
    """It has no meter, or one that will be installed."""
    async with worker_db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "empty", "Empty", "America/Havana", "CUP")
        if installed is not None:
            on = (datetime.now(UTC) + installed).date()
            await metering.create_meters(conn, project.id, [NewMeter("E1", "electricity", None, 10**9, 60_000, on)])
    for _ in range(2):
        assert await prove_counts(JobContext(1, None, {}, worker_db)) == {"projects": 1}
    assert len(await table(worker_db, "SELECT 1 FROM store.counts_proved WHERE until_on > now()::date - 2")) == 1


async def test_counts_of_what_is_archived_or_dropped_stay(worker_db: Database, owner_db: Database) -> None:
    """Also where the horizon lies within a local month."""
    site = await make_site(worker_db, meters=1, zone="America/Havana")
    begin = datetime.now(UTC) - timedelta(days=700)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               SELECT %s, 1, %s + n * interval '5 hours', 900 + n %% 3 * 86400, n, 0, %s
               FROM generate_series(1, 3300) n""",
            (site.meters[0], begin, site.project_id),
        )
        await conn.execute("SELECT gm.ensure_partitions(%s, %s)", (begin.date(), datetime.now(UTC).date()))
    await table(owner_db, COUNT)
    before = await sums(worker_db)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.retention SET usage_months = 12, drop_chunks = true")
    await maintenance.maintain(JobContext(1, None, {}, worker_db))
    [left] = await table(worker_db, "SELECT count(*) AS rows FROM store.usage")
    assert 1000 < left["rows"] < 2500
    assert await table(owner_db, COUNT) == [{"mend_counts": 0}]
    assert await sums(worker_db) == before
