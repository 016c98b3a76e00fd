"""Losses, night flows and the health of meters, from usage in the store."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import httpx
import psycopg
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period
from cloud.metering.records import ChangedSpan, NewMeter
from cloud.metering.rollups import maintenance
from cloud.metering.rollups import reading as rollups
from cloud.metering.service import create_meters, get_meter
from cloud.metering.supervision import leaks, losses, meter_health
from cloud.metering.supervision.leaks import Streak
from cloud.metering.supervision.meter_health import HealthFilter
from cloud.metering.thresholds import overrides as threshold_overrides
from cloud.metering.validation.thresholds import Thresholds
from tests.integration.app import People
from tests.integration.metering.house import MARCH, House, local, make_house, use, use_month

HOURS = 31 * 24


@pytest.mark.parametrize(
    ("master", "subs", "finding"),
    [
        (100, 101, "usual"), (1000, 1011, "negative"), (100, 85, "usual"), (1000, 849, "high"), (0, 0, "usual"),
        (0, 1, "negative"),
    ],
)  # fmt: skip
def test_both_sides_of_the_bounds(master: int, subs: int, finding: str) -> None:
    assert losses.judge(master, subs, Thresholds()) == finding


@pytest.mark.parametrize(("subs", "finding"), [(1050, "usual"), (1051, "negative"), (950, "usual"), (949, "high")])
def test_bounds_of_ones_own(subs: int, finding: str) -> None:
    assert losses.judge(1000, subs, Thresholds(loss_low_permille=-50, loss_high_permille=50)) == finding


async def refreshed(db: Database, project_id: int) -> None:
    """What the settle job and the one after it do, for the engine whose days follow usage later."""
    begin, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)
    async with db.transaction(SYSTEM) as conn:
        await rollups.refresh(conn, [ChangedSpan(project_id, 0, 1, begin, end)])
    await maintenance.refresh_stale(db, SYSTEM)


async def _house(conn: Conn, people: People, *hourly: int) -> House:
    house = await make_house(conn, await people.project())
    for meter, used in zip([house.master, *house.subs], hourly, strict=False):
        await use_month(conn, house, meter, used)
    return house


async def test_losses_of_nested_masters(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000, 300, 200, 400)
        below = [NewMeter("L", "electricity", None, 10**12, 10**9, date(2026, 3, 30), parent_id=house.subs[2])]
        (lamp,) = await create_meters(conn, house.project.id, below)
        await use(conn, house, lamp.id, local(house, date(2026, 3, 30)), [400] * 48)
    await refreshed(worker_db, house.project.id)
    async with worker_db.transaction(SYSTEM) as conn:
        found = await losses.losses(conn, house.project.id, "electricity", MARCH, house.project.zone)
        told = [(one.balance.code, one.level, one.quantity, one.finding) for one in found]
        # What was installed on the 30th lacks nothing before it.
        assert told == [("M", 0, 100 * HOURS, "usual"), ("S3", 1, 400 * (HOURS - 48), "high")]
        assert await losses.losses(conn, house.project.id, "water", MARCH, house.project.zone) == []
        parts = await losses.parts(conn, await get_meter(conn, house.master), MARCH, house.project.zone)
        assert [(part.meter.code, part.quantity) for part in parts] == [
            ("S3", 400 * HOURS), ("S1", 300 * HOURS), ("S2", 200 * HOURS),
        ]  # fmt: skip


async def test_a_balance_with_missing_readings_is_not_judged(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000, 300, 200)
        await use(conn, house, house.subs[2], local(house, date(2026, 3, 1)), [400] * (HOURS - 1))
    await refreshed(worker_db, house.project.id)
    async with worker_db.transaction(SYSTEM) as conn:
        (one,) = await losses.losses(conn, house.project.id, "electricity", MARCH, house.project.zone)
        assert (one.finding, one.balance.incomplete) == ("incomplete", 1)
        assert one.balance.expected_s - one.balance.covered_s == 3600


async def test_the_trend_of_a_year(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000, 300, 200, 400)
    await refreshed(worker_db, house.project.id)
    async with worker_db.transaction(SYSTEM) as conn:
        months = await losses.trend(conn, await get_meter(conn, house.master), date(2026, 4, 9), house.project.zone)
        assert [month.start for month, _ in months][::11] == [date(2025, 4, 1), date(2026, 3, 1)]
        loss = months[-1][1]
        assert loss is not None
        assert (months[-1][0], loss.quantity) == (MARCH, 100 * HOURS)
        assert await losses.trend(
            conn, await get_meter(conn, house.subs[0]), date(2026, 3, 1), house.project.zone
        ) == [(month, None) for month, _ in await losses.trend(
            conn, await get_meter(conn, house.master), date(2026, 3, 1), house.project.zone
        )]  # fmt: skip


async def test_meters_that_hang_on_each_other_are_shown(worker_db: Database, owner_dsn: str, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000)
    # Nobody can enter a circle now; a database from before the rule may hold one.
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE meter SET parent_id = %s WHERE id = %s", (house.subs[0], house.master))
    async with worker_db.transaction(SYSTEM) as conn:
        found = await losses.losses(conn, house.project.id, "electricity", MARCH, house.project.zone)
        assert {one.balance.code for one in found} == {"M", "S1"}


async def test_minimum_night_flow(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project(), "water")
        until, zone = date(2026, 3, 31), house.project.zone
        steady, quiet, shaped = house.subs
        for meter, hour in ((steady, 2_000), (quiet, 0)):
            await use_month(conn, house, meter, hour)
        await use(conn, house, shaped, local(house, date(2026, 3, 1)), [9_000] * HOURS, method=4)
        # One night of the steady one comes down to less, another has an estimate and does not count.
        change = "UPDATE store.usage SET quantity = %s, method = %s WHERE meter_id = %s AND start = %s"
        await conn.execute(change, (1_500, 0, steady, local(house, date(2026, 3, 30), 3)))
        await conn.execute(change, (1, 4, steady, local(house, date(2026, 3, 29), 4)))
        (found,) = await leaks.ranking(conn, house.project.id, until, zone, 50)
        assert (found.meter.meter_id, found.meter.flow, found.meter.nights) == (steady, 1_500, 6)
        assert found.streak.is_warned
        nights = await leaks.nights_of(conn, await get_meter(conn, steady), until, zone)
        assert len(nights) == 30
        assert nights[-4:] == [
            (date(2026, 3, 28), 2_000), (date(2026, 3, 29), None), (date(2026, 3, 30), 1_500),
            (date(2026, 3, 31), 2_000),
        ]  # fmt: skip


async def test_a_streak_ends_in_a_still_hour_and_estimates_do_neither(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project(), "water")
        meter, start = house.subs[0], local(house, date(2026, 3, 1))
        quarter = [5, 5, 5, 5] * 4 + [0, 0, 0, 0] + [0, 7, 0, 0] * 6
        await use(conn, house, meter, start, quarter, length_s=900)
        await use(conn, house, meter, start + timedelta(hours=11), [0] * 3, method=4)
        await use(conn, house, meter, start + timedelta(hours=14), [8] * 2)
        now = start + timedelta(hours=16)
        found = await leaks.streaks_of(conn, [meter, house.subs[1]], now)
        assert found == {meter: Streak(8, 24), house.subs[1]: Streak(0, 24)}
        assert not found[meter].is_warned
        await threshold_overrides.set_of_meter(conn, meter, {"flow_hours": 8, "night_flow": 7})
        # Hours of 7 are still now, those of 20 before them and of 8 behind are not.
        assert (await leaks.streaks_of(conn, [meter], now))[meter] == Streak(2, 8)
        await threshold_overrides.set_of_meter(conn, meter, {"flow_hours": 8})
        assert (await leaks.streaks_of(conn, [meter], now))[meter].is_warned


@pytest.mark.parametrize(("bound", "told"), [(1_999, True), (2_000, False)])
async def test_the_least_night_flow_that_is_told(worker_db: Database, people: People, bound: int, told: bool) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project(), "water")
        await use_month(conn, house, house.subs[0], 2_000)
        await threshold_overrides.set_of_class(
            conn, house.project.id, "water-residential", {"night_flow": 9_000, "flow_hours": 100}
        )
        await threshold_overrides.set_of_meter(conn, house.subs[0], {"night_flow": bound})
        found = await leaks.ranking(conn, house.project.id, date(2026, 3, 31), house.project.zone, 50)
        assert [one.meter.meter_id for one in found] == ([house.subs[0]] if told else [])
        assert all(one.streak.warned_after_h == 100 for one in found)


async def test_bounds_of_losses_come_from_the_class_and_the_meter(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000, 300, 200, 400)
    await refreshed(worker_db, house.project.id)
    async with worker_db.transaction(SYSTEM) as conn:
        master = await get_meter(conn, house.master)

        async def told() -> set[str]:
            one = await losses.of_master(conn, master, MARCH, house.project.zone)
            assert one is not None
            listed = await losses.losses(conn, house.project.id, "electricity", MARCH, house.project.zone)
            return {one.finding, *(each.finding for each in listed)}

        assert await told() == {"usual"}
        of_class = {"loss_high_permille": 99}
        await threshold_overrides.set_of_class(conn, house.project.id, "electricity-residential", of_class)
        assert await told() == {"high"}
        await threshold_overrides.set_of_meter(conn, house.master, {"loss_high_permille": 100})
        assert await told() == {"usual"}


_ROW_SUMS = """
    SELECT m.id, coalesce(sum(u.quantity), 0)::bigint AS quantity, coalesce(sum(u.length_s), 0)::bigint AS covered_s,
           coalesce(sum(u.quantity) FILTER (WHERE u.method BETWEEN 2 AND 6), 0)::bigint AS estimated,
           extract(epoch FROM w.upto - w.since)::bigint AS expected_s
    FROM meter m JOIN project p ON p.id = m.project_id
    CROSS JOIN LATERAL (
        SELECT greatest(%(start)s, m.installed_on::timestamp AT TIME ZONE p.time_zone) AS since,
               least(%(end)s, (m.removed_on + 1)::timestamp AT TIME ZONE p.time_zone) AS upto) AS w
    LEFT JOIN store.usage u ON u.meter_id = m.id AND u.start >= w.since AND u.start < w.upto
     AND u.start + u.length_s * interval '1 second' <= w.upto
    WHERE m.id = ANY (%(meters)s) GROUP BY m.id, w.since, w.upto
