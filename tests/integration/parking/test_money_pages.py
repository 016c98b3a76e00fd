"""Pages of money and visitors of parking: they show what is there, and their forms do what they say."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.parking import service as parking
from tests.integration.app import Auth, People
from tests.integration.browser import Browser
from tests.integration.parking.site import Site, rows

PLATE = "京A12345"


async def _browser(client: httpx.AsyncClient, db: Database, auth: Auth) -> Browser:
    """His browser: pages know people by the cookie of a session."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(client, auth)


async def _shows(browser: Browser, address: str, *texts: str) -> None:
    page = await browser.see(address)
    for text in texts:
        assert text in page, (address, text)


@pytest.fixture
async def stay(ingest_db: Database, site: Site) -> int:
    """A stay of 8.00 that was not paid."""
    left = datetime.now(UTC) - timedelta(days=2)
    passages = [site.passage("entry", PLATE, left - timedelta(hours=5)), site.passage("exit", PLATE, left)]
    await site.report(ingest_db, passages, left)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    return int(session["id"])


async def test_staff_see_debts_and_refunds_and_decide(
    app_client: httpx.AsyncClient, worker_db: Database, owner_db: Database, site: Site, stay: int, people: People
) -> None:
    now = datetime.now(UTC)
    browser = await _browser(app_client, owner_db, await people.staff("manager", site.project_id))
    await _shows(browser, "/parking/debts", PLATE, "8.00", 'id="totals"')
    await _shows(browser, f"/parking/debts?plate={PLATE}&lot_id={site.lot_id}&left_from=2026-01-01", PLATE)
    for _ in range(2):  # the same form sent twice
        await browser.send(f"/parking/debts/{stay}/waive", once="w" * 16, amount="3.00", reason="broken barrier")
    await site.report(worker_db, [site.passage("entry", PLATE, now - timedelta(hours=4, minutes=58))], now)
    inside = (await rows(worker_db, "SELECT id FROM parking_session WHERE state = 'open'"))[0]["id"]
    await _shows(browser, f"/parking/sessions/{inside}", 'id="debts"', 'value="13.00"', 'value="8.00"')
    await browser.send(f"/parking/sessions/{inside}/pay", amount="13.00", method="cash")
    assert [row["amount"] for row in await rows(worker_db, "SELECT amount FROM payment")] == [Decimal("13.00")]

    (paid,) = await rows(worker_db, "SELECT id FROM payment")
    async with worker_db.transaction(SYSTEM) as conn:
        row = await (
            await conn.execute(
                """INSERT INTO payment_refund (project_id, payment_id, amount, currency, reason, subject)
                   VALUES (%s, %s, 1, 'CNY', 'paid-twice', %s) RETURNING id""",
                (site.project_id, paid["id"], PLATE),
            )
        ).fetchone()
    assert row is not None
    await _shows(browser, "/payment-refunds", PLATE, f"/payment-refunds/{row['id']}/decide")
    await browser.send(f"/payment-refunds/{row['id']}/decide", way="keep", note="nobody came for it")
    await _shows(browser, "/payment-refunds?state=kept", PLATE, "nobody came for it")
    await _shows(browser, "/online-payments")


async def test_staff_set_how_money_is_taken(
    app_client: httpx.AsyncClient, worker_db: Database, owner_db: Database, site: Site, people: People
) -> None:
    browser = await _browser(app_client, owner_db, await people.staff("manager", site.project_id))
    await _shows(browser, "/parking/money")
    fields: dict[str, Any] = {
        "debts": "show",
        "tax_percent": "6.5",
        "vehicles": "approve",
        "passes_a_month": "0",
        "pass_hours": "12",
    }
    await browser.send("/parking/money", **fields, public_page="true")
    async with worker_db.transaction(SYSTEM) as conn:
        policy = await parking.money_policy(conn, site.project_id)
    assert (policy.debts, policy.tax_percent, policy.free_passes) == ("show", Decimal("6.50"), False)
    await _shows(browser, "/parking/money", f"/park/{policy.public_code}")
    await _shows(browser, f"/park/{policy.public_code}", 'name="plate"')


async def test_a_resident_gives_passes_and_names_vehicles_and_staff_agree(
    app_client: httpx.AsyncClient, worker_db: Database, owner_db: Database, site: Site, people: People
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(Keys.generate()), site.project_id, "Wang")
    resident, manager = await people.resident(site.project_id, person.id), await people.staff("manager")
    browser = await _browser(app_client, owner_db, resident)
    await _shows(browser, "/visitor-passes", 'name="since"')
    begins = datetime.now(UTC) + timedelta(hours=9)
    ends = begins + timedelta(hours=2)
    times: dict[str, Any] = {"since": begins.strftime("%Y-%m-%dT%H:%M"), "until": ends.strftime("%Y-%m-%dT%H:%M")}
    for _ in range(2):  # the same form sent twice
        await browser.send("/visitor-passes", once="v" * 16, plate="粤B 22222", note="aunt", **times, free="true")
    (given,) = await rows(worker_db, "SELECT id, lower(valid) AS since, person_id FROM visitor_pass")
    assert given["person_id"] == person.id
    assert abs(given["since"] + timedelta(hours=8) - begins) < timedelta(minutes=1), "by the project's clocks"
    await _shows(browser, "/visitor-passes", "粤B22222", "aunt")
    await browser.send(f"/visitor-passes/{given['id']}/revoke")
    await _shows(browser, "/visitor-passes?every=true", "粤B22222")
    await _shows(browser, "/my/vehicles", 'action="/my/vehicles"')
    await browser.send("/my/vehicles", plate=PLATE)
    await _shows(browser, "/my/vehicles", PLATE)
    await _shows(browser, "/my/stays", "/my/vehicles")

    browser = await _browser(app_client, owner_db, manager)
    await _shows(browser, "/visitor-passes?every=true", "粤B22222")
    await _shows(browser, "/vehicle-requests", PLATE)
    (asked,) = await rows(worker_db, "SELECT id FROM vehicle_request")
    await browser.send(f"/vehicle-requests/{asked['id']}/decide", decision="approve")
    assert [row["plate"] for row in await rows(worker_db, "SELECT plate FROM vehicle")] == [PLATE]


async def test_what_is_no_plate_is_said_at_its_field_and_the_list_stays(
    app_client: httpx.AsyncClient, owner_db: Database, site: Site, stay: int, people: People
) -> None:
    browser = await _browser(app_client, owner_db, await people.staff("manager", site.project_id))
    for typed in ("x", "a;b"):
        page = await browser.see(f"/parking/debts?plate={typed}")
        assert 'aria-describedby="plate-problem"' in page
        assert f'value="{typed}"' in page
        assert f'href="/parking/sessions/{stay}"' in page
    await _shows(browser, f"/parking/debts?plate={PLATE}", f'href="/parking/sessions/{stay}"')
    assert "plate-problem" not in await browser.see(f"/parking/debts?plate={PLATE}")
