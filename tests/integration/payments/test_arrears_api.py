"""Arrears and held money through the API: who may ask, who decides, and what a resident sees and does."""

from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cloud.billing.service import Policy
from cloud.kit.db import Database
from tests.integration.app import Auth, People, once
from tests.integration.payments.owing import RULE, Owing, make_owing
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


async def _post(client: httpx.AsyncClient, auth: Auth, what: str, status: int, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{what}", json=body or None, headers={**auth, **once()})
    assert answer.status_code == status, (what, answer.text)
    found: dict[str, Any] = answer.json()
    return found


async def _get(client: httpx.AsyncClient, auth: Auth, what: str) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/{what}", headers=auth)
    assert answer.status_code == 200, (what, answer.text)
    found: dict[str, Any] = answer.json()
    return found


async def test_a_resident_disputes_his_own_bill_and_staff_decide(
    app_client: httpx.AsyncClient, people: People, owing: Owing
) -> None:
    project_id = owing.site.project.id
    mine = await people.resident(project_id, owing.site.flats[0].person_id)
    neighbour = await people.resident(project_id, owing.site.flats[1].person_id)
    cashier, manager = await people.staff("cashier", project_id), await people.staff("manager", project_id)
    bill_id = (await owing.bills())[0].id
    path = f"bills/{bill_id}/disputes"
    await _post(app_client, neighbour, path, 404, reason="not mine")
    opened = await _post(app_client, mine, path, 201, reason="too high", amount="10.33")
    assert (opened["state"], opened["by_resident"], opened["amount"]["amount"]) == ("open", True, "10.33")
    assert (await _get(app_client, mine, f"bills/{bill_id}"))["state"] == "disputed"
    assert (await _get(app_client, neighbour, "bill-disputes"))["items"] == []
    one = f"bill-disputes/{opened['id']}"
    await _post(app_client, mine, f"{one}/decisions", 403, decision="upheld", note="yes")
    await _post(app_client, cashier, f"{one}/decisions", 403, decision="upheld", note="yes")
    await _post(app_client, neighbour, f"{one}/withdrawals", 404)
    await _post(app_client, mine, f"{one}/withdrawals", 201)
    assert (await _get(app_client, mine, f"bills/{bill_id}"))["state"] == "issued"
    again = await _post(app_client, mine, path, 201, reason="still too high")
    upheld = {"decision": "upheld", "note": "misread", "amount": "110.33"}
    decided = await _post(app_client, manager, f"bill-disputes/{again['id']}/decisions", 201, **upheld)
    assert (decided["state"], decided["upheld"]["amount"]) == ("upheld", "110.33")
    assert [one["state"] for one in (await _get(app_client, mine, "bill-disputes"))["items"]] == ["upheld", "withdrawn"]
    # What staff opened, staff close.
    second = (await owing.bills())[1].id
    by_staff = await _post(app_client, cashier, f"bills/{second}/disputes", 201, reason="called us")
    await _post(app_client, mine, f"bill-disputes/{by_staff['id']}/withdrawals", 403)


async def test_waivers_need_another_person(app_client: httpx.AsyncClient, people: People, owing: Owing) -> None:
    project_id = owing.site.project.id
    manager, other = await people.staff("manager", project_id), await people.staff("manager", project_id)
    mine = await people.resident(project_id, owing.site.flats[0].person_id)
    bill_id = (await owing.bills())[0].id
    await _post(app_client, mine, f"bills/{bill_id}/late-fee-waivers", 403, amount="1.00", reason="please")
    asked = await _post(app_client, manager, f"bills/{bill_id}/late-fee-waivers", 201, amount="7.99", reason="flood")
    path = f"late-fee-waivers/{asked['id']}/decisions"
    refused = await _post(app_client, manager, path, 409, decision="approve")
    assert refused["code"] == "own-request"
    approved = await _post(app_client, other, path, 201, decision="approve", note="the cellar was under water")
    assert (approved["state"], approved["decided_by"]) != ("asked", approved["asked_by"])
    assert (await _get(app_client, mine, f"bills/{bill_id}"))["late_fee_open"]["amount"] == "0.00"
    assert (await _get(app_client, mine, "late-fee-waivers"))["items"] == []


async def test_terms_of_payment_in_versions_with_an_example(
    app_client: httpx.AsyncClient, people: People, owing: Owing
) -> None:
    project_id = owing.site.project.id
    manager, cashier = await people.staff("manager", project_id), await people.staff("cashier", project_id)
    rates = {"daily_rate": "0.002", "later_rate": "0.003"}
    example = await app_client.get(
        f"/api/v1/projects/{project_id}/late-fee-example",
        params={**rates, "principal": "100.00", "due_on": "2025-12-20", "through": "2026-01-10"},
        headers=cashier,
    )
    assert (example.status_code, example.json()["late_fee"]["amount"]) == (200, "5.20")
    assert [step["rate"] for step in example.json()["steps"]] == ["0.002", "0.003"]
    wanted = {"project_id": project_id, "valid_from": "2199-01-01", **rates, "plan_break": "break"}
    await _post(app_client, cashier, "payment-terms", 403, **wanted)
    over = await _post(app_client, manager, "payment-terms", 422, **wanted | {"valid_from": "2025-06-01"})
    assert over["code"] == "bad-date"
    for bad in ({"daily_rate": "1.5"}, {"daily_rate": "1e-3"}, {"minimum": "-1"}, {"due_days": 400}):
        await _post(app_client, manager, "payment-terms", 422, **wanted | bad)
    made = await _post(app_client, manager, "payment-terms", 201, **wanted)
    assert (made["later_rate"], made["plan_break"], made["valid_until"]) == ("0.003", "break", None)
    listed = (await _get(app_client, cashier, f"payment-terms?project_id={project_id}"))["items"]
    assert [(one["daily_rate"], one["valid_until"]) for one in listed] == [("0.002", None), ("0.001", "2199-01-01")]


async def test_a_plan_is_asked_for_approved_and_seen_by_its_resident(
    app_client: httpx.AsyncClient, people: People, owing: Owing
) -> None:
    project_id = owing.site.project.id
    cashier, manager = await people.staff("cashier", project_id), await people.staff("manager", project_id)
    mine = await people.resident(project_id, owing.site.flats[0].person_id)
    neighbour = await people.resident(project_id, owing.site.flats[1].person_id)
    bills = [bill.id for bill in await owing.bills()]
    wanted: dict[str, Any] = {"account_id": owing.account_id, "bill_ids": bills, "reason": "lost the job"}
    await _post(app_client, cashier, "instalment-plans", 422, **wanted)
    await _post(app_client, mine, "instalment-plans", 403, **wanted, monthly={"first": "2199-01-31", "count": 4})
    asked = await _post(
        app_client, cashier, "instalment-plans", 201, **wanted, monthly={"first": "2199-01-31", "count": 4}
    )
    parts = [(one["due_on"], one["amount"]["amount"]) for one in asked["instalments"]]
    assert parts == [
        ("2199-01-31", "105.17"),
        ("2199-02-28", "105.17"),
        ("2199-03-31", "105.16"),
        ("2199-04-30", "105.16"),
    ]
    assert sum(Decimal(amount) for _, amount in parts) == Decimal(asked["total"]["amount"]) == Decimal("420.66")
    await _post(app_client, cashier, f"instalment-plans/{asked['id']}/decisions", 403, decision="approve")
    active = await _post(app_client, manager, f"instalment-plans/{asked['id']}/decisions", 201, decision="approve")
    assert active["state"] == "active"
    assert [one["id"] for one in (await _get(app_client, mine, "instalment-plans"))["items"]] == [asked["id"]]
    assert (await _get(app_client, neighbour, "instalment-plans"))["items"] == []
    ended = await _post(app_client, manager, f"instalment-plans/{asked['id']}/cancellations", 201, note="paid at once")
    assert ended["state"] == "cancelled"


async def test_held_money_of_an_account(app_client: httpx.AsyncClient, people: People, owing: Owing) -> None:
    project_id = owing.site.project.id
    cashier, manager = await people.staff("cashier", project_id), await people.staff("manager", project_id)
    mine = await people.resident(project_id, owing.site.flats[0].person_id)
    money = {"account_id": owing.account_id, "amount": "500.00", "method": "cash"}
    paid = await _post(app_client, cashier, "payments", 201, **money, paid_on="2026-03-01", purpose="balance")
    assert (paid["allocations"], paid["surplus"]["amount"]) == ([], "500.00")
    taken = await _post(app_client, cashier, "deposits", 201, **money, taken_on="2026-03-01", subject="Works")
    path = f"accounts/{owing.account_id}/held-money"
    answer = await app_client.put(f"/api/v1/{path}", json={"auto_deduct": False}, headers=cashier)
    assert answer.status_code == 200
    held = await _get(app_client, mine, path)
    assert (held["balance"]["amount"], held["deposit"]["amount"], held["auto_deduct"]) == ("500.00", "500.00", False)
    applied = await _post(app_client, cashier, f"{path}/set-offs", 201)
    assert (applied["principal"]["amount"], applied["bills"]) == ("420.66", 2)
    entries = (await _get(app_client, mine, f"{path}/entries"))["items"]
    assert [one["kind"] for one in entries] == ["set-off", "payment"]
    refund = {"account_id": owing.account_id, "deposit_id": taken["id"], "amount": "500.00", "reason": "works are done"}
    asked = await _post(app_client, cashier, "releases", 201, **refund, method="transfer")
    await _post(app_client, cashier, f"releases/{asked['id']}/decisions", 403, decision="approve")
    done = await _post(app_client, manager, f"releases/{asked['id']}/decisions", 201, decision="approve")
    assert done["state"] == "approved"
    assert [one["held"]["amount"] for one in (await _get(app_client, mine, "deposits"))["items"]] == ["0.00"]
    neighbour = await people.resident(project_id, owing.site.flats[1].person_id)
    for what in ("deposits", "releases"):
        assert (await _get(app_client, neighbour, what))["items"] == []
    answer = await app_client.get(f"/api/v1/{path}", headers=neighbour)
    assert answer.status_code == 404
    assert await owing.site.proof() == []
