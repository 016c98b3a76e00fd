"""Months are compared with the year before or the month before, and masters with their sub-meters."""

from datetime import UTC, date, datetime, timedelta

import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, month_of
from cloud.metering.checks import period_checks
from cloud.metering.checks import service as checks
from cloud.metering.thresholds.overrides import set_of_meter
from tests.integration.metering.site import Site, make_site

MARCH = datetime(2026, 2, 28, 16, tzinfo=UTC)
FEBRUARY = datetime(2026, 1, 31, 16, tzinfo=UTC)
LAST_YEAR = datetime(2025, 2, 28, 16, tzinfo=UTC)


async def put(db: Database, site: Site, meter: int, start: datetime, days: int, a_day: int) -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               SELECT %s, 1, %s + n * interval '1 day', 86400, %s, %s FROM generate_series(0, %s) n""",
            (site.meters[meter], start, a_day, site.project_id, days - 1),
        )


async def judge(db: Database, site: Site) -> list[tuple[int, str, int, int]]:
    async with db.transaction(SYSTEM) as conn:
        project = await estate.get_project(conn, site.project_id)
        await period_checks.judge(conn, project, month_of(date(2026, 3, 9)), site.meters)
        rows = await (await conn.execute("SELECT * FROM meter_exception ORDER BY meter_id, rule")).fetchall()
    return [(site.meters.index(row["meter_id"]), row["rule"], row["found"], row["expected"]) for row in rows]


@pytest.mark.parametrize(("a_day", "flagged"), [(2_000, False), (2_001, True), (500, False), (499, True)])
async def test_last_year_counts_before_the_last_month(worker_db: Database, a_day: int, flagged: bool) -> None:
    site = await make_site(worker_db, meters=2)
    await put(worker_db, site, 0, LAST_YEAR, 31, 1_000)
    await put(worker_db, site, 0, FEBRUARY, 28, 9_000)
    await put(worker_db, site, 0, MARCH, 31, a_day)
    await put(worker_db, site, 1, FEBRUARY, 28, 1_000)
    await put(worker_db, site, 1, MARCH, 31, a_day)
    expected = [(n, "high-low", a_day * 31, 31_000) for n in range(2)] if flagged else []
    assert await judge(worker_db, site) == expected
    assert await judge(worker_db, site) == expected


async def test_a_month_that_is_not_whole_is_compared_with_nothing(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    await put(worker_db, site, 0, FEBRUARY, 28, 1_000)
    await put(worker_db, site, 0, MARCH, 30, 9_000)
    assert await judge(worker_db, site) == []


async def test_months_of_a_bill_are_judged_once_they_are_over(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    await put(worker_db, site, 0, FEBRUARY, 28, 1_001)
    await put(worker_db, site, 0, MARCH, 31, 9_000)

    async def findings(now: datetime) -> list[tuple[int, int]]:
        async with worker_db.transaction(SYSTEM) as conn:
            project = await estate.get_project(conn, site.project_id)
        # A quarter, and a day of the next month.
        asked = Period(date(2026, 1, 5), date(2026, 4, 2))
        await checks.judge_months(worker_db, SYSTEM, project, asked, site.meters, now)
        async with worker_db.transaction(SYSTEM) as conn:
            rows = await (await conn.execute("SELECT found, expected FROM meter_exception")).fetchall()
        return [(row["found"], row["expected"]) for row in rows]

    april = MARCH + timedelta(days=31)
    assert await findings(april - timedelta(seconds=1)) == []
    assert await findings(april) == [(9_000 * 31, 1_001 * 31)]


@pytest.mark.parametrize(("subs", "flagged"), [((500, 350), False), ((500, 349), True), ((500, 511), True)])
async def test_a_master_and_its_sub_meters(worker_db: Database, subs: tuple[int, int], flagged: bool) -> None:
    site = await make_site(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET parent_id = %s WHERE id = ANY (%s)", (site.meters[0], site.meters[1:]))
    for meter, a_day in enumerate((1_000, *subs)):
        await put(worker_db, site, meter, MARCH, 31, a_day)
    assert await judge(worker_db, site) == ([(0, "master-balance", sum(subs) * 31, 31_000)] if flagged else [])
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            "DELETE FROM store.usage WHERE meter_id = %s AND start > %s", (site.meters[2], MARCH + timedelta(days=3))
        )
    assert await judge(worker_db, site) == []


@pytest.mark.parametrize("off", ["high-low", "master-balance"])
async def test_a_rule_that_is_off_for_one_meter_tells_nothing_of_it(worker_db: Database, off: str) -> None:
    site = await make_site(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET parent_id = %s WHERE id = %s", (site.meters[0], site.meters[1]))
        await set_of_meter(conn, site.meters[0], {"rules": {off: "off"}})
    for meter in (0, 1):
        await put(worker_db, site, meter, FEBRUARY, 28, 1_000)
        await put(worker_db, site, meter, MARCH, 31, 9_000 - 3_000 * meter)
    told = {(meter, rule) for meter, rule, _, _ in await judge(worker_db, site)}
    assert told == {(0, "high-low"), (0, "master-balance"), (1, "high-low")} - {(0, off)}
