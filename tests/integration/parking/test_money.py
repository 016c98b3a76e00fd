"""Money of stays: debts and waivers, tax, stays that turn out to cost less, and the proof that finds a lie."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.charging.policy import MoneyPolicy, tax_in
from tests.integration.app import Auth, People, once
from tests.integration.parking.site import Site, openings, rows

PLATE = "京A12345"


@pytest.fixture
async def owed(ingest_db: Database, site: Site) -> int:
    """A stay of five hours that ended two days ago without being paid."""
    left = datetime.now(UTC) - timedelta(days=2)
    passages = [site.passage("entry", PLATE, left - timedelta(hours=5)), site.passage("exit", PLATE, left)]
    await site.report(ingest_db, passages, left)
    (session,) = await rows(ingest_db, "SELECT id, unpaid FROM parking_session")
    assert session["unpaid"] == Decimal("8.00")
    return int(session["id"])


async def _proof(db: Database, site: Site) -> list[str]:
    async with db.transaction(SYSTEM) as conn:
        return [one.what for one in await billing.discrepancies(conn, site.project_id)]


async def _booked(db: Database) -> dict[str, Decimal]:
    found = await rows(db, "SELECT ledger_account, sum(amount) AS amount FROM posting GROUP BY 1")
    return {row["ledger_account"]: row["amount"] for row in found}


@pytest.mark.parametrize("how", ["paid", "waived"])
async def test_who_waits_for_an_old_debt_is_let_out_when_it_is_settled(
    ingest_db: Database, worker_db: Database, site: Site, owed: int, how: str
) -> None:
    now = datetime.now(UTC)
    back = [site.passage("entry", PLATE, now - timedelta(minutes=5)), site.passage("exit", PLATE, now, "arrived")]
    await site.report(ingest_db, back, now)
    assert await openings(ingest_db) == []
    if how == "waived":
        async with worker_db.transaction(SYSTEM) as conn:
            await parking.waive(conn, owed, Decimal("3.00"), "barrier was broken", "user:1", at=now)
        assert await openings(ingest_db) == []
    async with worker_db.transaction(SYSTEM) as conn:
        if how == "paid":
            await parking.pay(conn, owed, Decimal("8.00"), "cash", "user:1", at=now)
        else:
            await parking.waive(conn, owed, None, "the rest, too", "user:1", at=now)
    (opening,) = await openings(ingest_db)
    assert opening["arguments"] == {"passage": back[1].id}


async def test_debts_are_listed_added_up_and_waived_by_who_may(
    app_client: httpx.AsyncClient, site: Site, owed: int, people: People
) -> None:
    manager, guard = await people.staff("manager", site.project_id), await people.staff("guard", site.project_id)
    elsewhere = await people.staff("manager", (await people.project()).id)

    async def get(path: str, who: Auth = guard) -> Any:
        answer = await app_client.get(f"/api/v1/{path}", headers=who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def waive(who: Auth, status: int, **body: object) -> Any:
        path = f"/api/v1/parking-debts/{owed}/waivers"
        answer = await app_client.post(path, json=body, headers=who | once())
        assert answer.status_code == status, answer.text
        return answer.json()

    (debt,) = (await get(f"parking-debts?plate={PLATE}"))["items"]
    assert (debt["session_id"], debt["due"]) == (owed, {"amount": "8.00", "currency": "CNY"})
    (total,) = (await get("parking-debt-totals"))["items"]
    assert (total["stays"], total["plates"], total["due"]["amount"]) == (1, 1, "8.00")
    assert (await get("parking-debts?left_before=2026-01-01T00:00:00Z"))["items"] == []
    assert (await get("parking-debts", elsewhere))["items"] == []
    amount = {"amount": "3.00", "currency": "CNY"}
    await waive(guard, 403, reason="friend")
    await waive(elsewhere, 404, reason="not mine")
    assert (await waive(manager, 409, reason="x", amount=amount | {"currency": "EUR"}))["code"] == "other-currency"
    assert (await waive(manager, 409, reason="x", amount=amount | {"amount": "9.00"}))["code"] == "amount-changed"
    await waive(manager, 422, reason="")
    await waive(manager, 422, reason="x", amount=amount | {"amount": 3.0})
    await waive(manager, 201, reason="barrier broken", amount=amount)
    quote = await get(f"parking-sessions/{owed}/quote")
    assert [quote[name]["amount"] for name in ("fee", "waived", "due", "total")] == ["8.00", "3.00", "5.00", "5.00"]
    await waive(manager, 201, reason="the rest")
    assert (await waive(manager, 409, reason="again"))["code"] == "nothing-due"
    assert (await get("parking-debts"))["items"] == []


async def test_the_policy_is_set_and_its_page_keeps_its_address(
    app_client: httpx.AsyncClient, site: Site, people: People
) -> None:
    manager = await people.staff("manager", site.project_id)
    path = f"/api/v1/parking-money-policies/{site.project_id}"
    usual = (await app_client.get(path, headers=manager)).json()
    assert (usual["debts"], usual["public_path"], usual["tax_percent"]) == ("collect", None, "0")
    body = {name: value for name, value in usual.items() if name not in ("project_id", "public_path")}
    body |= {"public_page": True, "tax_percent": "9"}
    made = (await app_client.put(path, json=body, headers=manager)).json()
    assert made["public_path"].startswith("/park/")
    assert (await app_client.put(path, json=body, headers=manager)).json() == made
    off = (await app_client.put(path, json=body | {"public_page": False}, headers=manager)).json()
    assert off["public_path"] is None
    assert (await app_client.get(made["public_path"])).status_code == 404
    guard = await people.staff("guard", site.project_id)
    assert (await app_client.put(path, json=body, headers=guard)).status_code == 403
    assert (await app_client.put(path, json=body | {"tax_percent": "900"}, headers=manager)).status_code == 422


async def test_tax_lies_within_what_is_paid_and_goes_back_with_it(
    worker_db: Database, ingest_db: Database, site: Site, owed: int
) -> None:
    now = datetime.now(UTC)
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, site.project_id, MoneyPolicy(tax_percent=Decimal(9)), public=False)
        await parking.pay(conn, owed, Decimal("8.00"), "cash", "user:1", at=now)
    tax = tax_in(Decimal("8.00"), Decimal(9), "CNY")
    assert tax == Decimal("0.66")
    booked = await _booked(worker_db)
    assert (booked["revenue:parking"], booked["tax:vat"]) == (tax - Decimal("8.00"), -tax)
    # An exit that was seen but reported late: the vehicle had left after two and a half hours already.
    earlier = now - timedelta(days=2, hours=2, minutes=30)
    await site.report(ingest_db, [site.passage("exit", PLATE, earlier)], now)
    (stay,) = await rows(worker_db, "SELECT fee, unpaid FROM parking_session WHERE id = %s", (owed,))
    assert stay["unpaid"] == stay["fee"] - Decimal("8.00") < 0
    async with worker_db.transaction(SYSTEM) as conn:
        assert await debts.release_surplus(conn, site.project_id, now) == 1
        assert await debts.release_surplus(conn, site.project_id, now) == 0
    (back,) = await rows(worker_db, "SELECT amount, reason, subject, state FROM payment_refund")
    assert back == {"amount": -stay["unpaid"], "reason": "fee-lower", "subject": PLATE, "state": "open"}
    booked = await _booked(worker_db)
    left = tax_in(stay["fee"], Decimal(9), "CNY")
    assert (booked["revenue:parking"], booked["tax:vat"], booked["liability:refund"]) == (
        left - stay["fee"], -left, stay["unpaid"],
    )  # fmt: skip
    assert await _proof(worker_db, site) == []


async def test_the_proof_finds_money_that_is_not_what_was_booked(
    worker_db: Database, owner_db: Database, site: Site, owed: int
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.pay(conn, owed, Decimal("8.00"), "cash", "user:1")
    assert await _proof(worker_db, site) == []
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE parking_payment SET amount = 7")
    assert sorted(await _proof(worker_db, site)) == ["parking-payment", "parking-revenue"]
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("ALTER TABLE parking_session DISABLE TRIGGER unpaid")
        await conn.execute("UPDATE parking_session SET unpaid = 0")
    assert "parking-unpaid" in await _proof(worker_db, site)


async def test_who_may_decide_about_the_refund_queue(
    app_client: httpx.AsyncClient, worker_db: Database, site: Site, people: People
) -> None:
    guard, cashier = await people.staff("guard", site.project_id), await people.staff("cashier", site.project_id)
    assert (await app_client.get("/api/v1/payment-refunds", headers=guard)).status_code == 403
    assert (await app_client.get("/api/v1/payment-refunds?state=open", headers=cashier)).json()["items"] == []
    path = "/api/v1/payment-refunds/1/decisions"
    body = {"decision": "keep", "note": "nobody's"}
    assert (await app_client.post(path, json=body, headers=cashier | once())).status_code == 404
