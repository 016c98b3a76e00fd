"""Arrears and held money by hand: forms of staff and residents, and what their pages then say."""

import re
from datetime import date
from typing import Any

import httpx
import pytest

from cloud.billing.service import Policy
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.payments.owing import FEE, RULE, Owing, make_owing
from tests.worlds import World, world


@world
async def owing_world(db: Database) -> Owing:
    """Two bills of last winter, long overdue by the clock of today."""
    made = await make_owing(db, Policy(due_days=15, late_fee=RULE))
    await made.night(date(2026, 3, 26))
    return made


@pytest.fixture
def owing(owing_world: World[Owing], worker_db: Database) -> Owing:
    """That world, which only this test changes."""
    return owing_world.of(worker_db)


async def _browsers(client: httpx.AsyncClient, people: People, owing: Owing) -> tuple[Browser, Browser, Browser]:
    """Two managers and the resident of the first flat."""
    project_id, person_id = owing.site.project.id, owing.site.flats[0].person_id
    auths = [await people.staff("manager", project_id) for _ in range(2)]
    auths.append(await people.resident(project_id, person_id))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    first, second, resident = (Browser(client, auth) for auth in auths)
    await first.see("/arrears")
    return first, second, resident


async def test_disputes_and_waivers_on_the_page_of_a_bill(
    app_client: httpx.AsyncClient, people: People, owing: Owing
) -> None:
    anna, bert, resident = await _browsers(app_client, people, owing)
    bill_id = (await owing.bills())[0].id
    assert "Dispute this bill" in await resident.see(f"/my/bills/{bill_id}")
    await resident.send(f"/bills/{bill_id}/disputes", reason="too <high>", amount="10.33")
    mine = await resident.see(f"/my/bills/{bill_id}")
    assert "too &lt;high&gt;" in mine
    assert "The bill is wrong" not in mine
    assert "too &lt;high&gt;" in await anna.see("/arrears")
    (dispute,) = await owing.site.rows("SELECT id FROM bill_dispute")
    await anna.send(f"/bill-disputes/{dispute['id']}/decide", decision="rejected", note="read again")
    assert "read again" in await resident.see(f"/my/bills/{bill_id}")
    assert "Nothing waits" in await anna.see("/arrears")
    await anna.send(f"/bills/{bill_id}/waivers", reason="flood", amount="1.00")
    (waiver,) = await owing.site.rows("SELECT id FROM late_fee_waiver")
    await anna.send(f"/late-fee-waivers/{waiver['id']}/decide", 409, decision="approve")
    assert "flood" in text_of(await bert.see("/arrears?show=waivers"))
    await bert.send(f"/late-fee-waivers/{waiver['id']}/decide", decision="approve")
    assert "Waived" in text_of(await resident.see(f"/my/bills/{bill_id}"))


async def test_a_plan_by_hand(app_client: httpx.AsyncClient, people: People, owing: Owing) -> None:
    anna, bert, resident = await _browsers(app_client, people, owing)
    bills = [str(bill.id) for bill in await owing.bills()]
    form = await anna.see(f"/instalment-plans/new?account_id={owing.account_id}")
    assert form.count('name="bill_ids"') == 2
    fields: dict[str, Any] = {
        "account_id": owing.account_id,
        "reason": "lost the job",
        "count": "4",
        "first": "2199-01-31",
    }
    refused = await anna.send("/instalment-plans", 422, **fields)
    assert 'value="lost the job"' in refused.text
    made = await anna.send("/instalment-plans", **fields, bill_ids=bills)
    address = made.headers["Location"].split("?")[0]
    assert address in await bert.see("/arrears?show=plans")
    await bert.send(f"{address}/decide", decision="approve")
    page = await resident.see(f"/my{address}")
    assert page.count("105.17") == 2
    assert "lost the job" not in page
    assert "Paid by instalments" in await resident.see(f"/my/bills/{bills[0]}")
    await bert.send(f"{address}/cancel", note="paid at once")
    assert "paid at once" in await anna.see(address)
    assert "Nothing waits" in await anna.see("/arrears?show=plans")
    assert address in await anna.see("/arrears?show=plans&every=true")


