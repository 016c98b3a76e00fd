"""Pages and REST of fee rules and coupons: tried before they are published, never changed afterwards."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest

from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.parking.coupons import redeeming
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser
from tests.integration.parking.site import NOON, Site, minutes, rows

PLATE = "京A12345"
RULE = """\
name: Two yuan an hour
schedule:
  free_minutes: 30
  unit: {minutes: 60, price: "2.00"}
  caps: {per_24_hours: "1.00"}
"""
CONTENT = {"name": "Two yuan", "schedule": {"unit": {"minutes": 60, "price": "2.00"}}}


@pytest.fixture
async def manager(people: People, site: Site) -> Auth:
    """Who may write rules of the lot."""
    return await people.staff("manager", site.project_id)


@pytest.fixture
async def browser(app_client: httpx.AsyncClient, people: People, manager: Auth) -> Browser:
    """The manager's browser."""
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(app_client, manager)


@pytest.fixture
async def stay(ingest_db: Database, site: Site) -> int:
    """A stay of five hours that cost 8.00; its session."""
    leaves = NOON + minutes(300)
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, leaves)], leaves)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    return int(session["id"])


def _table(page: str, name: str) -> str:
    start = page.index(f'id="{name}"')
    return page[start : page.index("</table>", start)]


async def test_a_rule_is_tried_on_real_stays_before_it_is_published(
    browser: Browser, web_db: Database, site: Site, stay: int
) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    assert "free_minutes: 90" in await browser.see(f"{address}?tab=yaml")
    tried = (await browser.send(f"{address}/preview", 200, rule=RULE, valid_from="2026-06-01")).text
    last = _table(tried, "last-stays")
    assert (f"/parking/sessions/{stay}" in last, re.findall(r"\d+\.00", last)) == (True, ["8.00", "1.00"] * 2)
    assert "nobody ever pays that charge in full" in tried
    await browser.send(address, rule=RULE, valid_from="2026-06-01")
    versions = _table(await browser.see(address), "versions")
    assert re.findall(r"fees/(\d)\"", versions) == ["2", "1"]
    assert "per_24_hours: '1.00'" in unescape(await browser.see(f"{address}/2"))
    assert "per_24_hours: '20.00'" in unescape(await browser.see(f"{address}?version=1&tab=yaml"))
    refused = await browser.send(address, 409, rule=RULE, valid_from="2026-06-01")
    assert "begin later" in refused.text
    async with web_db.transaction(site.staff) as conn:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            await conn.execute("UPDATE parking_rule_version SET content = '{}'")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('price: "2.00"', "price: 2.00"), ["Line 4", "schedule.unit.price", "quoted amount"]),
        (("name:", "nmae:"), ["this key is required", "unknown key"]),
        (("free_minutes: 30", "free_minutes: -1"), ["schedule.free_minutes"]),
        (("schedule:", "schedule: ["), ["valid YAML"]),
        (("name: Two yuan an hour", "name: &a x\nsource: *a"), ["no references"]),
        ((RULE, ""), ["a mapping of keys"]),
    ],
)
async def test_what_is_wrong_with_a_rule_is_said_and_nothing_is_published(
    browser: Browser, worker_db: Database, site: Site, change: tuple[str, str], words: list[str]
) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    text = RULE.replace(*change)
    await browser.see(address)
    previewed = (await browser.send(f"{address}/preview", 200, rule=text)).text
    problems = previewed[previewed.index('id="problems"') :]
    assert [word for word in words if word not in problems] == []
    if text:
        refused = await browser.send(address, 422, rule=text, valid_from="2026-06-01")
        assert words[0] in refused.text
    assert len(await rows(worker_db, "SELECT id FROM parking_rule_version")) == 1


