"""Users of merchants: they give out their merchant's coupons, see what it owes, and nothing of anybody else."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI
from psycopg import sql

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.periods import local_day
from cloud.parking import service as parking
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import NewBatch
from cloud.parking.visitors import public_pages
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.site import Site, rows
from tests.integration.test_routes import methods_of, path_of, routes, stated

PLATE = "京A12345"
ZONE = ZoneInfo("Asia/Shanghai")
OWN = {
    *("project", "parking_merchant", "coupon_batch", "coupon", "coupon_redemption", "coupon_handout"),
    "merchant_payment",
}
"""Tables of which a merchant's user sees rows."""
OF_NOBODY = {"channel", "live_floor"}
"""Tables that have no project."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do not ask how long an answer takes."""
    monkeypatch.setattr(public_pages, "_ANSWERS_AFTER_S", 0.0)


@dataclass
class Shop:
    """A merchant with coupons for two hours, and somebody who gives them out."""

    merchant_id: int
    batch_id: int
    auth: Auth


async def _shop(db: Database, people: People, site: Site, name: str, count: int = 3) -> Shop:
    today = local_day(datetime.now(UTC), ZONE)
    new = NewBatch(0, "hours", Decimal(2), Decimal(3), count, today, today + timedelta(days=2))
    async with db.transaction(SYSTEM) as conn:
        merchant = await coupons.create_merchant(conn, site.project_id, name, "monthly")
        batch = await coupons.issue(conn, replace(new, merchant_id=merchant.id), "user:admin")
        await coupons.take_payment(conn, merchant.id, Decimal(1), "cash", today)
    return Shop(merchant.id, batch.id, await people.merchant(site.project_id, merchant.id))


@pytest.fixture
async def shop(worker_db: Database, people: People, site: Site) -> Shop:
    """The noodle house."""
    return await _shop(worker_db, people, site, "Noodles")


@pytest.fixture
async def other(worker_db: Database, people: People, site: Site) -> Shop:
    """The tea house beside it."""
    return await _shop(worker_db, people, site, "Tea")


async def _enter(db: Database, site: Site, plate: str = PLATE) -> int:
    now = datetime.now(UTC)
    await site.report(db, [site.passage("entry", plate, now - timedelta(hours=4, minutes=58))], now)
    (session,) = await rows(db, "SELECT id FROM parking_session WHERE plate = %s AND state = 'open'", (plate,))
    return int(session["id"])


async def _as_pages(db: Database) -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")


async def _give(client: httpx.AsyncClient, auth: Auth, batch_id: int, plate: str = PLATE) -> httpx.Response:
    body = {"batch_id": batch_id, "plate": plate}
    return await client.post("/api/v1/shop/gifts", json=body, headers={**auth, **once()})


async def test_a_coupon_given_to_a_plate_counts_at_once(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, shop: Shop
) -> None:
    session_id = await _enter(ingest_db, site)
    given = await _give(app_client, shop.auth, shop.batch_id, "京a·12345")
    assert given.status_code == 201, given.text
    async with worker_db.transaction(SYSTEM) as conn:
        quote = await parking.quote(conn, session_id)
    assert [step.label for step in quote.steps if step.kind == "coupon-hours"] == [given.json()["code"]]
    left = (await app_client.get("/api/v1/shop/coupon-batches", headers=shop.auth)).json()["items"]
    assert [(one["id"], one["left"]) for one in left] == [(shop.batch_id, 2)]
    used = (await app_client.get("/api/v1/shop/coupons", headers=shop.auth)).json()["items"]
    assert [one["plate"] for one in used] == ["京A···45"]
    month = local_day(datetime.now(UTC), ZONE)
    owed = (await app_client.get(f"/api/v1/shop/statement?month={month}", headers=shop.auth)).json()
    assert [(use["used"], use["owed"]) for use in owed["uses"]] == [(1, "3.00")]
    assert owed["after"]["amount"] == "2.00"


async def test_what_is_not_his_or_not_there_is_not_given(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, shop: Shop, other: Shop
) -> None:
    assert (await _give(app_client, shop.auth, shop.batch_id)).status_code == 404  # not inside
    await _enter(ingest_db, site)
    assert (await _give(app_client, shop.auth, other.batch_id)).status_code == 404
    for _ in range(3):
        assert (await _give(app_client, shop.auth, shop.batch_id)).status_code == 201
    none_left = await _give(app_client, shop.auth, shop.batch_id)
    assert (none_left.status_code, none_left.json()["code"]) == (409, "no-coupon-left")
    assert len(await rows(ingest_db, "SELECT FROM coupon_redemption WHERE merchant_id = %s", (other.merchant_id,))) == 0


