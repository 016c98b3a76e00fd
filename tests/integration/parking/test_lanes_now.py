"""The guard's desk by plain pages: every lane with its last vehicle, opening, money, the plate; and the stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from cloud.parking.desk.hub import DeskStream, desk_hub
from cloud.parking.desk.repository import LaneNow
from cloud.parking.snapshots import StreamRules
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.site import Site, minutes, openings, rows

PLATE = "京A12345"


@pytest.fixture
async def guard(people: People, site: Site) -> Auth:
    return await people.staff("guard", site.project_id)


@pytest.fixture
async def browser(app_client: httpx.AsyncClient, worker_db: Database, guard: Auth) -> Browser:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(app_client, guard)


def card(page: str, lane_id: int) -> str:
    """What people read of one lane."""
    start = page.index(f'id="lane-{lane_id}"')
    return text_of("<p " + page[start : page.index("</section>", start)])


async def at_exit(db: Database, site: Site, plate: str = PLATE, *, hours: int = 2) -> None:
    now = datetime.now(UTC)
    entered = site.passage("entry", plate, now - timedelta(hours=hours))
    await site.report(db, [entered, site.passage("exit", plate, now, "arrived")], now)


async def test_every_lane_in_use_shows_what_it_saw_last(
    ingest_db: Database, worker_db: Database, site: Site, browser: Browser
) -> None:
    page = await browser.see("/parking/desk")
    assert "No vehicle for hours" in card(page, site.exit.id)
    await at_exit(ingest_db, site)
    page = await browser.see(f"/parking/desk?lane={site.exit.id}")
    assert "passed" in card(page, site.entry.id)
    shown = card(page, site.exit.id)
    assert PLATE in shown
    assert "Due:" in shown
    async with worker_db.transaction(SYSTEM) as conn:
        await service.retire_lane(conn, site.entry.id)
    assert f'id="lane-{site.entry.id}"' not in await browser.see("/parking/desk")


async def test_who_needs_a_person_is_marked_at_entries_and_exits(
    ingest_db: Database, site: Site, browser: Browser
) -> None:
    def marked(page: str) -> set[int]:
        lanes = (site.entry.id, site.exit.id)
        return {lane for lane in lanes if f'desk-stuck" id="lane-{lane}"' in page}

    now = datetime.now(UTC)
    await at_exit(ingest_db, site)
    assert marked(await browser.see("/parking/desk")) == set(), "money lets it out"
    unread = site.passage("entry", "", now, "arrived")
    await site.report(ingest_db, [unread, site.passage("exit", "粤B00001", now + minutes(1), "arrived")], now)
    assert marked(await browser.see("/parking/desk")) == {site.entry.id, site.exit.id}
    await site.report(ingest_db, [site.passage("entry", "", now, "passed", unread)], now)
    assert marked(await browser.see("/parking/desk")) == {site.exit.id}


async def test_a_vehicle_that_owes_from_before_is_known_at_an_entry(
    ingest_db: Database, site: Site, browser: Browser
) -> None:
    now = datetime.now(UTC)
    gone = [site.passage("entry", "京A12345", now - minutes(600)), site.passage("exit", "京A12345", now - minutes(300))]
    back = site.passage("entry", "京A12345", now, "arrived")
    await site.report(ingest_db, [*gone, back], now)
    assert "Owes ¥8.00 for earlier stays" in await browser.see("/parking/desk")
    other = site.passage("entry", "粤B00001", now + minutes(1), "arrived")
    await site.report(ingest_db, [other], now + minutes(1))
    assert "for earlier stays" not in await browser.see("/parking/desk")


async def test_money_is_taken_as_it_was_shown_and_once(ingest_db: Database, site: Site, browser: Browser) -> None:
    await at_exit(ingest_db, site)
    form = await browser.see(f"/parking/desk/lanes/{site.exit.id}/cash")
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    async with ingest_db.transaction(SYSTEM) as conn:
        due = (await service.quote(conn, session["id"])).total
    assert f'value="{due}"' in form
    address = f"/parking/desk/lanes/{site.exit.id}/cash"
    sent: dict[str, Any] = {"session_id": session["id"], "method": "cash"}
    refused = await browser.send(address, 409, **sent, amount=due + 1)
    assert "is due now" in text_of(refused.text)
    for _ in range(2):
        done = await browser.send(address, **sent, amount=due, once="the same form")
        assert done.headers["Location"].endswith("done=paid-and-opened")
    (paid,) = await rows(ingest_db, "SELECT amount FROM payment")
    assert paid["amount"] == Decimal(due)
    assert "Nothing to take here" in text_of(await browser.see(address))


async def test_a_barrier_is_opened_by_hand_for_a_reason(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, browser: Browser, guard: Auth
) -> None:
    address = f"/parking/desk/lanes/{site.exit.id}/open"
    assert "Ambulance" in text_of(await browser.see(address))
    refused = await browser.send(address, 422, code="other")
    assert "every opening by hand is accounted for" in text_of(refused.text)
    for _ in range(2):
        await browser.send(address, code="emergency", once="the same form")
    await browser.send(address, code="other", reason="parade")
    assert [one["reason"] for one in await openings(ingest_db)] == ["emergency", "parade"]
    kept = await rows(ingest_db, "SELECT code, reason, shift_id FROM manual_opening ORDER BY id")
    assert kept == [
        {"code": "emergency", "reason": "emergency", "shift_id": None},
        {"code": "other", "reason": "parade", "shift_id": None},
    ]
    async with worker_db.transaction(SYSTEM) as conn:
        await service.retire_lane(conn, site.exit.id)
        await conn.execute("UPDATE access_token SET kind = 'bearer'")
    answer = await app_client.post(
        f"/api/v1/parking-lanes/{site.exit.id}/openings", json={"code": "emergency"}, headers={**guard, **once()}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "lane-retired")


async def test_a_misread_plate_is_corrected_at_the_lane(ingest_db: Database, site: Site, browser: Browser) -> None:
    now = datetime.now(UTC)
    seen = [site.passage("entry", PLATE, now - minutes(190)), site.passage("entry", "粤B00001", now - minutes(180))]
    await site.report(ingest_db, [*seen, site.passage("exit", "京A12346", now, "arrived")], now)
    address = f"/parking/desk/lanes/{site.exit.id}/plate"
    assert f'value="{PLATE}"' in await browser.see(address)
    (passage,) = await rows(ingest_db, "SELECT id FROM passage WHERE direction = 'exit'")
    sent: dict[str, Any] = {"passage_id": passage["id"], "candidate": PLATE}
    await browser.send(address, 422, **sent, reason="")
    await browser.send(address, **sent, reason="seen by the guard")
    shown = card(await browser.see("/parking/desk"), site.exit.id)
    assert PLATE in shown
    assert "Due:" in shown


async def test_the_next_incident_is_the_latest_that_nobody_has_looked_at(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, browser: Browser
) -> None:
    await browser.see("/parking/desk")
    nothing = await app_client.get("/parking/desk/next-incident")
    assert nothing.headers["Location"] == "/parking/incidents"
    now = datetime.now(UTC)
    odd = site.passage("exit", PLATE, now, "passed")
    await site.report(ingest_db, [odd], now)
    found = await app_client.get("/parking/desk/next-incident")
    assert found.headers["Location"] == f"/parking/passages/{odd.id}"


async def test_who_may_not_operate_sees_no_desk(
    app_client: httpx.AsyncClient, worker_db: Database, site: Site, people: People
) -> None:
    auth = await people.staff("viewer", site.project_id)
    address = f"/api/v1/parking-lanes-now?project_id={site.project_id}"
    assert (await app_client.get(address, headers=auth)).status_code == 403
    stranger = await people.staff("guard", (await people.project()).id)
    assert (await app_client.get(address, headers=stranger)).status_code == 404


async def test_a_desk_is_told_all_at_first_then_what_changed_and_catches_up(
    app: FastAPI, ingest_db: Database, site: Site
) -> None:
    hub = desk_hub(app.state.db)
    hub.rules = StreamRules(poll_s=0.02)

    @asynccontextmanager
    async def watching(known: str | None) -> AsyncIterator[DeskStream]:
        async with hub.stream(1, site.project_id, None, known) as stream:
            yield stream

    async def told(stream: DeskStream) -> tuple[list[LaneNow], str]:
        async with asyncio.timeout(60):
            changed = await stream.next(10)
        assert changed is not None
        return list(changed.items), changed.position

    async with watching(None) as stream:
        first, _ = await told(stream)
        assert [one.lane_id for one in first] == [site.entry.id, site.exit.id]
        await at_exit(ingest_db, site)
        known = ""
        seen: set[int] = set()
        while seen != {site.entry.id, site.exit.id}:
            changed, known = await told(stream)
            seen |= {one.lane_id for one in changed}
    async with watching(known) as stream:
        assert (await told(stream))[0] == []
    await site.report(ingest_db, [site.passage("entry", "粤B00001", datetime.now(UTC))], datetime.now(UTC))
    async with watching(known) as stream:
        changed, _ = await told(stream)
        assert [one.last.plate for one in changed if one.last and one.lane_id == site.entry.id] == ["粤B00001"]
    await hub.close()


async def test_an_error_that_nobody_expected_ends_the_streams_and_who_comes_back_is_told_again(
    app: FastAPI, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser comes back by itself from a stream that ended, and never from one that is silent."""
    hub = desk_hub(app.state.db)
    hub.rules = StreamRules(poll_s=0.02)
    look = hub._look_at

    async def broken(*_: object) -> list[LaneNow]:
        raise ValueError("a row that nobody thought of")

    async with asyncio.timeout(60), hub.stream(1, site.project_id, None, None) as stream:
        assert await stream.next(10) is not None
        monkeypatch.setattr(hub, "_look_at", broken)
        assert await stream.next(10) is None
        assert stream.closed
    monkeypatch.setattr(hub, "_look_at", look)
    async with asyncio.timeout(60), hub.stream(1, site.project_id, None, None) as stream:
        assert await stream.next(10) is not None
        assert await stream.next(0.1) is None
        assert not stream.closed
    await hub.close()