"""


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata"])
async def test_days_come_to_the_same_as_the_rows_they_are_made_of(
    worker_db: Database, people: People, zone: str
) -> None:
    """Quarters and days, estimates, gaps over days and over the end, holes, a clock that changes, a meter that goes."""
    async with worker_db.transaction(SYSTEM) as conn:
        project = await people.project()
        await conn.execute("UPDATE project SET time_zone = %s WHERE id = %s", (zone, project.id))
        house = await make_house(conn, replace(project, time_zone=zone))
        mixed, gappy, daily = house.subs
        await use_month(conn, house, house.master, 1000)
        await use(conn, house, mixed, local(house, date(2026, 3, 1)), [100 + n % 7 for n in range(600)], length_s=900)
        await use(conn, house, mixed, local(house, date(2026, 3, 8)), [31] * 30, method=4)
        await use(conn, house, mixed, local(house, date(2026, 3, 10)), [17] * 30, method=6)
        await use(conn, house, gappy, local(house, date(2026, 3, 3), 5), [70_001], method=2, length_s=5 * 86_400)
        await use(conn, house, gappy, local(house, date(2026, 3, 12)), [3] * 11)
        await use(conn, house, gappy, local(house, date(2026, 3, 30), 5), [9_000], method=2, length_s=5 * 86_400)
        for day in range(1, 32):
            begin, end = Period(date(2026, 3, day), date(2026, 3, day) + timedelta(days=1)).instants(house.project.zone)
            method = 4 if day % 5 == 0 else 0
            await use(conn, house, daily, begin, [day], method, (end - begin) // timedelta(seconds=1))
        await conn.execute(
            "UPDATE meter SET installed_on = '2026-03-04', removed_on = '2026-03-24' WHERE id = %s", (daily,)
        )
    await refreshed(worker_db, house.project.id)
    start, end = MARCH.instants(house.project.zone)
    async with worker_db.transaction(SYSTEM) as conn:
        (one,) = await losses.losses(conn, house.project.id, "electricity", MARCH, house.project.zone)
        query = {"start": start, "end": end, "meters": [house.master, *house.subs]}
        rows = {row["id"]: row for row in await (await conn.execute(_ROW_SUMS, query)).fetchall()}
    subs = [rows[meter] for meter in house.subs]
    balance = one.balance
    assert (balance.master, balance.subs) == (rows[house.master]["quantity"], sum(row["quantity"] for row in subs))
    assert balance.covered_s == sum(row["covered_s"] for row in rows.values())
    assert balance.estimated == sum(row["estimated"] for row in rows.values()) == 30 * 31 + 30 * 17 + 70_001 + 50
    assert balance.expected_s == sum(row["expected_s"] for row in rows.values())
    assert balance.incomplete == 2


async def test_health_of_meters(worker_db: Database, people: People) -> None:
    now = datetime(2026, 4, 1, 4, tzinfo=UTC)
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000, 300)
        project, (first, second, third) = house.project, house.subs
        gateway = await devices.create_gateway(conn, project.id, "gw", "Gateway")
        for meter, hours in ((house.master, 1), (first, 5)):
            device = await devices.create_device(conn, project.id, gateway.id, f"m{meter}", "electricity")
            await devices.bind(conn, device.id, meter, datetime(2025, 1, 1, tzinfo=UTC))
            await conn.execute(
                "INSERT INTO device_state (device_id, project_id, seen_at) VALUES (%s, %s, %s)",
                (device.id, project.id, now - timedelta(hours=hours)),
            )
        await conn.execute("UPDATE store.usage SET method = 4 WHERE meter_id = %s AND start < '2026-03-03T00:00Z'",
                           (first,))  # fmt: skip
        await conn.execute("UPDATE store.usage SET method = 1 WHERE meter_id = %s AND start = '2026-03-09T00:00Z'",
                           (first,))  # fmt: skip
        for meter, rule, ago in ((second, "gap", 3), (second, "gap", 40), (second, "backward", 2)):
            await conn.execute(
                """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
                   VALUES (%s, %s, 1, %s, %s, %s)""",
                (project.id, meter, rule, now - timedelta(days=ago), now - timedelta(days=ago)),
            )
        await conn.execute("UPDATE meter SET verification_due = '2026-05-01' WHERE id = %s", (third,))
        for channel, value in ((1, 5), (100, 3_612)):
            await conn.execute(
                """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                   VALUES (%s, %s, %s, %s, %s)""",
                (third, channel, now - timedelta(hours=2), value, project.id),
            )
        await conn.execute("INSERT INTO store.refused_reading VALUES (%s, 1, %s, 2)", (third, now - timedelta(hours=2)))
        wanted = HealthFilter((project.id,))
        totals = await meter_health.totals(conn, wanted, now)
        assert (totals.meters, totals.silent, totals.gaps, totals.estimates, totals.rollback, totals.due) == (
            4, 2, 1, 1, 1, 1,
        )  # fmt: skip
        page = await meter_health.health(conn, PageRequest(3), wanted, now)
        master, one, two = page.items
        assert page.next_cursor is not None
        assert (master.silent, master.estimated_s, one.silent, one.rollovers) == (False, 0, True, 1)
        assert one.estimated_s == 20 * 3600  # from 04:00 on 2 March, 30 days back
        assert (two.seen_at, two.silent, two.gap_count, two.open_count) == (None, True, 1, 3)
        (due,) = (await meter_health.health(conn, PageRequest(9), HealthFilter((project.id,), None, "due"), now)).items
        assert (due.id, due.battery_mv, due.refused_count, due.silent) == (third, 3_612, 1, False)
        for only, meters in (("silent", [first, second]), ("gaps", [second]), ("rollback", [second])):
            filtered = HealthFilter((project.id,), "electricity", only)  # type: ignore[arg-type]
            rows = (await meter_health.health(conn, PageRequest(9), filtered, now)).items
            assert [row.id for row in rows] == meters
        # A meter that is gone is nobody's worry from the day after.
        for removed, meters_left in ((date(2026, 4, 1), 4), (date(2026, 3, 31), 3)):
            await conn.execute("UPDATE meter SET removed_on = %s WHERE id = %s", (removed, second))
            assert (await meter_health.totals(conn, wanted, now)).meters == meters_left


async def test_the_api(app_client: httpx.AsyncClient, worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await _house(conn, people, 1000, 300, 200, 400)
        water = await make_house(conn, await people.project(), "water")
        today = datetime.now(UTC).astimezone(water.project.zone).date()
        start, end = Period(today - timedelta(days=10), today + timedelta(days=1)).instants(water.project.zone)
        await use(conn, water, water.subs[0], start, [250] * ((end - start) // timedelta(hours=1)))
    await refreshed(worker_db, house.project.id)
    staff = await people.staff("viewer")
    query: dict[str, str | int] = {"project_id": house.project.id, "medium": "electricity"}
    found = await app_client.get(
        "/api/v1/losses", params=query | {"from": "2026-03-01", "to": "2026-04-01"}, headers=staff
    )
    (loss,) = found.json()["items"]
    assert (loss["loss"], loss["percent"], loss["finding"]) == ({"quantity": "74.400", "unit": "kWh"}, "10.00", "usual")
    assert loss["completeness"] == "100.00"
    trend = (await app_client.get(f"/api/v1/meters/{house.master}/losses", headers=staff)).json()["items"]
    assert len(trend) == 12
    ranked = await app_client.get("/api/v1/leaks", params={"project_id": water.project.id}, headers=staff)
    (leak,) = ranked.json()["items"]
    assert leak["night_flow"] == {"quantity": "0.000250", "unit": "m³"}
    nights = await app_client.get(f"/api/v1/meters/{water.subs[0]}/night-flows", headers=staff)
    assert nights.json()["streak_h"] == 11 * 24
    assert (await app_client.get(f"/api/v1/meters/{house.master}/night-flows", headers=staff)).status_code == 422
    health = await app_client.get(
        "/api/v1/meter-health", params={"project_id": house.project.id, "only": "silent", "limit": 2}, headers=staff
    )
    body = health.json()
    assert (body["totals"]["meters"], body["totals"]["silent"], len(body["items"])) == (4, 4, 2)
    # A resident sees his own meter's nights, and no master.
    tenant = await people.resident(water.project.id, water.people["neighbour"])
    assert (await app_client.get(f"/api/v1/meters/{water.subs[0]}/night-flows", headers=tenant)).status_code == 404
    assert (await app_client.get(f"/api/v1/meters/{water.subs[1]}/night-flows", headers=tenant)).status_code == 200


async def test_a_resident_is_warned_by_the_bounds_of_his_meter(
    worker_db: Database, web_db: Database, people: People
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project(), "water")
        await threshold_overrides.set_of_class(conn, house.project.id, "water-residential", {"flow_hours": 9})
        for meter in house.subs[:2]:
            await threshold_overrides.set_of_meter(conn, meter, {"night_flow": 3})
    neighbour = Asker("resident", (house.project.id,), (house.people["neighbour"],))
    async with web_db.transaction(neighbour) as conn:
        found = await leaks.streaks_of(conn, house.subs, datetime.now(UTC))
        rows = await (await conn.execute("SELECT meter_id FROM validation_threshold WHERE class IS NULL")).fetchall()
    assert found == {house.subs[1]: Streak(0, 9)}
    assert [row["meter_id"] for row in rows] == [house.subs[1]]
