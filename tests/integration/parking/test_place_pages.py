"""Pages of car parks, spaces, lists and vehicles: what is typed is kept, what is wrong is said beside the form."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People
from tests.integration.browser import Browser
from tests.integration.parking.site import Site, rows


@pytest.fixture
async def manager(app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site) -> Browser:
    return await sitting(app_client, owner_db, people, site, "manager")


async def sitting(client: httpx.AsyncClient, db: Database, people: People, site: Site, role: str) -> Browser:
    auth = await people.staff(role, site.project_id)
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(client, auth)


def problem(text: str) -> str:
    found = re.search(r'role="alert">(.*?)</div></div>', text, re.DOTALL)
    assert found is not None
    return re.sub(r"<[^>]+>|\s+", " ", found[1]).strip()


async def test_a_car_park_is_set_up(manager: Browser, owner_db: Database, site: Site) -> None:
    await manager.see("/parking-lots")
    await manager.send("/parking-lots", name="Inner", code="inner", capacity="5", parent_id=str(site.lot_id))
    (inner,) = await rows(owner_db, "SELECT id, parent_id FROM parking_lot WHERE code = 'inner'")
    assert inner["parent_id"] == site.lot_id
    address = f"/parking-lots/{inner['id']}"
    async with owner_db.transaction(SYSTEM) as conn:
        gateway = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        device = await devices.create_device(conn, site.project_id, gateway, "north", "barrier")
    assert ">gw1 / north</option>" in await manager.see(address)
    await manager.send(f"{address}/lanes", code="n", name="North", direction="entry", device_id=str(device.id))
    await manager.send(f"{address}/classes", vehicle_class="large", kept="2", at_most="")
    await manager.send(f"{address}/open", wanted="false")
    text = await manager.see(address)
    assert "Closed to new entries" in text
    assert "Every barrier has a lane" in text
    (lane,) = await rows(owner_db, "SELECT id FROM parking_lane WHERE code = 'n'")
    await manager.send(f"/parking-lanes/{lane['id']}/name", name="Gate 1")
    await manager.send(f"/parking-lanes/{lane['id']}/retirement")
    await manager.send(address, name="Innermost", capacity="7", parent_id="")
    (inner,) = await rows(owner_db, "SELECT name, capacity, parent_id, open FROM parking_lot WHERE code = 'inner'")
    assert tuple(inner.values()) == ("Innermost", 7, None, False)
    text = await manager.see(address)
    assert "Out of use (1)" in re.sub(r"</?\w+[^>]*>", "", text)
    await manager.send(f"{address}/classes", vehicle_class="large")
    assert "All classes share the capacity." in await manager.see(address)


async def test_a_search_for_part_of_a_plate_says_so_above_the_list(manager: Browser) -> None:
    now = datetime.now(UTC)
    since, until = ((now + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M") for days in (0, 30))
    await manager.see("/visitor-passes")
    await manager.send("/visitor-passes", plate="粤B22222", since=since, until=until)
    assert "粤B22222" in await manager.see("/visitor-passes?plate=粤B22222")
    text = await manager.see("/visitor-passes?plate=粤")
    assert "Plate" in problem(text)
    assert "粤B22222" in text
    # The lists of others are asked for by script, which shows no answer that is an error.
    assert "plate" in problem(await manager.see("/parking/permits?plate=粤")).lower()


async def test_what_is_wrong_with_a_pass_is_said_beside_its_form(manager: Browser) -> None:
    await manager.see("/visitor-passes")
    typed = {"plate": "粤B22222", "since": "2026-05-01T10:00", "until": "2026-05-01T09:00", "note": "aunt"}
    text = (await manager.send("/visitor-passes", 422, **typed)).text
    assert "end after the beginning" in problem(text)
    for value in typed.values():
        assert f'value="{value}"' in text


async def test_what_is_wrong_is_said_beside_the_form_which_keeps_what_was_typed(manager: Browser, site: Site) -> None:
    await manager.see("/parking-lots")
    twice = await manager.send("/parking-lots", 409, name="Again", code="main", capacity="5")
    assert problem(twice.text).startswith("such a parking_lot exists already")
    assert 'value="Again"' in twice.text
    bad = await manager.send("/parking-lots", 422, name="N", code="no code!", capacity="5")
    assert "code" in problem(bad.text).lower()
    address = f"/parking-lots/{site.lot_id}"
    circle = await manager.send(address, 409, name="Main", capacity="2", parent_id=str(site.lot_id))
    assert problem(circle.text).startswith("the lot around cannot be this one")
    many = await manager.send(f"{address}/classes", 409, vehicle_class="large", kept="3")
    assert problem(many.text).startswith("3 spaces are kept for classes, the lot has 2")
    lane = await manager.send(f"{address}/lanes", 422, code="", name="x", direction="entry", device_id="1")
    assert "code" in problem(lane.text).lower()


async def test_spaces_by_range_and_from_a_file_and_whose_one_is(
    manager: Browser, app_client: httpx.AsyncClient, owner_db: Database, site: Site
) -> None:
    address = f"/parking-lots/{site.lot_id}/spaces"
    assert "No space found" in await manager.see(address)
    await manager.send(address, first="A-01", last="A-60", place="B1", vehicle_class="small", state="free")
    text = await manager.see(f"{address}?state=free")
    assert text.count('href="/parking-spaces/') == 50
    assert 'rel="next"' in text
    await manager.send(address, first="Z9")
    again = await manager.send(address, 409, first="A-59", last="A-61")
    assert problem(again.text).startswith("2 of these spaces are there already: A-59, A-60")
    token = app_client.cookies["csrf_token"]
    answer = await app_client.post(
        f"{address}/import",
        data={"csrf_token": token},
        files={"file": ("spaces.csv", b"number,state\nA-01,\nC1,\nC2,lost\n")},
    )
    assert answer.status_code == 200
    assert re.findall(r": <strong>(\d+)</strong>", answer.text) == ["1", "0", "0", "2"]
    (space,) = await rows(owner_db, "SELECT id FROM parking_space WHERE number = 'C1'")
    query = "INSERT INTO person (project_id, name) VALUES (%s, %s) RETURNING id"
    people = [(await rows(owner_db, query, (site.project_id, name)))[0]["id"] for name in ("李娜", "王伟", "王伟")]
    one, today = f"/parking-spaces/{space['id']}", datetime.now(UTC).date()
    since = (today - timedelta(days=2)).isoformat()
    nobody = await manager.send(f"{one}/holders", 422, role="owner", person="赵六", since=since)
    assert "nobody here is called" in problem(nobody.text)
    several = await manager.send(f"{one}/holders", 409, role="owner", person="王伟", since=since)
    assert f"#{people[1]} 王伟, #{people[2]} 王伟" in problem(several.text)
    await manager.send(f"{one}/holders", role="owner", person="李娜", since=since)
    await manager.send(f"{one}/holders", role="tenant", person=f"#{people[2]}", since=since)
    text = await manager.see(f"{address}?state=rented")
    assert "李娜" in text
    assert "王伟" in text
    (tenant,) = await rows(owner_db, "SELECT id FROM parking_space_holder WHERE role = 'tenant'")
    await manager.send(f"/parking-space-holders/{tenant['id']}/end", until=(today - timedelta(days=1)).isoformat())
    await manager.send(one, number="C1", place="B2", vehicle_class="large", state="free", note="narrow")
    text = await manager.see(one)
    assert 'value="narrow"' in text
    assert "Sold" in text
    assert "王伟" in text


async def test_a_plate_is_put_on_a_list_and_taken_off(manager: Browser, owner_db: Database, site: Site) -> None:
    assert "No plate found" in await manager.see("/parking-lists")
    form: dict[str, Any] = {"plate": "京A·66666", "listing": "black", "lot_id": str(site.lot_id), "reason": "noise"}
    await manager.send("/parking-lists", **form, valid_until="2199-12-01T08:00")
    (entry,) = await rows(owner_db, "SELECT id, plate, lot_id, valid_until FROM parking_list_entry")
    assert (entry["plate"], entry["lot_id"]) == ("京A66666", site.lot_id)
    assert entry["valid_until"] == datetime(2199, 12, 1, tzinfo=UTC)
    again = await manager.send("/parking-lists", 409, **form)
    assert "is on the black list of lot main at that time" in problem(again.text)
    assert 'value="noise"' in again.text
    bad = await manager.send("/parking-lists", 422, **{**form, "plate": "?"})
    assert "letters and digits" in problem(bad.text)
    await manager.send(f"/parking-lists/{entry['id']}/end", reason="moved away")
    assert "No plate found" in await manager.see("/parking-lists")
    text = await manager.see("/parking-lists?over=true&listing=black&plate=京")
    assert "moved away" in text


async def test_vehicles_are_registered_found_by_plate_and_ended(
    manager: Browser, owner_db: Database, site: Site
) -> None:
    await rows(owner_db, "INSERT INTO person (project_id, name) VALUES (%s, '李娜') RETURNING id", (site.project_id,))
    assert "No vehicle found" in await manager.see("/vehicles")
    await manager.send("/vehicles", plate="沪B·D00001", person="李娜", vehicle_class="small")
    bad = await manager.send("/vehicles", 422, plate="!", person="李娜")
    assert "letters and digits" in problem(bad.text)
    nobody = await manager.send("/vehicles", 422, plate="沪C1234")
    assert "expected the name of a person" in problem(nobody.text)
    assert "沪BD00001" in await manager.see("/vehicles?plate=沪b·d")
    assert "No vehicle found" in await manager.see("/vehicles?plate=京")
    (vehicle,) = await rows(owner_db, "SELECT id FROM vehicle")
    await manager.send(f"/vehicles/{vehicle['id']}/end")
    assert "No vehicle found" in await manager.see("/vehicles")
    assert "沪BD00001" in await manager.see("/vehicles?over=true")


async def test_a_guard_looks_and_has_no_forms(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    guard = await sitting(app_client, owner_db, people, site, "guard")
    lot = f"/parking-lots/{site.lot_id}"
    for address in ("/parking-lots", lot, f"{lot}/spaces", "/parking-lists", "/vehicles"):
        text = await guard.see(address)
        assert f'method="post" action="{address}' not in text
    await guard.send("/parking-lots", 403, name="x", code="x", capacity="1")
    await guard.send(f"{lot}/open", 403, wanted="false")


async def test_who_may_not_read_the_policy_of_a_lot_is_not_led_there(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    policy = f"/parking/lots/{site.lot_id}/policy"
    viewer = await sitting(app_client, owner_db, people, site, "viewer")
    assert policy not in await viewer.see(f"/parking-lots/{site.lot_id}")
    guard = await sitting(app_client, owner_db, people, site, "guard")
    assert policy in await guard.see(f"/parking-lots/{site.lot_id}")
    await guard.see(policy)
