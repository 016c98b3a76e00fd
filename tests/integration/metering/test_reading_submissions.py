"""Readings that residents hand in: only of their own meters, five at most, looked at by staff, walls included."""

import asyncio
import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.metering.manual import photos
from cloud.metering.manual import service as manual
from cloud.metering.manual.service import ManualReading
from tests.integration.app import Auth, People, once
from tests.integration.browser import text_of
from tests.integration.metering.house import House, make_house

AT = datetime(2026, 3, 20, 4, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


@dataclass
class Place:
    """A house, its clerk, and the client that asks."""

    house: House
    clerk: Auth
    client: httpx.AsyncClient
    people: People

    async def resident(self, who: str) -> Auth:
        return await self.people.resident(self.house.project.id, self.house.people[who])

    async def hand_in(self, auth: Auth, value: str = "12.5", meter: int = 0, **body: Any) -> httpx.Response:
        address = f"/api/v1/meters/{self.house.subs[meter]}/reading-submissions"
        sent = {"value": value, "taken_at": AT.isoformat(), **body}
        return await self.client.post(address, json=sent, headers={**auth, **once()})

    async def decide(self, number: int, auth: Auth | None = None, **body: Any) -> httpx.Response:
        address = f"/api/v1/reading-submissions/{number}/decisions"
        sent = {"decision": "accept", **body}
        return await self.client.post(address, json=sent, headers={**(auth or self.clerk), **once()})

    async def list(self, auth: Auth, **query: Any) -> list[dict[str, Any]]:
        answer = await self.client.get("/api/v1/reading-submissions", params=query, headers=auth)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found


@pytest.fixture
async def place(app_client: httpx.AsyncClient, people: People, worker_db: Database) -> Place:
    """The house of tests/integration/metering/house.py."""
    project = await people.project()
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, project)
    return Place(house, await people.staff("manager", project.id), app_client, people)


async def test_from_a_resident_to_the_register(place: Place, worker_db: Database) -> None:
    tenant = await place.resident("tenant")
    sent = await place.hand_in(tenant, note="cellar", photo=base64.b64encode(PNG).decode())
    assert sent.status_code == 201, sent.text
    made = sent.json()
    assert (made["state"], made["value"]["quantity"], made["accepted"]) == ("waiting", "12.500", None)
    assert (await place.hand_in(tenant)).json()["id"] == made["id"]  # the same once more
    picture = f"/api/v1/reading-photos/{made['photo_id']}"
    for auth in (tenant, place.clerk):
        assert (await place.client.get(picture, headers=auth)).content == PNG
    accepted = (await place.decide(made["id"], value="12.6", reason="a six")).json()
    assert (accepted["state"], accepted["accepted"]["quantity"]) == ("accepted", "12.600")
    again = await place.decide(made["id"])
    assert (again.status_code, again.json()["code"]) == (409, "already-decided")
    seen = await place.list(tenant)
    assert [(one["state"], one["reason"]) for one in seen] == [("accepted", "a six")]
    assert "actor" not in seen[0]
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT meter_id, value, quality FROM store.reading")).fetchall()
        entry = (await manual.entries(conn, place.house.subs[0], 1, AT, AT))[AT]
    assert [tuple(row.values()) for row in rows] == [(place.house.subs[0], 12_600, 32)]
    assert entry.note == "cellar"


async def test_a_doubtful_one_needs_a_word_of_staff(place: Place, worker_db: Database) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await manual.store_all(conn, [ManualReading(place.house.subs[0], 1, AT - timedelta(days=1), 20_000)])
    number = (await place.hand_in(await place.resident("tenant"))).json()["id"]
    asked = await place.decide(number)
    assert (asked.status_code, asked.json()["code"]) == (409, "backward")
    assert [one["state"] for one in await place.list(place.clerk)] == ["waiting"]
    assert (await place.decide(number, confirm=True)).json()["code"] == "no-reason"
    assert (await place.decide(number, confirm=True, reason="seen on the photo")).status_code == 201
    async with worker_db.transaction(SYSTEM) as conn:
        edits = await (await conn.execute("SELECT action, reason FROM reading_edit")).fetchall()
    assert [tuple(row.values()) for row in edits] == [("use", "seen on the photo")]


async def test_sent_back_with_a_reason(place: Place, worker_db: Database) -> None:
    tenant = await place.resident("tenant")
    number = (await place.hand_in(tenant)).json()["id"]
    assert (await place.decide(number, decision="reject")).json()["code"] == "no-reason"
    assert (await place.decide(number, decision="reject", reason="another meter")).json()["state"] == "rejected"
    assert [(one["state"], one["reason"]) for one in await place.list(tenant)] == [("rejected", "another meter")]
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await (await conn.execute("SELECT FROM store.reading")).fetchall()) == []


