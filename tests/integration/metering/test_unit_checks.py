"""V11 and V12 of days whose usage came late: the same findings as if it had come in time, in whatever portions."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString

import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.metering.checks import jobs, lives, settling, standing
from tests.integration.metering.counted import COUNT
from tests.integration.metering.site import Site, make_site
from tests.integration.metering.test_standing import unit

FIRST = datetime(2025, 12, 31, 16, tzinfo=UTC)
"""The beginning of 2026 in Shanghai."""
MORNING = datetime(2026, 4, 1, 21, tzinfo=UTC)
DAYS = 90

Told = list[tuple[str, int, int, int | None, int | None, str]]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db, meters=1)


async def occupy(db: Database, site: Site, *stays: tuple[date, date | None]) -> None:
    await unit(db, site, None)
    for n, (since, upto) in enumerate(stays):
        async with db.transaction(SYSTEM) as conn:
            await conn.execute(
                """WITH somebody AS (INSERT INTO person (project_id, name) VALUES (%(p)s, %(name)s) RETURNING id)
                   INSERT INTO occupancy (project_id, unit_id, person_id, role, valid)
                   SELECT %(p)s, unit_id, somebody.id, 'tenant', daterange(%(since)s, %(upto)s)
                   FROM meter, somebody WHERE meter.id = %(m)s""",
                {"p": site.project_id, "m": site.meters[0], "name": str(n), "since": since, "upto": upto},
            )


async def put(db: Database, site: Site, days: dict[int, int], method: int = 0) -> None:
    """Usage of days since the new year: all of it in the hour from noon; what was there is replaced."""
    query = {"meter": site.meters[0], "project": site.project_id, "method": method, "first": FIRST}
    values = {"days": list(days), "quantities": list(days.values())}
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               SELECT %(meter)s, 1, %(first)s + (24 * d.day + n) * interval '1 hour', 3600,
                      CASE WHEN n = 12 THEN d.quantity ELSE 0 END, %(method)s, %(project)s
               FROM unnest(%(days)s::int[], %(quantities)s::int[]) AS d (day, quantity), generate_series(0, 23) n
               ON CONFLICT (meter_id, channel, start)
               DO UPDATE SET quantity = excluded.quantity, method = excluded.method""",
            query | values,
        )
        await conn.execute(COUNT)
        await conn.execute(
            """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               SELECT %(meter)s, 1, %(project)s, %(first)s + day * interval '24 hours',
                      %(first)s + (day + 1) * interval '24 hours' FROM unnest(%(days)s::int[]) AS d (day)""",
            query | values,
        )


async def settle(db: Database, now: datetime = MORNING) -> int:
    async with db.transaction(SYSTEM) as conn:
        spans = await settling.take(conn, await settling.changed_meters(conn, 0, 100))
        return await settling.settle(conn, spans, now)


async def told(db: Database) -> Told:
    async with db.transaction(SYSTEM) as conn:
        rows = await (
            await conn.execute(
                """SELECT * FROM meter_exception WHERE rule IN ('zero', 'inactive') ORDER BY rule, from_at"""
            )
        ).fetchall()
    return [
        (row["rule"], _hours(row["from_at"]), _hours(row["until_at"]), row["found"], row["expected"], row["state"])
        for row in rows
    ]


def _hours(at: datetime) -> int:
    return (at - FIRST) // timedelta(hours=1)


def zero(from_day: float, until_day: float) -> tuple[str, int, int, int, int, str]:
    return "zero", int(from_day * 24), int(until_day * 24), int(until_day - from_day), 14, "open"


USED = 13 / 24
"""The part of a day at which the hour with usage ends."""


@pytest.mark.parametrize(("days", "flagged"), [(14, False), (15, True)])
async def test_a_rest_long_ago_is_found_when_its_usage_comes(
    worker_db: Database, site: Site, days: int, flagged: bool
) -> None:
    """From one to two until noon 13 days and 23 hours are too few, a day more is enough."""
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, {20: 400} | {20 + n: 0 for n in range(1, days)} | {20 + days: 400})
    await settle(worker_db)
    assert await told(worker_db) == ([zero(20 + USED, 20 + days + 0.5)] if flagged else [])
    await put(worker_db, site, dict.fromkeys(range(21, 20 + days), 0))
    assert await settle(worker_db) == 0


