"""REST and pages of meters as things: what people send, what they get, and who may."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from html import unescape

import httpx
import pytest

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.metering import service as metering
from cloud.metering.assets.registers import registers_of
from tests.integration.app import Auth, People, once
from tests.integration.browser import text_of

AT = datetime(2026, 1, 2, 4, tzinfo=UTC)
FACE = {"digits": 6, "decimals": 2, "rating": {"voltage_v": 230, "max_current_ma": 60_000, "phases": 1}}
_READINGS = """
    INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
    SELECT %s, 1, %s::timestamptz + n * interval '1 hour', 1000 * n, %s FROM generate_series(0, 4) n
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A project with meter `meter_id` that read 0 to 4 kWh in the four hours to AT; d1 carries it, d2 none."""

    project: Project
    meter_id: int
    unit_id: int
    devices: tuple[int, int]


@pytest.fixture
async def place(people: People, owner_db: Database) -> Place:
    project = await people.project()
    async with owner_db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, project.id, "1", "1号楼")
        unit = await estate.create_unit(conn, project.id, building.id, "101")
        meter = await metering.create_meter(
            conn, project.id, "E1", "electricity", unit.id, 10**9, 13_800, date(2025, 1, 1)
        )
        await conn.execute(_READINGS, (meter.id, AT - timedelta(hours=4), project.id))
        gateway = await devices.create_gateway(conn, project.id, "g1", "G 1")
        made = [await devices.create_device(conn, project.id, gateway.id, code, "electricity") for code in ("d1", "d2")]
        await devices.bind(conn, made[0].id, meter.id, datetime(2025, 1, 1, tzinfo=UTC))
    return Place(project, meter.id, unit.id, (made[0].id, made[1].id))


async def _post(client: httpx.AsyncClient, auth: Auth, path: str, body: Mapping[str, object]) -> httpx.Response:
    return await client.post(f"/api/v1/{path}", json=body, headers=auth | once())


async def _items(client: httpx.AsyncClient, auth: Auth, path: str, **query: str) -> list[dict[str, object]]:
    answer = await client.get(f"/api/v1/{path}", params=query, headers=auth)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def _session(db: Database, auth: Auth) -> Auth:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return {"Cookie": f"{SESSION_COOKIE}={auth['Authorization'].removeprefix('Bearer ')}"}


async def test_a_meter_is_made_from_its_face(app_client: httpx.AsyncClient, people: People, place: Place) -> None:
    auth = await people.staff("manager", place.project.id)
    new = {"project_id": place.project.id, "code": "E2", "medium": "electricity", "installed_on": "2026-01-01"}
    said = {"parent_id": place.meter_id, "interval_s": 900, "meter_class": "flat", "verification_due": "2026-03-01"}
    made = await _post(app_client, auth, "meters", {**new, **FACE, **said})
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in ("modulus", "max_per_hour", "interval_s", "verification_due")} == {
        "modulus": 10**9, "max_per_hour": 13_800, "interval_s": 900, "verification_due": "2026-03-01",
    }  # fmt: skip
    register = (await _items(app_client, auth, f"meters/{made.json()['id']}/registers"))[0]
    assert (register["resolution"], register["rating"]) == (10, FACE["rating"])
    for body, field in (({}, "digits"), ({"digits": 6}, "rating"), ({**FACE, "rating": {"q3_ml_per_h": 1}}, "rating"),
                        ({**FACE, "unit": "m³"}, "unit"), ({**FACE, "decimals": 4}, "decimals")):  # fmt: skip
        refused = await _post(app_client, auth, "meters", {**new, "code": "E3", **body})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    query = {"project_id": str(place.project.id)}
    for wanted, codes in (
        ({"meter_class": "flat"}, ["E2"]), ({"parent_id": str(place.meter_id)}, ["E2"]),
        ({"due_by": "2026-03-01"}, ["E2"]), ({"due_by": "2026-02-28"}, []), ({}, ["E1", "E2"]),
    ):  # fmt: skip
        assert [one["code"] for one in await _items(app_client, auth, "meters", **query, **wanted)] == codes
    tree = await _items(app_client, auth, f"meters/{made.json()['id']}/tree")
    assert [(one["depth"], one["code"]) for one in tree] == [(-1, "E1"), (0, "E2")]


async def test_an_exchange_is_previewed_made_once_and_undone(
    app_client: httpx.AsyncClient, people: People, place: Place
) -> None:
    auth = await people.staff("manager", place.project.id)
    path = f"meters/{place.meter_id}/exchanges"
    body = {"at": (AT + timedelta(minutes=30)).isoformat(), "final": "4.50", "initial": "0", "serial": "N2",
            "multiplier": "2", "device_id": place.devices[1], **FACE}  # fmt: skip
    preview = await _post(app_client, auth, path, {**body, "preview": True})
    assert preview.status_code == 201, preview.text
    main = preview.json()["channels"][0]
    assert (main["last"]["value"]["quantity"], main["used_before"], preview.json()["procedure"]) == (
        "4.000", {"quantity": "0.500", "unit": "kWh"}, None,
    )  # fmt: skip
    assert len(await _items(app_client, auth, f"meters/{place.meter_id}/registers")) == 1

    key = once()
    first = await app_client.post(f"/api/v1/{path}", json=body, headers=auth | key)
    again = await app_client.post(f"/api/v1/{path}", json=body, headers=auth | key)
    assert (first.status_code, again.json()) == (201, first.json())
    old, new = await _items(app_client, auth, f"meters/{place.meter_id}/registers")
    assert old["ends"] == [{"channel": "energy_import_total", "opening": None,
                            "closing": {"quantity": "4.500", "unit": "kWh"}}]  # fmt: skip
    assert (new["serial"], new["multiplier"], new["valid_until"]) == ("N2", "2.0000", None)
    bound = await _items(app_client, auth, "device-bindings", meter_id=str(place.meter_id))
    assert [one["device_code"] for one in bound] == ["d2", "d1"]
    procedure = (await _items(app_client, auth, f"meters/{place.meter_id}/procedures"))[0]
    undone = await _post(app_client, auth, f"meters/{place.meter_id}/procedures/{procedure['id']}/undo",
                         {"reason": "wrong meter"})  # fmt: skip
    assert undone.json()["undone_reason"] == "wrong meter"
    assert len(await _items(app_client, auth, f"meters/{place.meter_id}/registers")) == 1


async def test_bad_input_names_its_field(app_client: httpx.AsyncClient, people: People, place: Place) -> None:
    auth = await people.staff("manager", place.project.id)
    good = {"at": (AT + timedelta(minutes=30)).isoformat(), "final": "4.5", "initial": "0"}
    for change, code, field in (
        ({"final": None}, "missing-final", "final"),
        ({"final": "3.999"}, "below-last-reading", "final"),
        ({"final": "4.5001"}, "bad-decimals", "final"),
        ({"final": "-1"}, "invalid-input", "final"),
        ({"final": "many"}, "invalid-input", "final"),
        ({"at": "2099-01-01T00:00:00Z"}, "change-in-future", "at"),
        ({"at": "2026-01-01T00:00:00"}, "invalid-input", "at"),
        ({"others": [{"channel": "nonsense"}]}, "unknown-channel", "others.channel"),
        ({"colour": "red"}, "invalid-input", "colour"),
    ):
        answer = await _post(app_client, auth, f"meters/{place.meter_id}/exchanges", {**good, **change})
        assert answer.status_code == 422, answer.text
        assert (answer.json()["code"], answer.json()["errors"][0]["field"]) == (code, field)
    overlap = await _post(app_client, auth, "device-bindings", {
        "device_id": place.devices[1], "meter_id": place.meter_id, "valid_from": AT.isoformat(),
    })  # fmt: skip
    assert (overlap.status_code, overlap.json()["code"]) == (409, "binding-overlap")
    assert "g1/d1 carries meter" in overlap.json()["detail"]
    ended = await _post(
        app_client, auth, f"device-bindings/{_id(overlap.json()['detail'])}/end", {"at": AT.isoformat()}
    )
    assert datetime.fromisoformat(ended.json()["valid_until"]) == AT


def _id(detail: str) -> str:
    found = re.search(r"\(binding (\d+)\)", detail)
    assert found is not None
    return found[1]


async def test_seals_verifications_channels_and_corrections(
    app_client: httpx.AsyncClient, people: People, place: Place
) -> None:
    auth = await people.staff("manager", place.project.id)
    base = f"meters/{place.meter_id}"
    seal = await _post(app_client, auth, f"{base}/seals", {"number": "S1", "applied_at": AT.isoformat()})
    assert seal.json()["applied_by"].startswith("user:")
    gone = await _post(app_client, auth, f"{base}/seals/{seal.json()['id']}/removal",
                       {"at": (AT + timedelta(days=1)).isoformat(), "reason": "broken"})  # fmt: skip
    assert gone.json()["removed_reason"] == "broken"
    same = await _post(app_client, auth, f"{base}/seals", {"number": "S1", "applied_at": AT.isoformat()})
    assert same.status_code == 409
    await _post(app_client, auth, f"{base}/verifications",
                {"verified_on": "2026-01-05", "result": "passed", "next_due": "2032-01-05"})  # fmt: skip
    assert len(await _items(app_client, auth, f"{base}/verifications")) == 1
    channels = await _items(app_client, auth, f"{base}/channels")
    assert [(one["channel"], one["is_main"], one["value"]) for one in channels] == [
        ("energy_import_total", True, {"quantity": "4.000", "unit": "kWh"})
    ]
    patched = await app_client.patch(f"/api/v1/{base}", json={"place": "shaft", "unit_id": None}, headers=auth)
    assert {name: patched.json()[name] for name in ("place", "unit_id", "code", "verification_due")} == {
        "place": "shaft", "unit_id": None, "code": "E1", "verification_due": "2032-01-05",
    }  # fmt: skip
    circle = await app_client.patch(f"/api/v1/{base}", json={"parent_id": place.meter_id}, headers=auth)
    assert (circle.status_code, circle.json()["code"]) == (409, "meter-circle")
    register = (await _items(app_client, auth, f"{base}/registers"))[0]
    corrected = await app_client.patch(
        f"/api/v1/{base}/registers/{register['id']}", json={"multiplier": "1.5", **FACE}, headers=auth
    )
    assert (corrected.json()["multiplier"], corrected.json()["resolution"]) == ("1.5000", 10)
    removal = {"at": (AT + timedelta(hours=1)).isoformat(), "final": "4.7"}
    assert (await _post(app_client, auth, f"{base}/removals", {**removal, "final": None})).status_code == 422
    preview = await _post(app_client, auth, f"{base}/removals", {**removal, "preview": True})
    assert preview.json()["channels"][0]["used_before"]["quantity"] == "1.050"
    assert (await _post(app_client, auth, f"{base}/removals", removal)).json()["procedure"]["kind"] == "removed"
    assert (await app_client.get(f"/api/v1/{base}", headers=auth)).json()["removed_on"] == "2026-01-02"


async def test_who_may(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, keys: Keys, place: Place
) -> None:
    viewer = await people.staff("viewer", place.project.id)
    elsewhere = await people.project()
    stranger = await people.staff("manager", elsewhere.id)
    async with owner_db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(keys), place.project.id, "Li")
        other = await metering.create_meter(
            conn, place.project.id, "E9", "electricity", None, 10**9, 10**5, date(2025, 1, 1)
        )
        await estate.create_occupancy(conn, place.project.id, place.unit_id, person.id, "owner", date(2025, 6, 1))
    resident = await people.resident(place.project.id, person.id)
    manager = await people.staff("manager", place.project.id)
    await _post(app_client, manager, f"meters/{place.meter_id}/seals", {"number": "S1", "applied_at": AT.isoformat()})
    verified = {"verified_on": "2026-01-05", "result": "passed"}
    await _post(app_client, manager, f"meters/{place.meter_id}/verifications", verified)

    body = {"at": AT.isoformat(), "final": "4", "initial": "0"}
    for auth, status in ((viewer, 403), (resident, 403), (stranger, 404)):
        assert (await _post(app_client, auth, f"meters/{place.meter_id}/exchanges", body)).status_code == status
        patched = await app_client.patch(f"/api/v1/meters/{place.meter_id}", json={"place": "x"}, headers=auth)
        assert patched.status_code == status
    # A resident knows his own meter, without what is for staff.
    mine = f"meters/{place.meter_id}"
    assert [len(await _items(app_client, resident, f"{mine}/{part}")) for part in
            ("registers", "verifications", "tree", "seals", "procedures")] == [1, 1, 1, 0, 0]  # fmt: skip
    assert await _items(app_client, resident, "device-bindings") == []
    for part in ("registers", "verifications", "tree", "seals", "procedures", "channels"):
        answer = await app_client.get(f"/api/v1/meters/{other.id}/{part}", headers=resident)
        assert answer.status_code == 404


async def test_the_pages_take_a_meter_through_its_life(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, place: Place
) -> None:
    manager = await _session(owner_db, await people.staff("manager", place.project.id))

    async def get(path: str) -> str:
        answer = await app_client.get(path, headers=manager)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def post(path: str, **fields: str) -> httpx.Response:
        token = re.search(r'name="csrf_token" value="([^"]+)"', await get("/meters"))
        cookie = f"{manager['Cookie']}; csrf_token={app_client.cookies['csrf_token']}"
        assert token is not None
        return await app_client.post(path, data={**fields, "csrf_token": token[1]}, headers={"Cookie": cookie})

    for medium in ("electricity", "water", "heat"):
        assert 'name="digits"' in await get(f"/meters/new?medium={medium}")
    new = {"medium": "water", "code": "W1", "installed_on": "2026-01-01", "digits": "5", "decimals": "3",
           "multiplier": "1", "interval_s": "900", "unit_id": str(place.unit_id)}  # fmt: skip
    refused = await post("/meters/new", **new)
    assert refused.status_code == 422
    assert 'value="W1"' in refused.text
    made = await post("/meters/new", **new, q3="2.5")
    assert made.status_code == 303
    assert (await post("/meters/new", **new, q3="2.5")).status_code == 409
    water = int(made.headers["location"].split("/")[2])
    async with owner_db.transaction(SYSTEM) as conn:
        register = (await registers_of(conn, [water]))[water][0]
    assert (register.modulus, register.resolution, register.max_per_hour) == (10**11, 10**3, 3_125_000)

    base = f"/meters/{place.meter_id}"
    assert "4.000 kWh" in await get(f"{base}/exchange")
    wish = {"kind": "exchanged", "at": "2026-01-02T12:30", "final": "4.5", "initial": "0", "serial": "N2",
            "multiplier": "1", "digits": "6", "decimals": "2", "voltage": "230", "current": "60",
            "phases": "1"}  # fmt: skip
    without = await post(f"{base}/exchange", **{**wish, "final": ""})
    assert (without.status_code, "final reading" in without.text) == (422, True)
    # Unseen values are not carried out, whatever button is pressed.
    preview = await post(f"{base}/exchange", **wish, sure="yes", seen="something else")
    assert preview.status_code == 200
    assert "0.500 kWh" in preview.text
    assert (await get(f"{base}/data")).count("in force") == 2
    seen = re.search(r'name="seen" value="([^"]*)"', preview.text)
    assert seen is not None
    done = await post(f"{base}/exchange", **wish, sure="yes", seen=unescape(seen[1]))
    assert done.status_code == 303
    page = await get(f"{base}/data")
    assert "4.500 kWh" in page
    assert "N2" in text_of(page)
    # What is refused halfway leaves nothing behind.
    taken = await post(f"{base}/bindings", device_id=str(place.devices[1]), valid_from="2026-01-03T00:00")
    assert taken.status_code == 409
    undo = re.search(r'action="([^"]+/undo)"', page)
    assert undo is not None
    assert (await post(undo[1], reason="wrong meter")).status_code == 303

    await post(f"{base}/seals", number="S7", place="cover", applied_at="2026-01-02T10:00")
    seal = re.search(r'action="([^"]+/removal)"', await get(f"{base}/data"))
    assert seal is not None
    assert (await post(seal[1], at="2026-01-02T11:00", reason="new cover")).status_code == 303
    due = {"verified_on": "2026-01-05", "result": "failed"}
    assert (await post(f"{base}/verifications", **due)).status_code == 303
    saved = await post(f"{base}/data", code="E1", unit_id=str(place.unit_id), interval_s="1800", meter_class="flat",
                       verification_due="2026-01-05")  # fmt: skip
    assert saved.status_code == 303
    page = text_of(await get(f"{base}/data"))
    assert all(text in page for text in ("S7", "new cover", "failed", "30 minutes", "overdue"))
    found = text_of(await get("/meters?due=over&meter_class=flat"))
    assert "E1" in found
    assert "W1" not in found
    removed = {"kind": "removed", "at": "2026-01-02T13:00", "final": "4.8"}
    preview = await post(f"{base}/exchange", **removed)
    seen = re.search(r'name="seen" value="([^"]*)"', preview.text)
    assert seen is not None
    assert (await post(f"{base}/exchange", **removed, sure="yes", seen=unescape(seen[1]))).status_code == 303
    assert f'href="{base}/exchange"' not in await get(f"{base}/data")


async def test_residents_have_no_page_of_data(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, keys: Keys, place: Place
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(keys), place.project.id, "Li")
        await estate.create_occupancy(conn, place.project.id, place.unit_id, person.id, "owner", date(2025, 6, 1))
    resident = await _session(owner_db, await people.resident(place.project.id, person.id))
    assert (await app_client.get(f"/meters/{place.meter_id}/data", headers=resident)).status_code == 403
    usage = await app_client.get(f"/meters/{place.meter_id}", headers=resident)
    assert usage.status_code == 200
    assert "/data" not in usage.text