async def test_a_code_is_scanned_and_handed_in_by_the_customer(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, shop: Shop, other: Shop
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(), public=True)
    await _enter(ingest_db, site)
    body = {"batch_id": shop.batch_id}
    codes = []
    for _ in range(3):
        made = await app_client.post("/api/v1/shop/handouts", json=body, headers={**shop.auth, **once()})
        assert made.status_code == 201, made.text
        codes.append(made.json()["code"])
    assert len(set(codes)) == 3  # nobody else gets one that was shown
    assert (await _give(app_client, shop.auth, shop.batch_id)).status_code == 409
    place = f"/api/v1/shop/handouts/{made.json()['id']}"
    assert (await app_client.get(place, headers=other.auth)).status_code == 404
    address = urlsplit(made.json()["hand_in_at"])
    page = await app_client.get(f"{address.path}?{address.query}")
    assert codes[-1] in text_of(page.text)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {"csrf_token": token[1], "coupon": codes[-1], "plate": PLATE}
    handed_in = await app_client.post(f"{address.path}/coupon", data=form)
    assert handed_in.status_code == 200, handed_in.text
    assert "The coupon counts for this stay." in text_of(handed_in.text)
    assert (await app_client.post(f"{address.path}/coupon", data=form)).status_code == 409
    assert (await app_client.get(place, headers=shop.auth)).json()["used"] is True


async def test_he_sees_rows_of_his_merchant_and_no_others(
    web_db: Database, owner_db: Database, ingest_db: Database, app_client: httpx.AsyncClient, site: Site, shop: Shop,
    other: Shop,
) -> None:  # fmt: skip
    """Every table of the database, without any WHERE."""
    await _enter(ingest_db, site)
    for one in (shop, other):
        assert (await _give(app_client, one.auth, one.batch_id)).status_code == 201
        body = {"batch_id": one.batch_id}
        answer = await app_client.post("/api/v1/shop/handouts", json=body, headers={**one.auth, **once()})
        assert answer.status_code == 201
    async with owner_db.transaction(SYSTEM) as conn:
        tables = await (
            await conn.execute(
                """SELECT c.relname AS name FROM pg_class c
                   WHERE c.relkind IN ('r', 'p', 'v') AND c.relnamespace = 'public'::regnamespace
                     AND has_table_privilege('gatemeter_web', c.oid, 'SELECT') ORDER BY 1"""
            )
        ).fetchall()
    seen: dict[str, list[dict[str, object]]] = {}
    asker = Asker("merchant", (site.project_id,), user_id=-1, merchants=(shop.merchant_id,))
    for table in tables:
        async with web_db.transaction(asker) as conn:
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table["name"]))
            found = await (await conn.execute(query)).fetchall()
        if found:
            seen[table["name"]] = found
    assert set(seen) - OF_NOBODY == OWN
    assert [row["id"] for row in seen["parking_merchant"]] == [shop.merchant_id]
    whose = {row["merchant_id"] for name in OWN - {"project", "parking_merchant", "coupon"} for row in seen[name]}
    assert whose == {shop.merchant_id}
    assert {row["batch_id"] for row in seen["coupon"]} == {shop.batch_id}
    for name in ("parking_merchant", "coupon_batch", "coupon", "coupon_redemption", "merchant_link"):
        async with web_db.transaction(asker) as conn:
            statement = sql.SQL("UPDATE {} SET project_id = project_id").format(sql.Identifier(name))
            assert (await conn.execute(statement)).rowcount == 0, name


async def test_no_other_route_is_open_to_him(app: FastAPI, app_client: httpx.AsyncClient, shop: Shop) -> None:
    walked = 0
    for route in routes(app):
        if stated(route) & {"public", "self.read", "coupons.give"} or not path_of(route).startswith("/api/"):
            continue
        path = path_of(route)
        for name in route.param_convertors:
            path = path.replace("{" + name + "}", "1")
        for method in methods_of(route):
            answer = await app_client.request(method, path, headers={**shop.auth, **once()})
            assert answer.status_code in (403, 422), (method, path, answer.text)
            walked += 1
    assert walked > 100


