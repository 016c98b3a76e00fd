"""Usage by meter, unit, building and project over REST and on its page: steps, gaps, comparison, limits, scope."""

from typing import Any

import httpx
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.metering.consumption import selection
from tests.integration.app import Auth, People
from tests.integration.metering.tenants import House, make_house, make_shop, use_hourly


@pytest.fixture
async def house(owner_db: Database, people: People) -> House:
    """A house with two days of usage."""
    return await make_house(owner_db, people)


async def ask(client: httpx.AsyncClient, auth: Auth, expect: int = 200, **query: Any) -> Any:
    asked = {"from": "2026-01-05", "to": "2026-01-06"} | query
    answer = await client.get("/api/v1/usage", params=asked, headers=auth)
    assert answer.status_code == expect, answer.text
    return answer.json()


def values(answer: Any) -> list[list[str | None]]:
    return [[bar["quantity"] for bar in item["bars"]] for item in answer["items"]]


async def test_a_sub_meter_is_not_added_to_its_master(
    app_client: httpx.AsyncClient, people: People, house: House
) -> None:
    staff = await people.staff()
    assert values(await ask(app_client, staff, project_id=house.project)) == [["48.000"]]
    assert values(await ask(app_client, staff, building_id=house.building)) == [["24.000"]]
    assert values(await ask(app_client, staff, unit_id=house.unit)) == [["24.000"]]
    assert values(await ask(app_client, staff, meter_id=house.sub)) == [["24.000"]]
    meters = await ask(app_client, staff, project_id=house.project, group="meter", limit=1)
    assert (meters["items"][0]["id"], values(meters)) == (house.master, [["48.000"]])
    rest = await ask(app_client, staff, project_id=house.project, group="meter", limit=1, cursor=meters["next_cursor"])
    assert (rest["items"][0]["id"], values(rest), rest["next_cursor"]) == (house.sub, [["24.000"]], None)