async def test_five_wait_at_most(place: Place) -> None:
    tenant = await place.resident("tenant")
    numbers = [(await place.hand_in(tenant, str(n))).json()["id"] for n in range(5)]
    full = await place.hand_in(tenant, "5")
    assert (full.status_code, full.json()["code"]) == (409, "too-many-waiting")
    assert (await place.hand_in(await place.resident("neighbour"), "5", 1)).status_code == 201
    await place.decide(numbers[2], decision="reject", reason="no")
    # Both see one free place: only one of them can take it.
    both = await asyncio.gather(place.hand_in(tenant, "6"), place.hand_in(tenant, "7"))
    assert sorted(answer.status_code for answer in both) == [201, 409]


async def test_walls(place: Place, people: People) -> None:
    tenant, former, neighbour = [await place.resident(who) for who in ("tenant", "former", "neighbour")]
    made = (await place.hand_in(tenant, photo=base64.b64encode(PNG).decode())).json()
    one, picture = f"/api/v1/reading-submissions/{made['id']}", f"/api/v1/reading-photos/{made['photo_id']}"
    other = await people.project()
    stranger = await people.staff("admin", other.id)
    for auth in (neighbour, former, stranger):
        assert (await place.client.get(one, headers=auth)).status_code == 404
        assert (await place.client.get(picture, headers=auth)).status_code == 404
        assert await place.list(auth) == []
    assert (await place.decide(made["id"], stranger)).status_code == 404
    assert (await place.hand_in(neighbour)).status_code == 404
    assert (await place.hand_in(stranger)).status_code == 404
    assert (await place.decide(made["id"], tenant)).status_code == 403
    viewer = await people.staff("viewer", place.house.project.id)
    assert (await place.hand_in(viewer)).status_code == 403
    assert (await place.decide(made["id"], viewer)).status_code == 403
    late = await place.hand_in(former)  # he moved out nine days before
    assert (late.status_code, late.json()["code"]) == (422, "not-your-time")


async def test_the_database_itself_lets_a_resident_do_no_more(place: Place, web_db: Database) -> None:
    tenant = await place.resident("tenant")
    number = (await place.hand_in(tenant)).json()["id"]
    house = place.house
    asker = Asker("resident", (house.project.id,), (house.people["tenant"],), 1)
    async with web_db.transaction(asker) as conn:
        changed = await conn.execute("UPDATE reading_submission SET state = 'accepted', accepted = 1, actor = 'me'")
        gone = await conn.execute("DELETE FROM reading_submission WHERE id = %s", (number,))
    assert (changed.rowcount, gone.rowcount) == (0, 0)
    for meter, state in ((house.subs[1], "waiting"), (house.subs[0], "rejected")):
        with pytest.raises(psycopg.Error, match="row-level security"):
            async with web_db.transaction(asker) as conn:
                await conn.execute(
                    """INSERT INTO reading_submission (project_id, meter_id, channel, taken_at, value, user_id, slot,
                                                       state, actor, reason)
                       VALUES (%s, %s, 1, %s, 1, 1, 2, %s, 'me', 'me')""",
                    (house.project.id, meter, AT, state),
                )


async def test_old_photos_go_and_their_submissions_stay(place: Place, worker_db: Database) -> None:
    tenant = await place.resident("tenant")
    await place.hand_in(tenant, photo=base64.b64encode(PNG).decode())
    now = datetime.now(UTC)
    async with worker_db.transaction(SYSTEM) as conn:
        assert await photos.forget(conn, now + photos.KEPT - timedelta(minutes=5), 10) == 0
        assert await photos.forget(conn, now + photos.KEPT + timedelta(minutes=5), 10) == 1
    assert [one["photo_id"] for one in await place.list(tenant)] == [None]


