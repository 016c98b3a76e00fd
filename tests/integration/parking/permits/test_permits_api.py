"""REST and pages of permits: who may do what, what is answered, and that a repetition sells nothing twice."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import httpx
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import local_day
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser
from tests.integration.parking.permits.holder import FIRST, SECOND, Home, make_home, make_permit, make_product
from tests.integration.parking.site import Site, rows

PERMITS = "/api/v1/parking-permits"
_COUNTS: dict[str, LiteralString] = {
    "permit": "SELECT count(*) FROM permit",
    "service_agreement": "SELECT count(*) FROM service_agreement",
}


@pytest.fixture
async def manager(people: People, site: Site) -> Auth:
    return await people.staff("manager", site.project_id)


@pytest.fixture
async def home(worker_db: Database, site: Site) -> Home:
    return await make_home(worker_db, site)


def owner(site: Site, home: Home, **values: object) -> dict[str, object]:
    told = {"project_id": site.project_id, "kind": "owner-space", "lot_ids": [site.lot_id], "plates": [FIRST]}
    return {**told, "person_id": home.person_id, "from_day": "2026-05-01", **values}


async def test_a_permit_is_made_shown_changed_and_ended(
    app_client: httpx.AsyncClient, manager: Auth, site: Site, home: Home
) -> None:
    async def post(address: str, body: object = None) -> httpx.Response:
        return await app_client.post(address, json=body, headers={**manager, **once()})

    made = await post(PERMITS, owner(site, home, space="B1-017", spaces=1, grace_days=3))
    assert made.status_code == 201, made.text
    permit = made.json()
    assert (permit["state"], permit["plates"], permit["valid_until"]) == ("active", [FIRST], None)
    assert datetime.fromisoformat(permit["valid_from"]) == datetime(2026, 4, 30, 16, tzinfo=UTC)
    one = f"{PERMITS}/{permit['id']}"
    assert (await post(f"{one}/plates", {"plate": SECOND})).json()["plates"] == [FIRST, SECOND]
    assert (await post(f"{one}/plate-removals", {"plate": FIRST})).json()["plates"] == [SECOND]
    assert (await post(f"{one}/suspensions", {"reason": "unpaid"})).json()["state"] == "suspended"
    assert (await post(f"{one}/resumptions")).json()["state"] == "active"
    holding = {"unit_id": home.unit_id, "note": "second car"}
    changed = (await app_client.put(f"{one}/holding", json=holding, headers=manager)).json()
    assert (changed["unit_id"], changed["person_id"], changed["note"]) == (home.unit_id, None, "second car")
    ended = (await post(f"{one}/endings", {"reason": "moved out"})).json()
    assert (ended["permit"]["state"], ended["refunded"]["amount"]) == ("ended", "0.00")
    detail = (await app_client.get(one, headers=manager)).json()
    assert [plate["plate"] for plate in detail["all_plates"]] == [FIRST, SECOND]
    assert [period["paid_by"] for period in detail["periods"]] == ["nothing"]
    found = await app_client.get(f"{PERMITS}?state=ended&plate={SECOND}", headers=manager)
    assert [item["id"] for item in found.json()["items"]] == [permit["id"]]


async def test_what_is_refused_names_the_field(
    app_client: httpx.AsyncClient, manager: Auth, site: Site, home: Home
) -> None:
    async def refused(**values: object) -> tuple[int, str]:
        answer = await app_client.post(PERMITS, json=owner(site, home, **values), headers={**manager, **once()})
        return answer.status_code, answer.json()["code"]

    assert await refused(from_day=None) == (422, "invalid-input")
    assert await refused(valid_from="2026-05-01T00:00:00Z") == (422, "invalid-input")
    assert await refused(until_day="2026-05-01") == (422, "bad-validity")
    assert await refused(lot_ids=[4711]) == (404, "no-lot")
    assert await refused(person_id=None) == (422, "no-holder")
    assert await refused(person_id=4711) == (404, "unknown-reference")
    assert await refused(plates=["!"]) == (422, "bad-plate")
    assert await refused(kind="monthly-card") == (422, "card-is-sold")


async def test_a_repeated_click_sells_and_renews_once(
    app_client: httpx.AsyncClient, people: People, manager: Auth, worker_db: Database, site: Site, home: Home
) -> None:
    cashier = await people.staff("cashier", site.project_id)
    card = {"project_id": site.project_id, "name": "Card", "price": "300.00", "lot_ids": [site.lot_id]}
    product = (await app_client.post("/api/v1/parking-cards", json=card, headers={**manager, **once()})).json()
    offer = (await app_client.get(f"/api/v1/parking-cards/{product['id']}/offer?months=2", headers=cashier)).json()
    assert offer["amount"] == {"amount": "600.00", "currency": "CNY"}
    sale = {"product_id": product["id"], "months": 2, "plates": [FIRST], "account_id": home.account_id}
    body = {**sale, "person_id": home.person_id, "pay": {"amount": offer["amount"], "method": "cash"}}
    key = {**cashier, **once()}
    sold = [await app_client.post("/api/v1/parking-card-sales", json=body, headers=key) for _ in range(2)]
    assert (sold[0].status_code, sold[1].json()) == (201, sold[0].json())
    other = await app_client.post("/api/v1/parking-card-sales", json=body, headers={**cashier, **once()})
    assert (other.status_code, other.json()["code"]) == (409, "plate-has-permit")
    one = f"{PERMITS}/{sold[0].json()['id']}"
    cost = (await app_client.get(f"{one}/renewal-offer", headers=cashier)).json()["amount"]
    renewal = {"months": 1, "after": sold[0].json()["valid_until"], "pay": {"amount": cost, "method": "wechat"}}
    # Two clicks with keys of their own, and a callback that is repeated.
    answers = [await app_client.post(f"{one}/renewals", json=renewal, headers={**cashier, **once()}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert answers[1].json()["code"] == "renewed-already"
    paid = await rows(worker_db, "SELECT sum(amount) AS paid FROM payment WHERE purpose = 'parking'")
    assert str(paid[0]["paid"]) == "900.00"


async def test_who_may_do_what(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, home: Home
) -> None:
    permit = await make_permit(worker_db, site)
    guard = await people.staff("guard", site.project_id)
    stranger = await people.staff("manager", (await people.project("elsewhere")).id)
    body = owner(site, home, plates=[SECOND])
    assert (await app_client.get(PERMITS, headers=guard)).json()["items"][0]["id"] == permit.id
    assert (await app_client.post(PERMITS, json=body, headers={**guard, **once()})).status_code == 403
    assert (await app_client.get(f"{PERMITS}/{permit.id}", headers=stranger)).status_code == 404
    assert (await app_client.post(PERMITS, json=body, headers={**stranger, **once()})).status_code == 404


async def test_residents_see_their_own(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, manager: Auth, site: Site, home: Home
) -> None:
    await make_permit(worker_db, site, (SECOND,))
    body = owner(site, home, person_id=None, unit_id=home.unit_id)
    mine = (await app_client.post(PERMITS, json=body, headers={**manager, **once()})).json()["id"]
    resident = await people.resident(site.project_id, home.person_id)
    assert (await app_client.get(PERMITS, headers=resident)).json()["items"] == [], "he does not live there"
    async with worker_db.transaction(SYSTEM) as conn:
        since = local_day(datetime.now(UTC), ZoneInfo("Asia/Shanghai")) - timedelta(days=1)
        await estate.create_occupancy(conn, site.project_id, home.unit_id, home.person_id, "owner", since)
    assert [one["id"] for one in (await app_client.get(PERMITS, headers=resident)).json()["items"]] == [mine]
    assert (await app_client.post(f"{PERMITS}/{mine}/resumptions", headers={**resident, **once()})).status_code == 403
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    page = await Browser(app_client, resident).see("/my/permits")
    assert FIRST in page
    assert SECOND not in page


async def test_a_card_is_sold_and_renewed_on_the_pages(
    app_client: httpx.AsyncClient, worker_db: Database, manager: Auth, site: Site, home: Home
) -> None:
    product = await make_product(worker_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, manager)
    assert "/parking/cards/sell" in await browser.see("/parking/permits")
    page = await browser.see(f"/parking/cards/sell?product_id={product.id}&months=2")
    assert field(page, "amount") == "600.00"
    told = {"product_id": product.id, "months": 2, "amount": "600.00", "start": field(page, "start")}
    form: dict[str, Any] = {**told, "plates": f"{FIRST}, {SECOND}", "account": "A-1", "method": "bill"}
    sold = await browser.send("/parking/cards/sell", **form)
    one = sold.headers["location"].partition("?")[0]
    await browser.send("/parking/cards/sell", 409, **form)
    for table in ("permit", "service_agreement"):
        (kept,) = await rows(worker_db, _COUNTS[table])
        assert kept["count"] == {"permit": 1, "service_agreement": 2}[table], "what is refused leaves nothing behind"
    page = await browser.see(f"{one}?months=1")
    renewal: dict[str, Any] = {name: field(page[page.index('id="renewal"') :], name) for name in ("after", "amount")}
    await browser.send(f"{one}/renew", months=1, method="cash", **renewal)
    await browser.send(f"{one}/renew", 409, months=1, method="cash", **renewal)
    (paid,) = await rows(worker_db, "SELECT count(*) FROM payment")
    assert paid["count"] == 1
    await browser.send(f"{one}/plates", plate="粤C11111")
    await browser.send(f"{one}/plates", plate=SECOND, change="remove")
    await browser.send(f"{one}/holding", account="A-1", renews="true", space="B1-01")
    await browser.send(f"{one}/state", 422, change="suspend", reason=" ")
    await browser.send(f"{one}/state", change="suspend", reason="unpaid")
    await browser.send(f"{one}/state", change="resume")
    assert "粤C11111" in await browser.see(f"/parking/permits?plate={FIRST}&state=active&kind=monthly-card&lot_id=")
    await browser.send(f"{one}/state", change="end", reason="moved out")
    refunds = await rows(worker_db, "SELECT amount, method FROM permit_refund")
    assert [(str(refund["amount"]), refund["method"]) for refund in refunds] == [("300.00", "cash")]


async def test_permits_and_cards_are_made_on_the_pages(
    app_client: httpx.AsyncClient, worker_db: Database, manager: Auth, site: Site, home: Home
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, manager)
    await browser.see("/parking/permits/new")
    form: dict[str, Any] = {"kind": "staff", "plates": FIRST, "lot_ids": [str(site.lot_id)], "note": "guard"}
    form["from_day"] = "2026-05-01"
    assert "NOPE" in (await browser.send("/parking/permits/new", 422, **{**form, "account": "NOPE"})).text
    made = await browser.send("/parking/permits/new", **form)
    assert "guard" in await browser.see(made.headers["location"])
    await browser.see("/parking/cards")
    card: dict[str, Any] = {"name": "Card", "price": "300", "lot_ids": [str(site.lot_id)], "months_from": "calendar"}
    await browser.send("/parking/cards", **card)
    await browser.send("/parking/cards", 409, **card)
    await browser.send("/parking/cards", 422, name="Free", price="0")
    (product,) = await rows(worker_db, "SELECT id FROM permit_product")
    await browser.send(f"/parking/cards/{product['id']}/withdraw")


def field(page: str, name: str) -> str:
    """The value of a field of a form."""
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', page) or re.search(
        rf'value="([^"]*)"[^>]*name="{name}"', page
    )
    assert found is not None, name
    return found[1]