async def test_rules_over_rest(
    app_client: httpx.AsyncClient, manager: Auth, people: People, site: Site, stay: int
) -> None:
    address = f"/api/v1/parking-lots/{site.lot_id}"
    body: Mapping[str, Any] = {"content": CONTENT, "day": "2026-06-01"}
    tried = (await app_client.post(f"{address}/rule-trials", json=body, headers={**manager, **once()})).json()
    assert [(one["session_id"], one["before"], one["after"]) for one in tried["stays"]] == [(stay, "8.00", "10.00")]
    assert {one["amount"] for one in tried["examples"] if one["minutes"] == 60} == {"2.00"}
    body = {"content": CONTENT, "valid_from": "2026-06-01"}
    made = await app_client.post(f"{address}/rules", json=body, headers={**manager, **once()})
    assert (made.status_code, made.json()["content"], made.json()["version"]) == (201, CONTENT, 2)
    listed = (await app_client.get(f"{address}/rules", headers=manager)).json()["items"]
    assert [(one["version"], one["valid_until"]) for one in listed] == [(1, "2026-06-01"), (2, None)]
    gap = {"unit": None, "windows": [{"start": "08:00", "end": "18:00", "minutes": 30, "price": "1.00"}]}
    body = {"content": {**CONTENT, "schedule": gap}, "valid_from": "2026-07-01"}
    wrong = await app_client.post(f"{address}/rules", json=body, headers={**manager, **once()})
    assert wrong.status_code == 422
    assert "00:00 is in no window" in wrong.text
    guard = await people.staff("guard", site.project_id)
    body = {"content": CONTENT, "valid_from": "2026-08-01"}
    assert (await app_client.post(f"{address}/rules", json=body, headers={**guard, **once()})).status_code == 403
    assert (await app_client.get(f"{address}/rules", headers=guard)).status_code == 200


async def test_a_merchant_his_coupons_and_his_month_on_pages(browser: Browser, ingest_db: Database, site: Site) -> None:
    assert "No merchant yet" in await browser.see("/parking/coupons")
    await browser.send("/parking/merchants", name="Noodle <house>", settlement="monthly")
    (merchant,) = await rows(ingest_db, "SELECT id FROM parking_merchant")
    home = f"/parking/merchants/{merchant['id']}"
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    fields: dict[str, Any] = {
        "kind": "hours",
        "value": "1.5",
        "price": "3.00",
        "count": "2",
        "per_plate_and_day": "",
        "lot_id": "",
    }
    days: dict[str, Any] = {
        "valid_from": (today - timedelta(days=1)).isoformat(),
        "last_day": (today + timedelta(days=1)).isoformat(),
    }
    await browser.send(f"{home}/batches", **fields, **days)
    refused = await browser.send(f"{home}/batches", 422, **{**fields, "value": "0"}, **days)
    assert "0.25 to 168" in refused.text
    (batch,) = await rows(ingest_db, "SELECT id FROM coupon_batch")
    shown = await browser.see(f"/parking/coupon-batches/{batch['id']}")
    codes = re.findall(r"<code>(\w{5}-\w{5})</code>", shown)
    assert ("1.5 h free" in shown, len(codes)) == (True, 2)
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    refused = await browser.send("/parking/coupons", 404, plate=PLATE, code="nothing")
    assert 'value="nothing"' in refused.text
    done = await browser.send("/parking/coupons", plate=PLATE, code=codes[0])
    assert done.headers["Location"].startswith("/parking/sessions/")
    assert codes[0].replace("-", "") in await browser.see(done.headers["Location"])
    page = await browser.see(home)
    statement = page[page.index('id="statement"') :]
    assert "1.5 h free" in statement
    await browser.send(f"{home}/payments", amount="3.00", method="cash")
    assert [row["amount"] for row in await rows(ingest_db, "SELECT amount::text FROM merchant_payment")] == ["3.00"]
    await browser.send(f"/parking/coupon-batches/{batch['id']}/withdraw")
    assert "withdrawn" in await browser.see(f"/parking/coupon-batches/{batch['id']}")


