"""The pages of apportionment, losses, night flows and meter health: forms, tables, files and walls."""

import re
from datetime import UTC, datetime, timedelta

import httpx

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from tests.integration.app import Auth, People
from tests.integration.browser import text_of
from tests.integration.metering.house import House, local, make_house, use, use_month
from tests.integration.metering.test_supervision import refreshed


async def _signed_in(client: httpx.AsyncClient, db: Database, auth: Auth) -> None:
    """The client as this user's browser: pages take no bearer tokens."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.clear()
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))


async def _page(client: httpx.AsyncClient, address: str, status: int = 200) -> str:
    answer = await client.get(address)
    assert answer.status_code == status, answer.text
    return answer.text


async def _send(client: httpx.AsyncClient, address: str, form: dict[str, str | list[str]]) -> httpx.Response:
    token = client.cookies.get("csrf_token") or ""
    return await client.post(address, data={**form, "csrf_token": token})


async def _house(db: Database, people: People, *hourly: int) -> House:
    async with db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
        for meter, used in zip([house.master, *house.subs], hourly, strict=False):
            await use_month(conn, house, meter, used)
    return house


async def test_from_a_form_to_settled_shares(
    app_client: httpx.AsyncClient, owner_db: Database, worker_db: Database, people: People
) -> None:
    house = await _house(worker_db, people, 1000, 300, 200, 400)
    await _signed_in(app_client, owner_db, await people.staff("manager", house.project.id))
    assert "No rule yet" in await _page(app_client, "/apportionment")
    await _page(app_client, "/apportionment/new")
    form: dict[str, str | list[str]] = {
        "name": "Stairs", "medium": "electricity", "shared": "loss", "meter": "M", "basis": "area", "quantity": "",
        "participants": "building", "building_id": str(house.building_id), "valid_from": "2026-01-01", "units": "",
        "excluded_kinds": ["shop", "common"],
    }  # fmt: skip
    made = await _send(app_client, "/apportionment", form)
    assert made.status_code == 303, made.text
    rule = made.headers["location"].partition("?")[0]
    shown = await _page(app_client, f"{rule}?month=2026-03")
    assert shown.count("74.400 kWh") == 2  # to share, and the sum of the table
    assert "0001" not in text_of(shown)
    settled = await _send(app_client, f"{rule}/settle", {"month": "2026-03"})
    run = settled.headers["location"].partition("?")[0]
    again = await _send(app_client, f"{rule}/settle", {"month": "2026-03"})
    assert again.headers["location"] == settled.headers["location"]
    assert "The shares of this period are settled." in await _page(app_client, settled.headers["location"])
    lines = (await _page(app_client, f"{run}/export.csv")).strip().splitlines()
    assert lines[0].lstrip("\ufeff") == "unit,from,until,weight,total_weight,quantity_kWh"
    assert [line.rpartition(",")[2] for line in lines[1:]] == ["16.000", "33.600", "24.800"]
    refused = await _send(app_client, "/apportionment", {**form, "name": "2", "meter": "nothing"})
    assert refused.status_code == 422
    by_list = {**form, "name": "3", "participants": "list", "basis": "share", "units": "0101 2\nTower 1 0102\n"}
    listed = await _send(app_client, "/apportionment", by_list)
    assert listed.status_code == 303, listed.text
    assert (await _send(app_client, f"{rule}/end", {"valid_until": "2026-03-01"})).status_code == 303
    assert "The period is not possible" in await _page(app_client, f"{rule}?month=2026-03") or "holds from" in (
        await _page(app_client, f"{rule}?month=2026-03")
    )
    assert "Nothing settled yet" not in await _page(app_client, rule)

    await _signed_in(app_client, owner_db, await people.resident(house.project.id, house.people["neighbour"]))
    own = await _page(app_client, "/my/shares")
    assert "24.800 kWh" in own
    assert "16.000 kWh" not in own
    assert "74.400 kWh × 124,000 / 372,000" in re.sub(r"\s+", " ", own)
    await _page(app_client, rule, 403)


async def test_losses_flows_and_health(
    app_client: httpx.AsyncClient, owner_db: Database, worker_db: Database, people: People
) -> None:
    house = await _house(worker_db, people, 1000, 300, 200, 300)
    async with worker_db.transaction(SYSTEM) as conn:
        water = await make_house(conn, await people.project(), "water")
        today = datetime.now(UTC).astimezone(water.project.zone).date()
        start, end = Period(today - timedelta(days=31), today + timedelta(days=1)).instants(water.project.zone)
        await use(conn, water, water.subs[1], start, [250] * ((end - start) // timedelta(hours=1)))
        await use(conn, house, house.subs[0], local(house, today - timedelta(days=2)), [5] * 5, method=4)
    await refreshed(worker_db, house.project.id)
    await _signed_in(app_client, owner_db, await people.staff("viewer", house.project.id))
    tree = await _page(app_client, "/losses?month=2026-03")
    assert "High" in text_of(tree)
    assert "148.8 kWh" in tree
    assert "No master meter" in await _page(app_client, "/losses?medium=water")
    one = await _page(app_client, f"/losses/{house.master}?month=2026-03")
    assert one.count("595.2 kWh") == 2  # the sum of the sub-meters, above and below the table
    bars = (await app_client.get(f"/losses/{house.master}/bars")).json()
    assert (len(bars["labels"]), bars["unit"]) == (12, "kWh")
    assert "No water flows at night" in await _page(app_client, "/leaks")
    health = await _page(app_client, "/meter-health?only=estimates")
    assert health.count('data-label="Last heard of"') == 1
    table = (await _page(app_client, "/meter-health/export.csv")).strip().splitlines()
    assert len(table) == 5
    assert table[2].split(",")[6] == "0.69"  # 5 of 720 hours
    await _page(app_client, "/losses?month=nonsense", 422)

    await _signed_in(app_client, owner_db, await people.staff("viewer", water.project.id))
    assert "0.3 L/h" in await _page(app_client, "/leaks") or "0.2 L/h" in await _page(app_client, "/leaks")
    assert "leak?" in await _page(app_client, "/leaks")
    nights = (await app_client.get(f"/leaks/{water.subs[1]}/bars")).json()
    assert nights["series"][0]["values"][0] == "0.250"

    await _signed_in(app_client, owner_db, await people.resident(water.project.id, water.people["neighbour"]))
    assert "without a break" in await _page(app_client, "/my/usage")
    assert "Smallest hourly flow" in await _page(app_client, f"/leaks/{water.subs[1]}")
    await _page(app_client, f"/leaks/{water.subs[0]}", 404)