async def test_staff_make_a_login_and_end_it(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, ingest_db: Database, site: Site, shop: Shop
) -> None:
    manager = await people.staff("manager", site.project_id)
    await _as_pages(worker_db)
    office = Browser(app_client, manager)
    place = f"/parking/merchants/{shop.merchant_id}"
    await office.see(place)
    made = await office.send(f"{place}/users", 200, login="wang", display_name="Wang")
    password = re.search(r'id="password">([^<]+)<', made.text)
    assert password is not None
    assert "wang" in text_of(await office.see(place))
    app_client.cookies.delete(SESSION_COOKIE)
    form = {"login": "wang", "password": password[1], "csrf_token": app_client.cookies["csrf_token"]}
    signed_in = await app_client.post("/login", data=form)
    assert (signed_in.status_code, signed_in.headers["Location"]) == (303, "/")
    assert (await app_client.get("/")).headers["Location"] == "/shop"
    await _enter(ingest_db, site)
    page = await app_client.get("/shop", headers={"Accept-Language": "en"})
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    gift = {"csrf_token": token[1], "once": "a" * 16, "batch_id": str(shop.batch_id), "plate": PLATE}
    for _ in range(2):  # the same form sent twice
        assert (await app_client.post("/shop/gifts", data=gift)).status_code == 303
    assert len(await rows(ingest_db, "SELECT FROM coupon_redemption")) == 1
    assert "京A···45" in text_of((await app_client.get("/shop")).text)
    assert (await app_client.get("/shop/statement")).status_code == 200
    assert (await app_client.get("/parking/coupons")).status_code == 403
    assert (await app_client.get("/exceptions")).headers["Location"] == "/shop"
    (login,) = await rows(worker_db, "SELECT user_id FROM merchant_link l JOIN app_user u ON u.id = l.user_id "
                                     "WHERE u.login = 'wang'")  # fmt: skip
    by_program = {**await people.staff("manager", site.project_id), **once()}
    ended = f"/api/v1/parking-merchants/{shop.merchant_id}/users/{login['user_id']}/endings"
    assert (await app_client.post(ended, headers=by_program)).status_code == 201
    assert (await app_client.get("/shop")).headers["Location"].startswith("/login")


async def test_the_forms_of_the_office_are_done_once(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, shop: Shop
) -> None:
    """A payment that is booked twice is money that nobody gave; coupons that are issued twice are owed twice."""
    manager = await people.staff("manager", site.project_id)
    await _as_pages(worker_db)
    office = Browser(app_client, manager)
    place = f"/parking/merchants/{shop.merchant_id}"
    await office.see(place)
    day = local_day(datetime.now(UTC), ZONE).isoformat()
    batch: dict[str, Any] = {"kind": "hours", "value": "2", "price": "1", "count": "5"}
    for _ in range(2):
        await office.send(f"{place}/payments", once="p" * 16, amount="30.00", method="cash")
        await office.send(f"{place}/batches", once="b" * 16, valid_from=day, last_day=day, **batch)
    paid = await rows(worker_db, "SELECT FROM merchant_payment WHERE amount = 30")
    assert len(paid) == 1
    assert len(await rows(worker_db, "SELECT FROM coupon_batch WHERE count = 5")) == 1


async def test_only_who_manages_merchants_makes_logins(
    app_client: httpx.AsyncClient, people: People, site: Site, shop: Shop
) -> None:
    place = f"/api/v1/parking-merchants/{shop.merchant_id}/users"
    body = {"login": "li", "display_name": "Li"}
    for role in ("guard", "cashier", "viewer"):
        auth = await people.staff(role, site.project_id)
        assert (await app_client.post(place, json=body, headers={**auth, **once()})).status_code == 403, role
    elsewhere = await people.staff("manager", (await people.project()).id)
    assert (await app_client.post(place, json=body, headers={**elsewhere, **once()})).status_code == 404
    key = {**await people.staff("manager", site.project_id), **once()}
    made = await app_client.post(place, json=body, headers=key)
    again = await app_client.post(place, json=body, headers=key)
    assert made.status_code == 201
    assert made.json()["password"]
    assert (again.json()["user_id"], again.json()["password"]) == (made.json()["user_id"], "")


async def test_the_form_that_makes_a_login_makes_one(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, shop: Shop
) -> None:
    """Sent twice it shows the password once, and leads to the login that it made."""
    manager = await people.staff("manager", site.project_id)
    await _as_pages(worker_db)
    office = Browser(app_client, manager)
    place = f"/parking/merchants/{shop.merchant_id}"
    assert 'name="once"' in (await office.see(place)).split('id="users"')[1].split('id="statement"')[0]
    first = await office.send(f"{place}/users", 200, once="u" * 16, login="zhao", display_name="Zhao")
    assert 'id="password"' in first.text
    again = await office.send(f"{place}/users", 303, once="u" * 16, login="zhao", display_name="Zhao")
    assert again.headers["Location"].startswith(place)
    assert len(await rows(worker_db, "SELECT FROM app_user WHERE login = 'zhao'")) == 1
    await office.send(f"{place}/users", 409, once="v" * 16, login="zhao")
    await office.send(f"{place}/users", 422, once="", login="qian")