async def test_steps_qualities_and_gaps(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    quarters = (await ask(app_client, staff, meter_id=house.sub, step="15min"))["items"][0]["bars"]
    assert len(quarters) == 96
    assert [bar["quality"] for bar in quarters[2:6]] == ["estimated", "estimated", "measured", "measured"]
    halves = values(await ask(app_client, staff, meter_id=house.sub, step="30min"))[0]
    assert halves == ["0.500"] * 48
    coarse = (await ask(app_client, staff, meter_id=house.master, step="15min"))["items"][0]["bars"]
    assert {(bar["quantity"], bar["quality"], bar["complete"]) for bar in coarse} == {(None, "gap", False)}
    days = (await ask(app_client, staff, meter_id=house.sub, to="2026-01-08"))["items"][0]["bars"]
    assert [(bar["quantity"], bar["complete"]) for bar in days] == [("24.000", True), ("24.000", True), (None, False)]


async def test_a_meter_in_every_step(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    """The same answer as for a selection of the one meter."""
    staff = await people.staff()
    for step, bars, first in (
        ("15min", 96, "0.250"),
        ("30min", 48, "0.500"),
        ("hour", 24, "1.000"),
        ("day", 1, "24.000"),
    ):
        asked = {"from": "2026-01-05", "to": "2026-01-06", "step": step}
        answer = await app_client.get(f"/api/v1/meters/{house.sub}/usage", params=asked, headers=staff)
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        assert (len(items), {item["quantity"] for item in items}) == (bars, {first})
        estimated = [nth for nth, item in enumerate(items) if item["estimated"]]
        assert estimated == list(range(max(bars // 24, 1)))
        selected = await ask(app_client, staff, meter_id=house.sub, step=step)
        assert [bar["quantity"] for bar in selected["items"][0]["bars"]] == [item["quantity"] for item in items]
    answer = await app_client.get(
        f"/api/v1/meters/{house.sub}/usage",
        params={"from": "2026-01-05", "to": "2026-03-06", "step": "15min"},
        headers=staff,
    )
    assert answer.json()["code"] == "bad-period"


async def test_what_covers_a_bar_is_told(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    """A project is read from its totals, a building from its meters: both say what is estimated and what is missing."""
    staff = await people.staff()
    for place in ({"project_id": house.project}, {"building_id": house.building}):
        bars = (await ask(app_client, staff, **place, to="2026-01-08", step="day"))["items"][0]["bars"]
        assert [bar["covered_s"] for bar in bars] == [86_400, 86_400, 0]
        assert [bar["estimated_s"] for bar in bars] == [3600, 0, 0]
        assert [bar["complete"] for bar in bars] == [True, True, False]


async def test_days_beside_other_days(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()

    async def compare(auth: Auth, **asked: Any) -> Any:
        answer = await app_client.get("/api/v1/usage/comparison", params=asked, headers=auth)
        assert answer.status_code == 200, answer.text
        return answer.json()

    found = await compare(staff, unit_id=house.unit, **{"from": "2026-01-06", "to": "2026-01-07"})
    assert found["now"] | {"quality": ""} == {
        "from": "2026-01-06", "to": "2026-01-07", "quantity": "24.000", "quality": "", "complete": True,
        "estimated_percent": "0.00",
    }  # fmt: skip
    before = found["before"]
    assert (before["from"], before["quantity"], before["change"], before["change_percent"]) == (
        "2026-01-05", "24.000", "0.000", "0.00")  # fmt: skip
    assert before["estimated_percent"] == "4.17"
    year = found["last_year"]
    assert (year["from"], year["quantity"], year["change"], year["change_percent"]) == ("2025-01-06", None, None, None)
    week = await compare(staff, project_id=house.project, **{"from": "2026-01-05", "to": "2026-01-12"})
    assert (week["now"]["quantity"], week["now"]["complete"], week["meters"]) == ("96.000", False, 1)
    assert (week["before"]["from"], week["last_year"]["from"]) == ("2025-12-29", "2025-01-06")
    future = await compare(staff, project_id=house.project, **{"from": "2150-01-01", "to": "2150-02-01"})
    assert (future["now"], future["before"]) == (None, None)
    resident = await people.resident(house.project, house.person)
    own = await compare(resident, meter_id=house.sub, **{"from": "2026-01-06", "to": "2026-01-07"})
    assert (own["now"]["quantity"], own["before"]["quantity"], own["before"]["change"]) == (None, "24.000", None)


async def test_meters_by_what_they_used(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    asked: dict[str, str | int] = {"project_id": house.project, "from": "2026-01-01", "to": "2026-02-01", "limit": 1}
    first = (await app_client.get("/api/v1/usage/ranking", params=asked, headers=staff)).json()
    assert [(item["meter"], item["quantity"]) for item in first["items"]] == [("MASTER", "96.000")]
    asked["cursor"] = first["next_cursor"]
    second = (await app_client.get("/api/v1/usage/ranking", params=asked, headers=staff)).json()
    assert [(item["meter"], item["quantity"]) for item in second["items"]] == [("SUB", "48.000")]
    assert second["next_cursor"] is None
    other = await people.staff("admin", (await people.project()).id)
    assert (await app_client.get("/api/v1/usage/ranking", params=asked, headers=other)).status_code == 404


async def _signed_in(client: httpx.AsyncClient, db: Database, auth: Auth) -> None:
    """The client as this user's browser: pages take no bearer tokens."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.clear()
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))


async def test_pages_of_usage(app_client: httpx.AsyncClient, owner_db: Database, people: People, house: House) -> None:
    await _signed_in(app_client, owner_db, await people.staff())
    week = {"kind": "week", "on": "2026-01-05"}
    found = await app_client.get("/usage", params={"building_id": house.building, **week})
    assert found.status_code == 200, found.headers
    page = found.text
    assert "48.0 kWh" in page
    assert "SUB" in (await app_client.get("/usage/ranking", params={"unit_id": house.unit, **week})).text
    codes = await app_client.get("/usage/codes", params={"code": "su"})
    assert codes.text.strip() == '<option value="SUB"></option>'
    bars = await app_client.get("/usage/bars", params={"code": "SUB", "step": "hour", **week})
    values = bars.json()["series"][0]["values"]
    assert (values[:48], values[48:]) == (["1.000"] * 48, [None] * 120)
    assert bars.json()["gaps"] == [0, *range(48, 168)]
    for odd in ({"code": "none"}, {"building_id": 10**9}, {"meter_id": 10**9}, {"unit_id": 10**9}):
        assert (await app_client.get("/usage", params={**odd, **week})).status_code == 200
    bad = {"kind": "custom", "since": "2026-02-01", "until": "2026-01-01"}
    assert (await app_client.get("/usage", params=bad)).status_code == 422
    empty = (await app_client.get("/usage", params={"medium": "heat", **week})).text
    assert "empty-title" in empty
    await _signed_in(app_client, owner_db, await people.resident(house.project, house.person))
    assert (await app_client.get("/usage")).headers["location"] == "/my/usage"


async def test_what_is_too_much_or_unclear_is_refused(
    app_client: httpx.AsyncClient, people: People, house: House
) -> None:
    staff = await people.staff()
    answer = await ask(app_client, staff, 422, meter_id=house.sub, step="15min", to="2026-03-05")
    assert answer["code"] == "bad-period"
    await ask(app_client, staff, 422, meter_id=house.sub, unit_id=house.unit)
    await ask(app_client, staff, 422)
    await ask(app_client, staff, 404, meter_id=10**9)
    await ask(app_client, staff, 404, building_id=10**9)


async def test_a_resident_reads_his_own_days_alone(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    resident = await people.resident(house.project, house.person)
    seen = await ask(app_client, resident, project_id=house.project, to="2026-01-07")
    assert values(seen) == [["24.000", None]]
    await ask(app_client, resident, 404, meter_id=house.master)
    other = await people.staff("admin", (await people.project()).id)
    await ask(app_client, other, 404, project_id=house.project)


async def test_groups_of_units_and_buildings(
    app_client: httpx.AsyncClient, people: People, house: House, owner_db: Database
) -> None:
    """What is below a master of the selection is in no group with it; a meter of the common space is in no unit."""
    await make_shop(owner_db, house)
    await use_hourly(owner_db, house.project, house.shop, 500)
    staff = await people.staff()

    async def groups(**query: Any) -> list[tuple[int | None, int, str | None]]:
        answer = await ask(app_client, staff, **query)
        return [(item["id"], item["meters"], item["bars"][0]["quantity"]) for item in answer["items"]]

    assert await groups(project_id=house.project, group="unit") == [(house.shop_unit, 1, "12.000")]
    assert await groups(project_id=house.project, group="building") == [(house.shop_building, 1, "12.000")]
    assert await groups(project_id=house.project) == [(None, 2, "60.000")]
    assert await groups(building_id=house.building, group="unit") == [(house.unit, 1, "24.000")]
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET parent_id = NULL WHERE id = %s", (house.sub,))
    assert await groups(project_id=house.project, group="unit", limit=1) == [(house.unit, 1, "24.000")]
    first = await ask(app_client, staff, project_id=house.project, group="building", limit=1)
    assert [item["id"] for item in first["items"]] == [house.building]
    rest = await groups(project_id=house.project, group="building", limit=1, cursor=first["next_cursor"])
    assert rest == [(house.shop_building, 1, "12.000")]


async def test_several_meters_of_a_unit_are_added(
    app_client: httpx.AsyncClient, people: People, house: House, owner_db: Database
) -> None:
    await make_shop(owner_db, house)
    await use_hourly(owner_db, house.project, house.shop, 500)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET unit_id = %s WHERE id = %s", (house.unit, house.shop))
    staff = await people.staff()
    found = await ask(app_client, staff, unit_id=house.unit, group="unit", to="2026-01-08")
    assert [(item["id"], item["meters"]) for item in found["items"]] == [(house.unit, 2)]
    bars = found["items"][0]["bars"]
    assert [(bar["quantity"], bar["quality"], bar["complete"]) for bar in bars] == [
        ("36.000", "estimated", True), ("36.000", "measured", True), (None, "gap", False),
    ]  # fmt: skip


async def test_more_than_one_answer_holds_is_refused(
    app_client: httpx.AsyncClient, people: People, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff = await people.staff()
    query: dict[str, Any] = {"project_id": house.project, "group": "meter", "step": "hour"}
    monkeypatch.setattr(selection, "_MOST_BARS", 47)
    refused = await ask(app_client, staff, 422, **query)
    assert (refused["code"], refused["errors"][0]["field"]) == ("too-many-bars", "limit")
    # As the refusal says: fewer groups at once.
    assert len((await ask(app_client, staff, **query, limit=1))["items"][0]["bars"]) == 24
    monkeypatch.setattr(selection, "_MOST_BARS", 48)
    assert len((await ask(app_client, staff, **query))["items"]) == 2


async def test_more_days_of_meters_than_one_answer_reads_are_refused(
    app_client: httpx.AsyncClient, people: People, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff = await people.staff()
    query: dict[str, Any] = {"project_id": house.project, "group": "meter"}
    monkeypatch.setitem(selection.MOST_METER_DAYS, "day", 3)
    await ask(app_client, staff, **query)
    refused = await ask(app_client, staff, 422, **query, to="2026-01-07")
    assert (refused["code"], refused["errors"][0]["field"]) == ("too-much-usage", "to")
    await ask(app_client, staff, **query, to="2026-01-07", limit=1)
