"""Readings by project, building, unit and meter over REST: order, pages, edits, flags, scope, on both engines."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest, cursor_of
from cloud.metering.readings import placed as placed_readings
from cloud.metering.readings.placed import Order, Wanted, batches, list_placed
from gateway.contract.messages import Quality
from tests.integration.app import Auth, People
from tests.integration.metering.tenants import HOURS, MONDAY, House, make_read_house


@pytest.fixture
async def house(owner_db: Database, people: People) -> House:
    """Three meters, read every hour of Monday and Tuesday, all at the same instants."""
    return await make_read_house(owner_db, people)


async def ask(client: httpx.AsyncClient, auth: Auth, expect: int = 200, **query: Any) -> Any:
    asked = {"from": "2026-01-05", "to": "2026-01-07"} | query
    answer = await client.get("/api/v1/readings", params=asked, headers=auth)
    assert answer.status_code == expect, answer.text
    return answer.json()


async def all_pages(client: httpx.AsyncClient, auth: Auth, limit: int, **query: Any) -> list[Any]:
    """Items of all pages."""
    found: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await ask(client, auth, limit=limit, **query, **cursor)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def keys(items: Sequence[Any]) -> list[tuple[str, int]]:
    return [(item["taken_at"], item["meter_id"]) for item in items]


async def test_pages_in_both_orders_hold_each_reading_once(
    app_client: httpx.AsyncClient, people: People, house: House
) -> None:
    staff = await people.staff()
    oldest = await all_pages(app_client, staff, 7, project_id=house.project, order="oldest")
    assert len(oldest) == 3 * HOURS
    # Those of one instant come by meter, so that a page may end between them.
    assert all(earlier < later for earlier, later in pairwise(keys(oldest)))
    newest = await all_pages(app_client, staff, 50, project_id=house.project)
    assert keys(newest) == keys(oldest)[::-1]


@pytest.mark.parametrize(
    ("place", "meters"),
    [("project", ["MASTER", "SHOP", "SUB"]), ("building", ["SUB"]), ("unit", ["SUB"]), ("master", ["MASTER"])],
)
async def test_each_place_has_the_readings_of_its_meters(
    app_client: httpx.AsyncClient, people: People, house: House, place: str, meters: list[str]
) -> None:
    name = "meter_id" if place == "master" else f"{place}_id"
    found = await ask(app_client, await people.staff(), **{name: getattr(house, place)}, limit=500)
    assert sorted({item["meter"] for item in found["items"]}) == meters
    assert len(found["items"]) == len(meters) * HOURS


async def test_a_day_ends_where_the_next_begins(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    found = await ask(app_client, await people.staff(), meter_id=house.sub, to="2026-01-06", order="oldest")
    assert len(found["items"]) == 24
    assert found["items"][0]["taken_at"] == "2026-01-04T16:00:00Z"
    assert found["items"][0]["value"] == {"quantity": "1.000", "unit": "kWh"}
    nothing = await ask(app_client, await people.staff(), meter_id=house.sub, channel="voltage_l1")
    assert nothing == {"items": [], "next_cursor": None}


async def test_flags_are_words_and_the_edit_in_force_is_shown(
    app_client: httpx.AsyncClient, people: People, house: House, owner_db: Database
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        flags = int(Quality.ESTIMATED_CLOCK | Quality.MANUAL) + 64
        await conn.execute("UPDATE store.reading SET quality = %s WHERE taken_at = %s", (flags, MONDAY))
        for version, (hour, action, value) in enumerate(
            [(0, "ignore", None), (0, "set", 1234), (1, "use", None), (2, "set", 1), (2, "original", None)], start=1
        ):
            await conn.execute(
                """INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, value, reason,
                                             actor)
                   VALUES (%s, %s, 1, %s, %s, %s, %s, 'looked', 'test')""",
                (house.project, house.sub, MONDAY + timedelta(hours=hour), version, action, value),
            )
    found = (await ask(app_client, await people.staff(), unit_id=house.unit, order="oldest"))["items"]
    assert found[0]["flags"] == ["estimated-clock", "manual", "flag-64"]
    assert found[0]["value"]["quantity"] == "1.000"
    assert found[0]["edit"] == {"action": "set", "value": {"quantity": "1.234", "unit": "kWh"}, "version": 2}
    assert found[1]["edit"] == {"action": "use", "value": None, "version": 3}
    assert (found[2]["edit"], found[2]["flags"]) == (None, [])


async def test_a_resident_sees_his_own_meter_while_it_was_his(
    app_client: httpx.AsyncClient, people: People, house: House
) -> None:
    resident = await people.resident(house.project, house.person)
    found = await all_pages(app_client, resident, 500, project_id=house.project, order="oldest")
    # Up to and with the reading that ends his last day.
    assert {item["meter"] for item in found} == {"SUB"}
    assert (found[0]["taken_at"], found[-1]["taken_at"]) == ("2026-01-04T16:00:00Z", "2026-01-05T16:00:00Z")
    await ask(app_client, resident, 404, meter_id=house.master)


async def test_who_may_not_see_it_sees_nothing(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    other = await people.staff("admin", (await people.project()).id)
    await ask(app_client, other, 404, project_id=house.project)
    await ask(app_client, other, 404, unit_id=house.unit)
    assert (await ask(app_client, await people.staff("cashier"), 403, project_id=house.project))["status"] == 403


async def test_what_is_unclear_is_refused(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    assert (await ask(app_client, staff, 422, meter_id=house.sub, to="2026-01-05"))["code"] == "bad-period"
    assert (await ask(app_client, staff, 422, meter_id=house.sub, to="2100-01-05"))["code"] == "bad-period"
    assert (await ask(app_client, staff, 422, meter_id=house.sub, channel="x"))["code"] == "unknown-channel"
    await ask(app_client, staff, 422)
    await ask(app_client, staff, 422, meter_id=house.sub, project_id=house.project)
    for key in ((1, "x"), ("x", 1), (2**62, 1), (1, -1), (1,)):
        answer = await ask(app_client, staff, 422, meter_id=house.sub, cursor=cursor_of(key))
        assert answer["code"] == "bad-cursor", key


async def test_a_cursor_does_not_widen_the_period(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    for order, at in (("newest", MONDAY + timedelta(days=9)), ("oldest", MONDAY - timedelta(days=9))):
        cursor = cursor_of((int(at.timestamp()) * 10**6, 1))
        found = await ask(app_client, staff, meter_id=house.sub, to="2026-01-06", order=order, cursor=cursor)
        assert len(found["items"]) == 24


async def test_batches_hold_each_reading_once_by_meter_and_time(
    worker_db: Database, house: House, owner_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.reading WHERE meter_id = %s", (house.sub,))
    meters = sorted([house.master, house.sub, house.shop])
    read = [meter for meter in meters if meter != house.sub]
    expected = [(meter, MONDAY + timedelta(hours=n)) for meter in read for n in range(HOURS - 1)]
    wanted = Wanted(meters, 1, MONDAY, MONDAY + timedelta(hours=HOURS - 1))
    for reach in (timedelta(minutes=30), timedelta(hours=5), timedelta(days=3), timedelta(days=99)):
        monkeypatch.setattr(placed_readings, "_FIRST_REACH", reach)
        for size in (1, 7, 24, 47, 48, 200):
            found = [rows async for rows in batches(lambda: worker_db.transaction(SYSTEM), wanted, size)]
            assert max(map(len, found)) <= size
            got = [(one.meter_id, one.taken_at) for rows in found for one in rows]
            assert got == expected, (reach, size)


async def test_neither_a_page_nor_a_batch_looks_through_the_whole_period(
    worker_db: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[timedelta] = []
    query = placed_readings._query

    def noted(wanted: Wanted, limit: int) -> dict[str, object]:
        looked.append(wanted.end - wanted.start)
        return query(wanted, limit)

    monkeypatch.setattr(placed_readings, "_query", noted)
    orders: tuple[Order, ...] = ("newest", "oldest")
    for order in orders:
        # Three meters that are read every hour give a page of 30 in 10 hours.
        start = MONDAY if order == "oldest" else MONDAY + timedelta(hours=HOURS, days=-99)
        async with worker_db.transaction(SYSTEM) as conn:
            wanted = Wanted([house.master, house.sub, house.shop], 1, start, start + timedelta(days=99))
            page = await list_placed(conn, PageRequest(30), wanted, order)
        assert (len(page.items), max(looked)) == (30, timedelta(hours=16))
        looked.clear()
    wanted = Wanted([house.sub], 1, MONDAY, MONDAY + timedelta(days=3_650))
    found = [rows async for rows in batches(lambda: worker_db.transaction(SYSTEM), wanted, 20)]
    assert [len(rows) for rows in found] == [20, 20, 8]
    assert looked[0] == timedelta(days=31)
    assert looked[1] < looked[0]