async def test_a_rest_is_taken_apart_and_put_together_by_late_usage(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, {0: 5} | dict.fromkeys(range(1, 60), 0) | {60: 5})
    await settle(worker_db)
    assert await told(worker_db) == [zero(USED, 60.5)]
    await put(worker_db, site, {20: 7})
    await settle(worker_db)
    assert await told(worker_db) == [zero(USED, 20.5), zero(20 + USED, 60.5)]
    await put(worker_db, site, {40: 7, 10: 7, 30: 7, 50: 7})
    await settle(worker_db)
    assert await told(worker_db) == []
    await put(worker_db, site, {40: 0})
    await settle(worker_db)
    assert await told(worker_db) == [zero(30 + USED, 50.5)]
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter_exception SET state = 'dismissed', reason = 'abroad', actor = 'user:x'")
    await put(worker_db, site, {40: 7})
    assert await settle(worker_db) == 0
    assert [one[-1] for one in await told(worker_db)] == ["dismissed"]


async def test_a_rest_counts_within_occupancies_and_while_the_meter_is_there(worker_db: Database, site: Site) -> None:
    """Two stays that follow each other are one; vacancy and what is estimated at the end do not count."""
    stays = ((date(2026, 1, 5), date(2026, 1, 12)), (date(2026, 1, 12), date(2026, 1, 25)), (date(2026, 2, 10), None))
    await occupy(worker_db, site, *stays)
    await put(worker_db, site, {0: 5} | dict.fromkeys(range(1, 70), 0))
    await put(worker_db, site, dict.fromkeys(range(70, 75), 0), method=4)
    await settle(worker_db)
    assert await told(worker_db) == [zero(4, 24), zero(40, 70)]
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET removed_on = '2026-02-20'")
    await put(worker_db, site, {65: 0})
    await settle(worker_db)
    assert await told(worker_db) == [zero(4, 24)]
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM occupancy")
    await put(worker_db, site, {65: 0})
    await settle(worker_db)
    assert await told(worker_db) == []


async def test_a_rest_that_lasts_moves_on_each_morning_and_ends_with_usage(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, {70: 5} | dict.fromkeys(range(71, 91), 0))

    async def morning(now: datetime) -> Told:
        async with worker_db.transaction(SYSTEM) as conn:
            await standing.judge(conn, await estate.get_project(conn, site.project_id), site.meters, now)
        return await told(worker_db)

    expected = [zero(70 + USED, 90)]
    assert await morning(FIRST + timedelta(days=90, hours=5)) == expected
    assert await morning(FIRST + timedelta(days=90, hours=11)) == expected
    expected = [zero(70 + USED, 91)]
    assert await morning(FIRST + timedelta(days=91, hours=5)) == expected
    await settle(worker_db, FIRST + timedelta(days=91, hours=5))
    assert await told(worker_db) == expected
    # The rest remains what it was: the meter may have hung until somebody hit it.
    await put(worker_db, site, {91: 5})
    await settle(worker_db, FIRST + timedelta(days=92, hours=5))
    assert await told(worker_db) == [zero(70 + USED, 91.5)]
    assert await morning(FIRST + timedelta(days=92, hours=5)) == [zero(70 + USED, 91.5)]


@pytest.mark.parametrize(("quantity", "flagged"), [(500, False), (501, True)])
async def test_usage_long_ago_where_nobody_lived(worker_db: Database, site: Site, quantity: int, flagged: bool) -> None:
    await occupy(worker_db, site, (date(2026, 1, 1), date(2026, 1, 11)), (date(2026, 1, 21), None))
    await put(worker_db, site, dict.fromkeys(range(30), quantity))
    await settle(worker_db)
    vacant = [("inactive", day * 24, day * 24 + 24, 501, 500, "open") for day in range(10, 20)]
    assert await told(worker_db) == (vacant if flagged else [])
    await put(worker_db, site, dict.fromkeys(range(30), quantity))
    assert await settle(worker_db) == 0
    await put(worker_db, site, {15: 20})
    await put(worker_db, site, {16: 900}, method=4)
    await settle(worker_db)
    assert await told(worker_db) == ([*vacant[:5], *vacant[7:]] if flagged else [])