async def _browse(place: Place, db: Database, auth: Auth) -> None:
    """The client as this user's browser: pages take no bearer tokens."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    place.client.cookies.clear()
    place.client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    await place.client.get("/my/readings")


async def _page(place: Place, address: str, status: int = 200) -> str:
    answer = await place.client.get(address)
    assert answer.status_code == status, answer.text
    return answer.text


async def _post(place: Place, address: str, form: dict[str, str], photo: bytes = b"") -> httpx.Response:
    sent = {**form, "csrf_token": place.client.cookies.get("csrf_token") or ""}
    files = {"photo": ("a.png", photo, "text/html")}
    return await place.client.post(address, data=sent, files=files)


async def test_pages_from_the_resident_to_the_queue(place: Place, owner_db: Database, worker_db: Database) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await manual.store_all(conn, [ManualReading(place.house.subs[0], 1, AT - timedelta(days=1), 20_000)])
    clerk, meter = place.clerk, place.house.subs[0]
    await _browse(place, owner_db, await place.resident("tenant"))
    assert "20.000 kWh" in await _page(place, "/my/readings")
    form = {"meter_id": str(meter), "value": "12.5", "taken_at": "2026-03-20T12:00", "note": "cellar"}
    refused = await _post(place, "/my/readings", form, b"<html>")
    assert (refused.status_code, "JPEG, PNG or WebP" in refused.text) == (422, True)
    assert (await _post(place, "/my/readings", {**form, "meter_id": str(place.house.subs[1])})).status_code == 404
    sent = await _post(place, "/my/readings", form, PNG)
    assert sent.status_code == 303, sent.text
    assert "Waiting to be looked at" in await _page(place, sent.headers["location"])
    await _page(place, f"/meters/{meter}/new-reading", 403)

    await _browse(place, owner_db, clerk)
    queue = await _page(place, "/reading-submissions")
    assert "The register went backward" in queue
    number = queue.partition("/reading-submissions/")[2].partition('"')[0]
    address = f"/reading-submissions/{number}"
    shown = await _page(place, address)
    assert "This is lower than the reading before." in shown
    picture = shown.partition("/reading-photos/")[2].partition('"')[0]
    assert (await place.client.get(f"/reading-photos/{picture}")).content == PNG
    asked = await _post(place, address, {"decision": "accept"})
    assert (asked.status_code, "Accept all the same" in asked.text) == (200, True)
    other = await _post(place, address, {"decision": "accept", "confirm": "12500", "reason": "x", "value": "13"})
    assert (other.status_code, "13.000 kWh" in other.text) == (200, True)  # 13 was never asked about
    done = await _post(place, address, {"decision": "accept", "confirm": "12500", "reason": "seen"})
    assert done.status_code == 303, done.text
    assert "Nothing waits" in await _page(place, "/reading-submissions")
    assert "12.500 kWh" in await _page(place, "/reading-submissions?state=accepted")


async def test_pages_where_staff_type_in(place: Place, owner_db: Database) -> None:
    meter = place.house.subs[0]
    await _browse(place, owner_db, place.clerk)
    address = f"/meters/{meter}/new-reading"
    assert "No readings yet" in await _page(place, address)
    form = {"value": "20", "taken_at": "2026-03-19T12:00", "channel": "energy_import_total", "note": "dusty"}
    assert (await _post(place, address, form, PNG)).status_code == 303
    page = await _page(place, address)
    assert "dusty" in text_of(page)
    assert "/reading-photos/" in page
    lower = {**form, "value": "19", "taken_at": "2026-03-20T12:00"}
    asked = await _post(place, address, lower)
    assert (asked.status_code, "Store all the same" in asked.text) == (200, True)
    assert (await _post(place, address, {**lower, "confirm": "19"})).status_code == 422
    assert (await _post(place, address, {**lower, "confirm": "19", "reason": "read twice"})).status_code == 303
    assert "read twice" in await _page(place, address)
    assert (await _post(place, address, {**form, "channel": "volume_total"})).status_code == 422


async def test_a_round_goes_to_what_is_not_read(place: Place, owner_db: Database) -> None:
    house = place.house
    await _browse(place, owner_db, place.clerk)
    page = await _page(place, "/reading-round?since=2026-03-01")
    rows = [page.index(f'id="row-{meter}"') for meter in (house.master, house.subs[2], house.subs[0], house.subs[1])]
    assert rows == sorted(rows)  # by unit: none, 0001, 0101, 0102
    at = {"taken_at": "2026-03-20T12:00"}
    stored = await _post(place, f"/reading-round/{house.subs[0]}", {**at, "value": "20"})
    assert "Stored: 20 kWh" in stored.text
    refused = await _post(place, f"/reading-round/{house.subs[1]}", {**at, "value": "many"})
    assert (refused.status_code, "is-invalid" in refused.text) == (200, True)
    asked = await _post(place, f"/reading-round/{house.subs[0]}", {"taken_at": "2026-03-21T12:00", "value": "19"})
    assert "Store all the same" in asked.text
    page = await _page(place, f"/reading-round?since=2026-03-01&building_id={house.building_id}&medium=electricity")
    assert f'id="row-{house.subs[0]}"' not in page
    assert f'id="row-{house.subs[1]}"' in page
    assert f'id="row-{house.master}"' not in page
    assert f'id="row-{house.subs[0]}"' in await _page(place, "/reading-round?since=2026-03-21")
    assert "Everything is read" in await _page(place, "/reading-round?medium=water")
