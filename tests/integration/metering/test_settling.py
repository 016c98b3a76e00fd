"""Changed usage is judged day by day: findings come, go, and stay decided."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.metering.checks import settling
from cloud.metering.records import Rule
from cloud.metering.thresholds.overrides import set_of_meter
from tests.integration.metering.site import START_MS, Site, make_site

HOUR = timedelta(hours=1)
DAY_ONE = datetime.fromtimestamp(START_MS / 1000, UTC).replace(hour=16)
"""Midnight in Shanghai at the beginning of 2026-01-02."""
NOW = DAY_ONE + timedelta(days=1, hours=5)
"""The morning after."""

# A day that nobody would look at twice.
_QUIET = [400 + 7 * hour for hour in range(24)]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def put(
    db: Database, site: Site, quantities: list[int], *, day: int = 0, meter: int = 0, channel: int = 1, method: int = 0
) -> None:
    """Rows of usage from the beginning of a local day on, and a note that they changed."""
    first = DAY_ONE + timedelta(days=day)
    meter_id = site.meters[meter]
    async with db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               VALUES (%s, %s, %s, 3600, %s, %s, %s)
               ON CONFLICT (meter_id, channel, start) DO UPDATE
               SET quantity = excluded.quantity, method = excluded.method""",
            [
                (meter_id, channel, first + n * HOUR, quantity, method, site.project_id)
                for n, quantity in enumerate(quantities)
            ],
        )
        await cursor.execute(
            """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, %s, %s, %s, %s)""",
            (meter_id, channel, site.project_id, first, first + len(quantities) * HOUR),
        )


async def settle(db: Database, now: datetime = NOW) -> int:
    async with db.transaction(SYSTEM) as conn:
        spans = await settling.take(conn, await settling.changed_meters(conn, 0, 100))
        return await settling.settle(conn, spans, now)


async def switch_off(db: Database, site: Site, rule: Rule) -> None:
    async with db.transaction(SYSTEM) as conn:
        await set_of_meter(conn, site.meters[0], {"rules": {rule: "off"}})


async def found(db: Database) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (
            await conn.execute("SELECT * FROM meter_exception ORDER BY meter_id, channel, rule, from_at")
        ).fetchall()
    return [(row["rule"], row["channel"], (row["from_at"] - DAY_ONE).days, row["found"], row["state"]) for row in rows]


async def test_a_healthy_day_writes_nothing(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, _QUIET)
    assert await settle(worker_db) == 0
    assert await found(worker_db) == []
    assert await settle(worker_db) == 0


async def test_a_spike_is_found_and_goes_when_the_usage_is_corrected(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, [*_QUIET[:-1], 9_000])
    assert await settle(worker_db) == 1
    assert await found(worker_db) == [("spike", 1, 0, 9_000, "open")]
    await put(worker_db, site, _QUIET)
    assert await settle(worker_db) == 1
    assert await found(worker_db) == []