async def test_usage_of_a_meter_that_is_gone(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET removed_on = '2026-01-11'")
    await put(worker_db, site, dict.fromkeys(range(9, 13), 600))
    await settle(worker_db)
    assert [(one[0], one[1] // 24) for one in await told(worker_db)] == [("inactive", 11), ("inactive", 12)]


async def test_usage_that_is_known_a_little_longer_moves_the_beginning(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, dict.fromkeys(range(30, 50), 0) | {50: 5})
    await settle(worker_db)
    assert await told(worker_db) == [zero(30, 50.5)]
    await put(worker_db, site, dict.fromkeys(range(20, 25), 0))
    await settle(worker_db)
    assert await told(worker_db) == [zero(20, 50.5)]


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_comes_to_the_same(worker_db: Database, site: Site, seed: int) -> None:
    chance = random.Random(seed)
    stays, at = [], date(2025, 11, 1)
    while at < date(2026, 3, 20):
        upto = at + timedelta(days=chance.randint(5, 60))
        stays.append((at, upto))
        at = upto + timedelta(days=chance.choice([0, 0, 3, 20]))
    await occupy(worker_db, site, *stays)
    usage, day = {}, 0
    while day < DAYS:
        for _ in range(chance.choice([1, 3, 13, 14, 15, 16, 25])):
            usage[day] = 0
            day += 1
        for _ in range(chance.choice([1, 2, 5])):
            usage[day] = chance.choice([400, 700])
            day += 1
    await put(worker_db, site, {one: quantity for one, quantity in usage.items() if one < DAYS})
    await settle(worker_db)
    at_once = await told(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM meter_exception")
        await conn.execute("DELETE FROM store.usage")
    days = list(range(DAYS))
    chance.shuffle(days)
    while days:
        size = chance.randint(1, 30)
        some, days = days[:size], days[size:]
        if chance.random() < 0.5:
            await put(worker_db, site, {one: chance.choice([0, 900]) for one in some})
            await settle(worker_db)
        await put(worker_db, site, {one: usage[one] for one in some})
        await settle(worker_db)
    assert await told(worker_db) == at_once
    assert at_once


async def move_out(db: Database, day: date | None) -> None:
    async with db.transaction(SYSTEM) as conn:
        (stay,) = (await estate.list_occupancies(conn, PageRequest())).items
        await estate.end_occupancy(conn, stay.id, day)


async def judge_lives(db: Database, now: datetime = MORNING) -> None:
    async with db.transaction(SYSTEM) as conn:
        await lives.judge(conn, await lives.changed_meters(conn, 0, 100), now)
        assert await lives.changed_meters(conn, 0, 100) == []


async def test_who_is_said_to_have_left_long_ago_used_nothing_since(worker_db: Database, site: Site) -> None:
    """Usage of days 0 to 4 and 40 to 44; that the tenant left on day 42 is told when all of it was judged."""
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, {day: 700 if day < 5 or 40 <= day < 45 else 0 for day in range(50)})
    await settle(worker_db)
    rest = zero(4 + USED, 40 + 12 / 24)
    assert await told(worker_db) == [rest]
    await judge_lives(worker_db)
    assert await told(worker_db) == [rest]
    await move_out(worker_db, date(2026, 2, 12))
    await judge_lives(worker_db)
    assert await told(worker_db) == [
        *[("inactive", day * 24, (day + 1) * 24, 700, 500, "open") for day in (42, 43, 44)],
        rest,
    ]
    # He had left before the rest was two weeks long, and then it turns out that he never left.
    await move_out(worker_db, date(2026, 1, 15))
    await judge_lives(worker_db)
    assert [row[0] for row in await told(worker_db)] == ["inactive"] * 5
    await move_out(worker_db, None)
    await judge_lives(worker_db)
    assert await told(worker_db) == [rest]


async def test_days_of_long_ago_stay_as_they_were_judged(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, {0: 700, 1: 700})
    await settle(worker_db)
    await move_out(worker_db, date(2025, 7, 1))
    await judge_lives(worker_db, FIRST + timedelta(days=402, hours=5))
    assert [row[1] for row in await told(worker_db)] == [24]


async def test_a_day_that_is_not_over_is_judged_by_who_lives_there_when_it_is(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, dict.fromkeys(range(5), 700))
    await settle(worker_db)
    await move_out(worker_db, date(2026, 1, 4))
    await judge_lives(worker_db, FIRST + timedelta(days=4, hours=5))
    assert [row[1] for row in await told(worker_db)] == [3 * 24]


async def test_a_meter_that_is_said_to_be_gone_or_elsewhere(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), None))
    await put(worker_db, site, dict.fromkeys(range(5), 700))
    await settle(worker_db)
    await judge_lives(worker_db)

    async def change(assignment: LiteralString) -> list[int]:
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute("UPDATE meter SET " + assignment)
        await judge_lives(worker_db)
        return [row[1] // 24 for row in await told(worker_db)]

    assert await change("removed_on = '2026-01-03'") == [3, 4]
    assert await change("removed_on = NULL") == []
    # An empty flat beside it.
    empty = "(SELECT id FROM unit WHERE code = '102')"
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO unit (project_id, building_id, code, kind)
               SELECT project_id, building_id, '102', kind FROM unit"""
        )
    assert await change(f"unit_id = {empty}") == [0, 1, 2, 3, 4]
    assert await change("unit_id = NULL") == []


async def test_the_job_judges_them(worker_db: Database, site: Site) -> None:
    await occupy(worker_db, site, (date(2025, 6, 1), date(2025, 7, 1)))
    await put(worker_db, site, {1: 700})
    job = JobContext(1, None, {}, worker_db)
    await jobs.settle(job)
    assert [row[0] for row in await told(worker_db)] == ["inactive"]
    await move_out(worker_db, None)
    await jobs.settle(job)
    assert await told(worker_db) == []
