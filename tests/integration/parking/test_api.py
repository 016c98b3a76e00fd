"""The REST interface of parking: who sees what, and what is refused with which words."""

from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from gateway.contract.messages import Passage
from tests.integration.app import Auth, People, once
from tests.integration.parking.site import Site, openings, rows

PLATE = "京A12345"


@pytest.fixture
async def inside(ingest_db: Database, site: Site) -> int:
    """A vehicle that entered five hours ago; its session."""
    now = datetime.now(UTC)
    entered = now - timedelta(hours=4, minutes=59)
    await site.report(ingest_db, [site.passage("entry", PLATE, entered), site.passage("entry", "粤B1", entered)], now)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session WHERE plate = %s", (PLATE,))
    return int(session["id"])


@pytest.fixture
async def guard(people: People, site: Site) -> Auth:
    """The guard of the lot."""
    return await people.staff("guard", site.project_id)


def _payment(session_id: int, amount: object = "8.00", currency: str = "CNY") -> dict[str, object]:
    return {"session_id": session_id, "amount": {"amount": amount, "currency": currency}, "method": "cash"}


async def test_the_guard_quotes_takes_the_money_and_the_barrier_opens(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, inside: int, guard: Auth
) -> None:
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("exit", PLATE, now, "arrived")], now)
    quote = (await app_client.get(f"/api/v1/parking-sessions/{inside}/quote", headers=guard)).json()
    assert quote["due"] == {"amount": "8.00", "currency": "CNY"}
    assert [step["amount"] for step in quote["steps"]] == ["5.00", "3.00"]
    headers = {**guard, **once()}
    first = await app_client.post("/api/v1/parking-payments", json=_payment(inside), headers=headers)
    again = await app_client.post("/api/v1/parking-payments", json=_payment(inside), headers=headers)
    assert (first.status_code, again.json()) == (201, first.json())
    assert first.json()["command_id"] is not None
    (opening,) = await openings(ingest_db)
    assert opening["actor"].startswith("user:")
    detail = (await app_client.get(f"/api/v1/parking-sessions/{inside}", headers=guard)).json()
    assert detail["paid"] == {"amount": "8.00", "currency": "CNY"}
    assert [payment["payment_id"] for payment in detail["payments"]] == [first.json()["id"]]


async def test_payments_that_are_refused(app_client: httpx.AsyncClient, inside: int, guard: Auth) -> None:
    async def answer(body: dict[str, object]) -> tuple[int, str]:
        response = await app_client.post("/api/v1/parking-payments", json=body, headers={**guard, **once()})
        return response.status_code, response.json()["code"]

    assert await answer(_payment(inside, "7.00")) == (409, "amount-changed")
    assert await answer(_payment(inside, "8.00", "EUR")) == (409, "other-currency")
    assert await answer(_payment(inside, "0.00")) == (422, "bad-amount")
    assert await answer(_payment(inside, 8.00)) == (422, "invalid-input")
    assert await answer(_payment(inside, "-8.00")) == (422, "invalid-input")
    assert await answer(_payment(4711)) == (404, "no-session")


async def test_lots_count_who_is_inside(app_client: httpx.AsyncClient, inside: int, guard: Auth) -> None:
    (lot,) = (await app_client.get("/api/v1/parking-lots", headers=guard)).json()["items"]
    assert (lot["capacity"], lot["inside"], lot["free"]) == (2, 2, 0)
    lanes = (await app_client.get(f"/api/v1/parking-lanes?lot_id={lot['id']}", headers=guard)).json()["items"]
    assert [lane["direction"] for lane in lanes] == ["entry", "exit"]


async def test_sessions_are_filtered_and_paged(app_client: httpx.AsyncClient, inside: int, guard: Auth) -> None:
    async def found(query: str) -> list[str]:
        answer = await app_client.get(f"/api/v1/parking-sessions?{query}", headers=guard)
        return [session["plate"] for session in answer.json()["items"]]

    assert sorted(await found("state=open")) == sorted([PLATE, "粤B1"])
    assert await found("state=closed") == []
    assert await found("plate=京a·12345") == [PLATE]
    assert await found("began_before=2020-01-01T00:00:00Z") == []
    first = (await app_client.get("/api/v1/parking-sessions?limit=1", headers=guard)).json()
    second = await found(f"limit=1&cursor={first['next_cursor']}")
    assert sorted([first["items"][0]["plate"], *second]) == sorted([PLATE, "粤B1"])
    bad = await app_client.get("/api/v1/parking-sessions?plate=A*1", headers=guard)
    assert (bad.status_code, bad.json()["code"]) == (422, "bad-plate")


