"""Months are compared with the year before or the month before, and masters with their sub-meters."""

import random
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, month_of
from cloud.metering import service as metering
from cloud.metering.checks import period_checks
from cloud.metering.checks import service as checks
from cloud.metering.rollups import sql as rollup_sql
from cloud.metering.rollups.reading import month_sums
from cloud.metering.thresholds.overrides import set_of_meter
from tests.integration.metering.counted import COUNT
from tests.integration.metering.site import Site, make_site

MARCH = datetime(2026, 2, 28, 16, tzinfo=UTC)
FEBRUARY = datetime(2026, 1, 31, 16, tzinfo=UTC)
LAST_YEAR = datetime(2025, 2, 28, 16, tzinfo=UTC)


async def put(db: Database, site: Site, meter: int, start: datetime, days: int, a_day: int) -> None:
    """Usage by the day, noted as the derivation does."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               SELECT %s, 1, %s + n * interval '1 day', 86400, %s, %s FROM generate_series(0, %s) n""",
            (site.meters[meter], start, a_day, site.project_id, days - 1),
        )
        await conn.execute(COUNT)
        await conn.execute(
            """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s)""",
            (site.meters[meter], site.project_id, start, start + timedelta(days=days)),
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
            query = "SELECT found, expected FROM meter_exception WHERE rule = 'high-low'"
            rows = await (await conn.execute(query)).fetchall()
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


async def of_months(db: Database) -> list[tuple[int, str, datetime, int, int]]:
    """Findings about whole months; the rules of days may have their own."""
    async with db.transaction(SYSTEM) as conn:
        query = """SELECT meter_id, rule, from_at, found, expected FROM meter_exception
                   WHERE rule IN ('high-low', 'master-balance') ORDER BY meter_id, rule, from_at"""
        return [tuple(row.values()) for row in await (await conn.execute(query)).fetchall()]


async def test_portions_of_any_size_find_what_one_portion_finds(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three generations of meters: masters and their sub-meters are judged in different portions."""
    chance = random.Random(7)
    site = await make_site(worker_db, meters=12)
    async with worker_db.transaction(SYSTEM) as conn:
        project = await estate.get_project(conn, site.project_id)
        for sub, master in ((11, 0), (1, 0), (5, 11), (2, 11), (10, 3), (4, 3), (7, 8)):
            await conn.execute("UPDATE meter SET parent_id = %s WHERE id = %s", (site.meters[master], site.meters[sub]))
    for meter in range(12):
        for start, days in ((FEBRUARY, 28), (MARCH, 31)):
            await put(worker_db, site, meter, start, days, chance.choice((400, 1_000, 3_000)))
    asked, now = Period(date(2026, 2, 1), date(2026, 4, 1)), MARCH + timedelta(days=31)
    # The days are settled once.
    await checks.judge_months(worker_db, SYSTEM, project, asked, site.meters, now)
    told: list[list[tuple[int, int]]] = []
    findings = []
    for size in (100, 1, 5):
        monkeypatch.setattr(checks, "_METERS_AT_ONCE", size)
        steps: list[tuple[int, int]] = []

        async def progress(done: int, total: int, steps: list[tuple[int, int]] = steps) -> None:
            steps.append((done, total))

        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute("DELETE FROM meter_exception")
        first = await checks.judge_months(worker_db, SYSTEM, project, asked, site.meters, now, progress)
        findings.append(await of_months(worker_db))
        assert (first.changed, first.failed) == (len(findings[-1]), {})
        # Repeated, nothing changes.
        assert (await checks.judge_months(worker_db, SYSTEM, project, asked, site.meters, now)).changed == 0
        told.append(steps)
    assert findings[0] == findings[1] == findings[2]
    assert {rule for _, rule, _, _, _ in findings[0]} == {"high-low", "master-balance"}
    assert told == [[(12, 12)], [(n, 12) for n in range(1, 13)], [(5, 12), (10, 12), (12, 12)]]


async def test_only_the_meters_that_are_asked_for_are_judged_a_master_with_all_its_sub_meters(
    worker_db: Database,
) -> None:
    """The sub-meters, that nobody asked about, say nothing themselves; what waits of them counts for the master."""
    site = await make_site(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        project = await estate.get_project(conn, site.project_id)
        await conn.execute("UPDATE meter SET parent_id = %s WHERE id = ANY (%s)", (site.meters[0], site.meters[1:]))
    for meter in range(3):
        await put(worker_db, site, meter, FEBRUARY, 28, 1_000)
    await put(worker_db, site, 0, MARCH, 31, 1_000)
    await put(worker_db, site, 1, MARCH, 31, 9_000)
    async with worker_db.transaction(SYSTEM) as conn:
        # Read on both ends of March, and nothing derived from it yet.
        await conn.execute(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, quality, project_id)
               SELECT %(meter)s, 1, %(from)s + n * interval '1 day', n * 200, 0, %(project_id)s
               FROM generate_series(0, 31) n""",
            {"meter": site.meters[2], "from": MARCH, "project_id": site.project_id},
        )
        await conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s)""",
            (site.meters[2], site.project_id, MARCH, MARCH + timedelta(days=31)),
        )
    now = MARCH + timedelta(days=31, hours=1)
    asked = Period(date(2026, 3, 1), date(2026, 4, 1))
    await checks.judge_months(worker_db, SYSTEM, project, asked, site.meters[:1], now)
    assert [(meter, rule, found) for meter, rule, _, found, _ in await of_months(worker_db)] == [
        (site.meters[0], "master-balance", 31 * 9_000 + 31 * 200)
    ]


@pytest.mark.parametrize("by_rows", [False, True])
async def test_the_sums_of_months_are_those_of_the_rows(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch, by_rows: bool
) -> None:
    """Rows that reach over the end of the month belong to none, whether roll-ups are read or may not be."""
    if by_rows:
        monkeypatch.setattr(rollup_sql, "MONTH_SUMS", rollup_sql.MONTH_SUMS_OF_ROWS)
    chance = random.Random(11)
    site = await make_site(worker_db, meters=6)
    for meter in range(6):
        start = FEBRUARY
        for length in (20, 8, 31, 3) if meter % 2 else (28, 20, 20):
            await put(worker_db, site, meter, start, length - meter // 4, chance.randrange(5_000))
            start += timedelta(days=length)
    await put(worker_db, site, 5, MARCH - timedelta(days=1), 1, 77)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.usage SET length_s = 5 * 86400 WHERE quantity = 77")
        for start, end in ((FEBRUARY, MARCH), (MARCH, MARCH + timedelta(days=31))):
            meters = np.array([*site.meters, 10**9], np.int64)
            sums = await month_sums(conn, meters, np.ones(7, np.int64), start, end)
            keys = [(meter, 1, start, end) for meter in meters.tolist()]
            rows = await metering.usage_between_many(conn, keys)
            seconds = (end - start).total_seconds()
            assert sums[0].tolist() == [rows[key].quantity for key in keys]
            assert (sums[1] == seconds).tolist() == [rows[key].complete for key in keys]
