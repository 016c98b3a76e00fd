"""What stands each morning: silence, rest, usage where nobody is, clocks and intervals."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.metering.checks import standing
from cloud.metering.records import Rule
from cloud.metering.thresholds.overrides import set_of_meter
from tests.integration.metering.site import Site, make_site
from tests.integration.metering.test_derivation import derive

DAY = datetime(2026, 1, 31, 16, tzinfo=UTC)
"""The beginning of 2026-02-01 in Shanghai; the morning after is looked from."""
MORNING = DAY + timedelta(hours=29)


async def usage(db: Database, site: Site, days: int, quantity: str, *, until: datetime = DAY) -> None:
    """Hourly rows of the first meter for the days before the end of the day that begins at `until`."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            f"""INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                SELECT %s, 1, %s + n * interval '1 hour', 3600, {quantity}, %s
                FROM generate_series(0, %s) n""".encode(),
            (site.meters[0], until - timedelta(days=days - 1), site.project_id, days * 24 - 1),
        )


async def unit(db: Database, site: Site, since: date | None) -> None:
    """Puts the first meter into a unit, occupied since a day."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """WITH house AS (INSERT INTO building (project_id, code, name) VALUES (%(p)s, 'B', 'B') RETURNING id),
                    flat AS (INSERT INTO unit (project_id, building_id, code, kind)
                             SELECT %(p)s, id, '101', 'residential' FROM house RETURNING id)
               UPDATE meter SET unit_id = flat.id FROM flat WHERE meter.id = %(m)s""",
            {"p": site.project_id, "m": site.meters[0]},
        )
        if since is not None:
            await conn.execute(
                """WITH somebody AS (INSERT INTO person (project_id, name) VALUES (%(p)s, 'X') RETURNING id)
                   INSERT INTO occupancy (project_id, unit_id, person_id, role, valid)
                   SELECT %(p)s, unit_id, somebody.id, 'tenant', daterange(%(since)s, NULL)
                   FROM meter, somebody WHERE meter.id = %(m)s""",
                {"p": site.project_id, "m": site.meters[0], "since": since},
            )


async def judge(db: Database, site: Site, now: datetime = MORNING) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        project = await estate.get_project(conn, site.project_id)
        await standing.judge(conn, project, site.meters[:1], now)
        rows = await (
            await conn.execute("SELECT rule, from_at, found, expected FROM meter_exception ORDER BY rule")
        ).fetchall()
    return [(row["rule"], row["from_at"], row["found"], row["expected"]) for row in rows]


async def switch_off(db: Database, site: Site, rule: Rule) -> None:
    async with db.transaction(SYSTEM) as conn:
        await set_of_meter(conn, site.meters[0], {"rules": {rule: "off"}})


async def test_silence_is_one_finding_that_goes_on(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    last = DAY - timedelta(days=3)
    await usage(worker_db, site, 2, "400 + n", until=last - timedelta(days=1))
    assert await judge(worker_db, site, MORNING - timedelta(days=1)) == []
    assert ("prolonged-estimate", last, 4, 3) in await judge(worker_db, site)
    assert ("prolonged-estimate", last, 5, 3) in await judge(worker_db, site, MORNING + timedelta(days=1))
    # Who was removed on the day of the last usage is not silent.
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET removed_on = %s", ((last + timedelta(hours=8)).date(),))
    assert await judge(worker_db, site, MORNING + timedelta(days=1)) == []
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET removed_on = NULL")
    assert [row[0] for row in await judge(worker_db, site)] == ["prolonged-estimate"]
    await switch_off(worker_db, site, "prolonged-estimate")
    assert await judge(worker_db, site) == []


async def test_rest_in_an_occupied_unit_and_only_there(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    await usage(worker_db, site, 20, "CASE WHEN n < 24 * 6 THEN 400 + n ELSE 0 END")
    assert await judge(worker_db, site) == []
    await unit(worker_db, site, date(2026, 1, 1))
    since = DAY + timedelta(days=1) - timedelta(days=14)
    assert await judge(worker_db, site) == [("zero", since, 14, 14)]
    await switch_off(worker_db, site, "zero")
    assert await judge(worker_db, site) == []


async def test_who_moved_in_lately_need_not_have_used_anything(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    await usage(worker_db, site, 20, "0")
    await unit(worker_db, site, date(2026, 1, 20))
    assert await judge(worker_db, site) == []


async def test_usage_in_a_vacant_unit(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    await usage(worker_db, site, 2, "CASE WHEN n = 30 THEN 501 ELSE 0 END")
    await unit(worker_db, site, None)
    assert await judge(worker_db, site) == [("inactive", DAY, 501, 500)]
    await switch_off(worker_db, site, "inactive")
    assert await judge(worker_db, site) == []


async def test_a_coarse_interval_and_what_the_derivation_told_of_a_clock(worker_db: Database) -> None:
    site = await make_site(worker_db, meters=1)
    early = datetime(2019, 1, 1, tzinfo=UTC)
    async with worker_db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        taken = (early, early + timedelta(hours=1), *(DAY + n * timedelta(hours=2) for n in range(9)))
        await cursor.executemany(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, 1, %s)",
            [(site.meters[0], at, site.project_id) for at in taken],
        )
        await cursor.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s)""",
            (site.meters[0], site.project_id, early, taken[-1]),
        )
    await derive(worker_db)
    found = [one for one in await judge(worker_db, site) if one[0] in ("clock", "configuration")]
    assert sorted((rule, at) for rule, at, _, _ in found) == [
        ("clock", early), ("clock", early + timedelta(hours=1)), ("configuration", DAY),
    ]  # fmt: skip
    assert [one[2:] for one in found if one[0] == "configuration"] == [(7_200, 3_600)]
    await switch_off(worker_db, site, "configuration")
    assert "configuration" not in [one[0] for one in await judge(worker_db, site)]