async def test_money_is_taken_held_and_let_go(app_client: httpx.AsyncClient, people: People, owing: Owing) -> None:
    anna, bert, resident = await _browsers(app_client, people, owing)
    home = f"/accounts/{owing.account_id}"
    assert "Nothing yet" in await anna.see(f"{home}/held-money")
    money: dict[str, Any] = {"amount": "500.00", "method": "cash", "once": "first-form-token"}
    for _ in range(2):
        await anna.send(f"{home}/prepayments", **money)
    assert (await owing.held()) == 500
    await anna.send(f"{home}/deposits", amount="300.00", method="card", subject="Works", once="second-form-token")
    await anna.send(f"{home}/auto-deduct", wanted="false")
    assert "Switch on" in await anna.see(f"{home}/held-money")
    await anna.send(f"{home}/set-offs")
    mine = text_of(await resident.see("/my/balance"))
    assert "Bills paid from it" in mine
    assert "Works" in mine
    assert "Take a deposit" not in mine
    assert "Deposit taken" in await resident.see("/my/balance?of=deposit")
    (deposit,) = await owing.site.rows("SELECT id FROM deposit")
    refund: dict[str, Any] = {"amount": "300.00", "method": "card", "reason": "works are done"}
    refund["deposit_id"] = deposit["id"]
    await anna.send(f"{home}/releases", **refund, once="third-form-token")
    assert "works are done" in await bert.see("/releases")
    (release,) = await owing.site.rows("SELECT id FROM release")
    await bert.send(f"/releases/{release['id']}/decide", decision="approve")
    assert await owing.held("deposit") == 0
    assert "works are done" in await bert.see("/releases?every=true")


async def test_terms_of_payment_are_tried_before_they_are_set(
    app_client: httpx.AsyncClient, people: People, owing: Owing
) -> None:
    anna, _, resident = await _browsers(app_client, people, owing)
    page = await anna.see("/payment-terms")
    values = dict(re.findall(r'name="(\w+)"[^>]* value="([^"]*)"', page))
    assert (values["daily_rate"], values["due_days"]) == ("0.001", "15")
    fields: dict[str, Any] = {
        "due_days": "20",
        "daily_rate": "0.002",
        "later_rate": "0.003",
        "grace_days": "0",
        "minimum": "0",
    }
    fields |= {"plan_days": "3", "plan_break": "break"}
    bill: dict[str, Any] = {"principal": "100.00", "due_on": "2025-12-20", "through": "2026-01-10"}
    tried = await anna.send("/payment-terms/example", 200, **fields, **bill)
    assert "5.20" in tried.text
    refused = await anna.send("/payment-terms", 422, **fields, valid_from="2025-01-01")
    assert "expected" in refused.text
    await anna.send("/payment-terms", **fields, **bill, valid_from="2199-01-01")
    assert "0.002 / 0.003" in await anna.see("/payment-terms")
    app_client.cookies.set(SESSION_COOKIE, resident._secret)
    answer = await app_client.get("/payment-terms")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/my/bills")


async def test_the_steps_of_a_late_fee_have_dates_and_a_currency(
    app_client: httpx.AsyncClient, people: People, owing: Owing
) -> None:
    anna, _, resident = await _browsers(app_client, people, owing)
    bill_id = (await owing.bills())[0].id
    (step,) = (await owing.fee()).by_days
    assert (step.first, step.last, step.part) == (
        date(2026, 2, 17),
        date(2026, 3, 26),
        step.days * FEE * RULE.daily_rate,
    )
    for said in (text_of(await anna.see(f"/bills/{bill_id}")), text_of(await resident.see(f"/my/bills/{bill_id}"))):
        assert "Feb 17, 2026 – Mar 26, 2026" in said
        assert "2026-02-17" not in said
        assert "¥210.33 × 0.001 ¥7.99254" in said
