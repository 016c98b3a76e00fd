"""The guard's desk: no vehicle waits unseen, and there is a way out for each."""

import re
import secrets
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from gateway.contract.messages import Passage
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.nested import set_policy
from tests.integration.parking.site import Site, openings, rows

PLATE = "京A12345"


@pytest.fixture
async def guard(people: People, site: Site) -> Auth:
    return await people.staff("guard", site.project_id)


async def desk_of(client: httpx.AsyncClient, db: Database, auth: Auth) -> str:
    """The page as a browser with this user's session sees it."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    answer = await client.get("/parking", headers={"Accept-Language": "en"})
    assert answer.status_code == 200, answer.text
    return answer.text


def waiting_part(page: str) -> str:
    return page[page.index('id="waiting"') : page.index('id="lanes"')]


async def send_form(client: httpx.AsyncClient, page: str, address: str, **fields: str) -> httpx.Response:
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    return await client.post(address, data={"csrf_token": token[1], "once": secrets.token_urlsafe(16), **fields})


@pytest.mark.parametrize("plate", [PLATE, ""], ids=["entry-not-seen", "plate-not-read"])
async def test_a_vehicle_without_a_stay_is_on_the_desk_and_can_be_let_out(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, guard: Auth, plate: str
) -> None:
    now = datetime.now(UTC)
    arrived = site.passage("exit", plate, now - timedelta(hours=2), "arrived")
    await site.report(ingest_db, [arrived], now)
    page = await desk_of(app_client, worker_db, guard)
    shown = waiting_part(page)
    assert (plate or "no plate") in shown
    assert "No entry known" in shown
    lane = re.search(r'action="(/parking/lanes/\d+/open)"', shown)
    assert lane is not None
    answer = await send_form(app_client, page, lane[1], reason="ticket shown")
    assert answer.status_code == 303
    (opening,) = await openings(ingest_db)
    assert opening["reason"] == "ticket shown"

    await site.report(ingest_db, [site.passage("exit", plate, now - timedelta(hours=2), "passed", known=arrived)], now)
    assert "Nobody waits" in waiting_part(await desk_of(app_client, worker_db, guard))


async def test_an_order_that_failed_is_shown_with_a_way_out(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, guard: Auth
) -> None:
    now = datetime.now(UTC)
    entered = site.passage("entry", PLATE, now - timedelta(minutes=20))
    await site.report(ingest_db, [entered, site.passage("exit", PLATE, now, "arrived")], now)
    assert "Nothing due" in waiting_part(await desk_of(app_client, worker_db, guard))
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE command SET state = 'uncertain'")
    shown = waiting_part(await desk_of(app_client, worker_db, guard))
    assert "The barrier did not confirm" in shown
    assert "<details" in shown
    assert " open>" in shown


async def test_a_second_reading_or_an_ended_stay_hides_nobody(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, guard: Auth
) -> None:
    now = datetime.now(UTC)
    entered = site.passage("entry", PLATE, now - timedelta(minutes=20))
    first = site.passage("exit", PLATE, now - timedelta(minutes=2), "arrived")
    await site.report(ingest_db, [entered, first], now)
    await site.report(ingest_db, [site.passage("exit", PLATE, now, "arrived")], now)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE command SET state = 'expired'")
    assert "The barrier did not confirm" in waiting_part(await desk_of(app_client, worker_db, guard))
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        await service.close_session(conn, session["id"], "mistaken for another", "user:guard")
    assert PLATE in waiting_part(await desk_of(app_client, worker_db, guard))


async def test_only_the_vehicle_that_came_last_stands_at_the_barrier(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, guard: Auth
) -> None:
    now = datetime.now(UTC)
    earlier = site.passage("exit", "粤B00001", now - timedelta(minutes=9), "arrived")
    await site.report(ingest_db, [earlier, site.passage("exit", PLATE, now, "arrived")], now)
    shown = waiting_part(await desk_of(app_client, worker_db, guard))
    assert PLATE in shown
    assert "粤B00001" not in shown


async def test_a_stay_is_ended_by_hand_and_no_longer_counted(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, guard: Auth, people: People
) -> None:
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", "", now - timedelta(days=3))], now)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    address = f"/api/v1/parking-sessions/{session['id']}/closings"
    viewer = await people.staff("viewer", site.project_id)
    refused = await app_client.post(address, json={"reason": "gone"}, headers={**viewer, **once()})
    assert refused.status_code == 403
    headers = {**guard, **once()}
    closed = await app_client.post(address, json={"reason": "left with a tow truck"}, headers=headers)
    assert (closed.status_code, closed.json()["state"]) == (201, "unmatched")
    assert (
        await app_client.post(address, json={"reason": "left with a tow truck"}, headers=headers)
    ).status_code == 201
    again = await app_client.post(address, json={"reason": "x"}, headers={**guard, **once()})
    assert (again.status_code, again.json()["code"]) == (409, "not-open")
    async with ingest_db.transaction(SYSTEM) as conn:
        (lot,) = await service.cars_inside(conn, site.project_id)
    assert lot.inside == 0


async def test_the_forms_of_the_desk_are_done_once_and_a_plate_is_found_as_it_is_written(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, ingest_db: Database, site: Site
) -> None:
    auth = await people.staff("guard", site.project_id)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    guard = Browser(app_client, auth)
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", "京A12345", now - timedelta(minutes=298))], now)
    (stay,) = await rows(ingest_db, "SELECT id FROM parking_session")
    at = f"/parking/sessions/{stay['id']}"
    for typed in ("京A12345", "京a·12345", " 京A 12345"):
        assert f'href="{at}"' in await guard.see(f"/parking?plate={typed}")
    async with worker_db.transaction(SYSTEM) as conn:
        due = (await service.quote(conn, stay["id"])).due
    for _ in range(2):
        await guard.send(f"/parking/lanes/{site.exit.id}/open", once="o" * 16, reason="parade")
        await guard.send(f"{at}/pay", once="p" * 16, amount=due, method="cash")
    assert len(await rows(worker_db, "SELECT FROM manual_opening")) == 1
    assert len(await rows(worker_db, "SELECT FROM payment")) == 1


async def test_lists_of_stays_tell_no_entry_that_nobody_saw(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, ingest_db: Database, site: Site, guard: Auth
) -> None:
    """A vehicle stands at the exit since forty minutes: that is not when it came, nor how long it stayed."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("exit", PLATE, now - timedelta(minutes=40), "arrived")], now)
    answer = await app_client.get("/api/v1/parking-sessions", headers=guard)
    assert [(one["plate"], one["entry_seen"]) for one in answer.json()["items"]] == [(PLATE, False)]
    page = await desk_of(app_client, worker_db, guard)
    row = text_of("<p " + page[page.rindex(f">{PLATE}") :])
    assert "not seen" in row
    assert "40 min" not in row


async def test_passages_set_aside_are_shown(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, guard: Auth
) -> None:
    now = datetime.now(UTC)
    stranger: Passage = site.passage("nowhere", "沪C99999", now)
    await site.report(ingest_db, [stranger], now)
    page = await desk_of(app_client, worker_db, guard)
    shown = page[page.index('id="unclaimed"') :]
    assert "沪C99999" in shown
    assert "nowhere" in shown