async def test_a_resident_sees_the_stays_of_his_vehicles_only(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site, inside: int
) -> None:
    (person,) = await rows(
        owner_db, "INSERT INTO person (project_id, name) VALUES (%s, '李娜') RETURNING id", (site.project_id,)
    )
    async with owner_db.transaction(SYSTEM) as conn:
        await service.register_vehicle(
            conn, site.project_id, PLATE, person["id"], valid_from=datetime.now(UTC) - timedelta(days=1)
        )
    resident = await people.resident(site.project_id, person["id"])
    sessions = (await app_client.get("/api/v1/parking-sessions", headers=resident)).json()["items"]
    assert [session["id"] for session in sessions] == [inside]
    quote = await app_client.get(f"/api/v1/parking-sessions/{inside}/quote", headers=resident)
    assert quote.json()["due"]["amount"] == "8.00"
    vehicles = (await app_client.get("/api/v1/vehicles", headers=resident)).json()["items"]
    assert [vehicle["plate"] for vehicle in vehicles] == [PLATE]
    other = await app_client.get(f"/api/v1/parking-sessions/{inside + 1}", headers=resident)
    assert other.status_code == 404
    (lot,) = (await app_client.get("/api/v1/parking-lots", headers=resident)).json()["items"]
    assert lot["inside"] is None
    body = _payment(inside)
    refused = await app_client.post("/api/v1/parking-payments", json=body, headers={**resident, **once()})
    assert refused.status_code == 403


async def test_staff_of_another_project_see_nothing(
    app_client: httpx.AsyncClient, people: People, site: Site, inside: int
) -> None:
    other = await people.project("other")
    stranger = await people.staff("admin", other.id)
    for path in ("parking-lots", "parking-lanes", "parking-sessions", "vehicles"):
        assert (await app_client.get(f"/api/v1/{path}", headers=stranger)).json()["items"] == []
    assert (await app_client.get(f"/api/v1/parking-sessions/{inside}/quote", headers=stranger)).status_code == 404
    opening = await app_client.post(
        f"/api/v1/parking-lanes/{site.exit.id}/openings", json={"reason": "x"}, headers={**stranger, **once()}
    )
    assert opening.status_code == 404


async def test_openings_by_hand(app_client: httpx.AsyncClient, ingest_db: Database, site: Site, guard: Auth) -> None:
    url = f"/api/v1/parking-lanes/{site.entry.id}/openings"
    assert (await app_client.post(url, json={"reason": ""}, headers={**guard, **once()})).status_code == 422
    opened = await app_client.post(url, json={"reason": "fire brigade"}, headers={**guard, **once()})
    assert opened.status_code == 201
    assert [opening["reason"] for opening in await openings(ingest_db)] == ["fire brigade"]


async def test_an_opening_by_hand_is_of_who_stands_there_and_of_nobody_who_went_by_his_own_right(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, guard: Auth
) -> None:
    """Months later somebody asks whom the guard let out: it was not the permit before, nor the one after."""
    now = datetime.now(UTC)

    def told(plate: str, at: datetime, outcome: str = "passed", decision: str = "permit") -> Passage:
        passage = site.passage("exit", plate, at, outcome)
        return msgspec.structs.replace(passage, decision=decision, outcome_at=passage.taken_at + 2_000)

    async def open_by_hand() -> tuple[object, object]:
        url = f"/api/v1/parking-lanes/{site.exit.id}/openings"
        opened = await app_client.post(url, json={"reason": "ambulance"}, headers={**guard, **once()})
        assert opened.status_code == 201
        (kept,) = await rows(ingest_db, "SELECT passage_id FROM manual_opening ORDER BY id DESC LIMIT 1")
        listed = (await app_client.get("/api/v1/parking-manual-openings", headers=guard)).json()["items"]
        return kept["passage_id"], listed[0]["passage_id"]

    async def listed() -> object:
        found = (await app_client.get("/api/v1/parking-manual-openings", headers=guard)).json()["items"]
        return found[0]["passage_id"]

    before = told("京A11111", now - timedelta(minutes=5))
    await site.report(ingest_db, [before], now)
    assert await open_by_hand() == (None, None), "it went through five minutes ago"
    own = told("京B22222", now + timedelta(seconds=20))
    await site.report(ingest_db, [own], now + timedelta(seconds=25))
    assert await listed() is None, "its permit opened for it"
    by_us = told("京C33333", now + timedelta(seconds=30), decision="command")
    await site.report(ingest_db, [by_us], now + timedelta(seconds=40))
    let_out = "UPDATE passage SET open_command_id = gen_random_uuid() WHERE id = %s RETURNING id"
    await rows(ingest_db, let_out, (by_us.id,))
    assert await listed() is None, "it had paid"
    unseen = told("", now + timedelta(seconds=40), decision="unrecognised")
    await site.report(ingest_db, [unseen], now + timedelta(seconds=50))
    assert await listed() == unseen.id


async def test_vehicles_with_a_bad_plate_are_refused(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    manager = await people.staff("manager", site.project_id)
    for plate in ("A", "A" * 17, "京A<script>", "·", "x" * 64):
        body = {"project_id": site.project_id, "plate": plate, "person_id": 1}
        answer = await app_client.post("/api/v1/vehicles", json=body, headers={**manager, **once()})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad-plate")


async def test_a_plate_is_one_persons_at_a_time(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    (person,) = await rows(
        owner_db, "INSERT INTO person (project_id, name) VALUES (%s, '李娜') RETURNING id", (site.project_id,)
    )
    manager = await people.staff("manager", site.project_id)
    body = {"project_id": site.project_id, "plate": "沪B·D00001", "person_id": person["id"]}
    first = await app_client.post("/api/v1/vehicles", json=body, headers={**manager, **once()})
    assert (first.status_code, first.json()["plate"]) == (201, "沪BD00001")
    second = await app_client.post("/api/v1/vehicles", json=body, headers={**manager, **once()})
    assert (second.status_code, second.json()["code"]) == (409, "overlap")