async def test_a_coupon_that_is_refused_halfway_is_not_used_up(
    browser: Browser, ingest_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_order(conn: Conn, session_id: int, now: datetime) -> UUID | None:
        raise Conflict("cannot", "the gateway takes no orders")

    await browser.see("/parking/coupons")
    await browser.send("/parking/merchants", name="Noodles", settlement="monthly")
    (merchant,) = await rows(ingest_db, "SELECT id FROM parking_merchant")
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    first, last = ((today + timedelta(days=days)).isoformat() for days in (-1, 1))
    new: dict[str, Any] = {"kind": "free", "price": "0", "count": "1", "valid_from": first, "last_day": last}
    await browser.send(f"/parking/merchants/{merchant['id']}/batches", **new)
    (coupon,) = await rows(ingest_db, "SELECT code FROM coupon")
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    monkeypatch.setattr(redeeming, "let_out_if_settled", no_order)
    refused = await browser.send("/parking/coupons", 409, plate=PLATE, code=coupon["code"])
    assert f'value="{coupon["code"]}"' in refused.text
    assert await rows(ingest_db, "SELECT FROM coupon_redemption") == []


async def test_coupons_over_rest(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, site: Site, manager: Auth
) -> None:
    async def post(path: str, body: Mapping[str, Any], auth: Auth = manager, status: int = 201) -> dict[str, Any]:
        answer = await app_client.post(f"/api/v1/{path}", json=body, headers={**auth, **once()})
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    guard = await people.staff("guard", site.project_id)
    new = {"project_id": site.project_id, "name": "Noodles", "settlement": "balance"}
    merchant = await post("parking-merchants", new)
    assert (await post("parking-merchants", new, status=409))["code"] == "already-exists"
    await post("parking-merchants", {**new, "name": "x"}, guard, 403)
    money = {"amount": {"amount": "10.00", "currency": "CNY"}, "method": "cash", "paid_on": "2026-05-01"}
    paid = await post(f"parking-merchants/{merchant['id']}/payments", money)
    assert paid["open"] == "-10.00"
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    batch = {
        "merchant_id": merchant["id"], "kind": "percentage", "value": "50", "price": "2.00", "count": 5,
        "valid_from": (today - timedelta(days=1)).isoformat(), "valid_until": (today + timedelta(days=2)).isoformat(),
    }  # fmt: skip
    issued = await post("coupon-batches", batch)
    assert (await post("coupon-batches", batch, status=409))["code"] == "balance-too-low"
    listed = await app_client.get(f"/api/v1/coupon-batches/{issued['id']}/coupons", headers=manager)
    code = listed.json()["items"][0]["code"]
    address = f"/api/v1/coupon-batches/{issued['id']}/coupons"
    assert (await app_client.get(address, headers=guard)).status_code == 403
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    handed_in = {"project_id": site.project_id, "plate": PLATE, "code": code}
    redeemed = await post("coupon-redemptions", handed_in, guard)
    assert (redeemed["kind"], redeemed["value"], redeemed["command_id"]) == ("percentage", "50", None)
    assert (await post("coupon-redemptions", handed_in, guard, 409))["code"] == "coupon-used"
    charging = {"session_id": redeemed["session_id"], "kwh": "12.5", "minutes": 30}
    assert (await post("vehicle-charging", charging, guard))["kwh"] == "12.5"
    month = {"month": today.isoformat()}
    found = await app_client.get(f"/api/v1/parking-merchants/{merchant['id']}/statement", params=month, headers=manager)
    assert [(use["used"], use["owed"]) for use in found.json()["uses"]] == [(1, "10.00")]
    withdrawn = await post(f"coupon-batches/{issued['id']}/withdrawals", {})
    assert withdrawn["withdrawn_at"] is not None
    other = await people.staff("manager", (await people.project()).id)
    elsewhere = await app_client.get("/api/v1/parking-merchants", headers=other)
    assert elsewhere.json()["items"] == []
    await post("coupon-redemptions", handed_in, other, 404)
