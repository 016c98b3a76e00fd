"""Tickets of vehicles without a plate: shown with a code to scan, and paid without signing in."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import NewBatch
from cloud.parking.coupons.redeeming import redeem_for
from cloud.parking.stays import tickets
from cloud.parking.visitors import public_pages
from tests.integration.app import People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.site import Site, rows


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do not ask how long an answer takes."""
    monkeypatch.setattr(public_pages, "_ANSWERS_AFTER_S", 0.0)


async def _page_of_project(db: Database, site: Site) -> str:
    async with db.transaction(SYSTEM) as conn:
        made = await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(), public=True)
    assert made.public_code is not None
    return made.public_code


async def _comes_in(db: Database, site: Site) -> str:
    """A vehicle without a plate that has been inside for hours; the id of its passage."""
    now = datetime.now(UTC)
    passage = site.passage("entry", "", now - timedelta(hours=4, minutes=58))
    await site.report(db, [passage], now)
    return passage.id


async def _ticket(db: Database, passage_id: str) -> str:
    (row,) = await rows(db, "SELECT code FROM parking_ticket WHERE passage_id = %s", (passage_id,))
    return str(row["code"])


async def _ask(client: httpx.AsyncClient, code: str, **fields: str) -> httpx.Response:
    page = await client.get(f"/park/{code}")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    return await client.post(f"/park/{code}", data={"csrf_token": token[1], **fields})


async def test_the_code_of_a_ticket_leads_to_what_is_to_pay(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    page = await _page_of_project(worker_db, site)
    passage_id = await _comes_in(ingest_db, site)
    guard = await people.staff("guard", site.project_id)
    body = {"passage_id": passage_id}
    given = await app_client.post("/api/v1/parking-tickets", json=body, headers={**guard, **once()})
    ticket = given.json()
    assert given.status_code == 201
    assert ticket["picture"].startswith("data:image/png;base64,")
    address = urlsplit(ticket["pay_at"])
    assert (address.path, parse_qs(address.query)) == (f"/park/{page}", {"ticket": [ticket["code"]]})
    scanned = await app_client.get(f"{address.path}?{address.query}")
    assert f'value="{ticket["code"]}"' in scanned.text
    shown = await _ask(app_client, page, ticket=f"{ticket['code'][:4]}-{ticket['code'][4:].lower()}")
    assert shown.status_code == 200
    assert "¥8.00" in text_of(shown.text)


async def test_an_unknown_ticket_a_plate_and_another_project_owe_nothing(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    page = await _page_of_project(worker_db, site)
    passage_id = await _comes_in(ingest_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        found = await tickets.issue_ticket(conn, UUID(passage_id), "user:guard")
    code = found.code
    unknown = "AAAAAAAA" if code != "AAAAAAAA" else "CCCCCCCC"
    for fields in ({"ticket": unknown}, {"plate": code}):
        answer = await _ask(app_client, page, **fields)
        assert "There is nothing to pay" in text_of(answer.text), fields
    for wrong in ("AAAA", "#AAAAAAA", "' OR 1=1"):
        assert (await _ask(app_client, page, ticket=wrong)).status_code == 422, wrong
    assert (await _ask(app_client, page, plate=f"#{code}")).status_code == 422


async def test_tickets_are_guessed_no_faster_than_plates(
    app_client: httpx.AsyncClient, worker_db: Database, site: Site
) -> None:
    page = await _page_of_project(worker_db, site)
    for turn in range(20):
        assert (await _ask(app_client, page, ticket=f"AAAAAA{turn:02}")).status_code == 200
    refused = await _ask(app_client, page, ticket="AAAAAAAA")
    assert refused.status_code == 429
    assert "Too many attempts" in text_of(refused.text)


async def test_the_desk_shows_and_prints_the_ticket(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    passage_id = await _comes_in(ingest_db, site)
    browser = Browser(app_client, await people.staff("guard", site.project_id))
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    await browser.see(f"/parking/passages/{passage_id}")
    await browser.send(f"/parking/passages/{passage_id}/ticket")
    code = await _ticket(ingest_db, passage_id)
    printed = f"{code[:4]}-{code[4:]}"
    without = await browser.see(f"/parking/passages/{passage_id}/ticket")
    assert printed in text_of(without)
    assert 'class="qr"' not in without
    await _page_of_project(worker_db, site)
    (stay,) = await rows(ingest_db, "SELECT id FROM parking_session WHERE plate = %s", (f"#{code}",))
    for place in (f"/parking/passages/{passage_id}/ticket", f"/parking/passages/{passage_id}",
                  f"/parking/sessions/{stay['id']}"):  # fmt: skip
        page = await browser.see(place)
        assert printed in text_of(page), place
        assert 'class="qr"' in page, place


async def test_staff_read_of_a_ticket_wherever_they_read_of_a_plate(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    passage_id = await _comes_in(ingest_db, site)
    now, today = datetime.now(UTC), datetime.now(UTC).date()
    async with worker_db.transaction(SYSTEM) as conn:
        ticket = await tickets.issue_ticket(conn, UUID(passage_id), "user:guard")
        merchant = await coupons.create_merchant(conn, site.project_id, "Noodles", "monthly")
        new = NewBatch(
            merchant.id, "hours", Decimal(1), Decimal(0), 1, today - timedelta(days=1), today + timedelta(days=2)
        )
        batch = await coupons.issue(conn, new, "user:manager")
        (coupon,) = (await coupons.list_coupons(conn, PageRequest(1), batch.id)).items
        await redeem_for(conn, site.project_id, f"#{ticket.code}", coupon.code, "public", now)
    odd = "UPDATE passage SET incident = 'second-entry', incident_with = id WHERE id = %s RETURNING id"
    await rows(worker_db, odd, (passage_id,))
    browser = Browser(app_client, await people.staff("manager", site.project_id))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    for place in ("/parking/incidents", f"/parking/passages/{passage_id}", f"/parking/coupon-batches/{batch.id}"):
        read = text_of(await browser.see(place))
        assert f"Ticket {ticket.code[:4]}-{ticket.code[4:]}" in read, place
        assert f"#{ticket.code}" not in read, place