async def test_what_was_decided_stays(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, [*_QUIET[:-1], 9_000])
    await settle(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter_exception SET state = 'dismissed', reason = 'a party', actor = 'user:x'")
    await put(worker_db, site, [*_QUIET[:-1], 9_500])
    assert await settle(worker_db) == 0
    await put(worker_db, site, _QUIET)
    assert await settle(worker_db) == 0
    assert await found(worker_db) == [("spike", 1, 0, 9_000, "dismissed")]


async def test_a_day_is_judged_when_it_is_over(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, [*_QUIET[:10], 9_000])
    assert await settle(worker_db, DAY_ONE + timedelta(hours=12)) == 0
    await put(worker_db, site, [*_QUIET[:10], 9_000, *_QUIET[11:]])
    assert await settle(worker_db, DAY_ONE + timedelta(hours=24)) == 1


async def test_a_frozen_run_over_midnight_belongs_to_the_day_it_reaches(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, [*_QUIET[:22], 300, 300])
    await put(worker_db, site, [300, *_QUIET[1:]], day=1)
    await settle(worker_db, NOW + timedelta(days=1))
    assert await found(worker_db) == [("frozen", 1, 1, 300, "open")]


async def test_a_long_run_is_followed_back_over_midnight(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await set_of_meter(conn, site.meters[0], {"frozen_intervals": 8})
    await put(worker_db, site, [*_QUIET[:17], *[300] * 7])
    await settle(worker_db, NOW + timedelta(days=1))
    await put(worker_db, site, [300, *_QUIET[1:]], day=1)
    await settle(worker_db, NOW + timedelta(days=1))
    assert await found(worker_db) == [("frozen", 1, 1, 300, "open")]


async def test_a_meter_can_be_judged_otherwise(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            "INSERT INTO validation_threshold (project_id, class, settings) VALUES (%s, %s, %s)",
            (site.project_id, "electricity-residential", Jsonb({"spike_floor": 10_000})),
        )
        await conn.execute(
            "INSERT INTO validation_threshold (project_id, meter_id, settings) VALUES (%s, %s, %s)",
            (site.project_id, site.meters[1], Jsonb({"spike_floor": 5_000})),
        )
        await conn.execute(
            "INSERT INTO validation_threshold (project_id, meter_id, settings) VALUES (%s, %s, %s)",
            (site.project_id, site.meters[2], Jsonb({"spike_floor": 5_000, "rules": {"spike": "off"}})),
        )
    for meter in range(3):
        await put(worker_db, site, [*_QUIET[:-1], 9_000], meter=meter)
    await settle(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT meter_id FROM meter_exception")).fetchall()
    assert [row["meter_id"] for row in rows] == [site.meters[1]]


async def test_registers_of_the_periods_add_up_to_the_total(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, _QUIET)
    await put(worker_db, site, [hour if n < 12 else 0 for n, hour in enumerate(_QUIET)], channel=3)
    await put(worker_db, site, [hour if n >= 12 else 0 for n, hour in enumerate(_QUIET)], channel=5)
    await settle(worker_db)
    assert await found(worker_db) == []
    await put(worker_db, site, [_QUIET[0] - 3], channel=3)
    await settle(worker_db)
    assert await found(worker_db) == [("register-sum", 1, 0, sum(_QUIET) - 3, "open")]
    await switch_off(worker_db, site, "register-sum")
    await put(worker_db, site, [_QUIET[0] - 3], channel=3)
    await settle(worker_db)
    assert await found(worker_db) == []


async def test_a_sibling_that_falls_silent_is_found(worker_db: Database, site: Site) -> None:
    await put(worker_db, site, _QUIET)
    await put(worker_db, site, _QUIET, channel=7)
    await put(worker_db, site, _QUIET, day=1)
    await settle(worker_db, NOW + timedelta(days=1))
    assert ("sibling", 7, 1, 0, "open") in await found(worker_db)
    await switch_off(worker_db, site, "sibling")
    await put(worker_db, site, _QUIET, day=1)
    await put(worker_db, site, _QUIET, channel=7)
    await settle(worker_db, NOW + timedelta(days=1))
    assert "sibling" not in [row[0] for row in await found(worker_db)]


async def test_days_of_25_hours_are_whole(worker_db: Database) -> None:
    site = await make_site(worker_db, code="berlin", zone="Europe/Berlin")
    async with worker_db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        start = datetime(2026, 10, 24, 22, tzinfo=UTC)
        await cursor.executemany(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               VALUES (%s, 1, %s, 3600, %s, %s)""",
            [(site.meters[0], start + n * HOUR, 400 + n if n < 24 else 90_000, site.project_id) for n in range(25)],
        )
        project = await estate.get_project(conn, site.project_id)
        day = date(2026, 10, 25)
        await settling.judge_days(
            conn, project, [settling.DaySpan(site.meters[0], day, day, registers=False)], NOW + timedelta(days=365)
        )
        rows = await (await conn.execute("SELECT rule, until_at - from_at AS length FROM meter_exception")).fetchall()
    assert [(row["rule"], row["length"]) for row in rows] == [("spike", timedelta(hours=25))]
