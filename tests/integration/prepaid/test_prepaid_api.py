"""Prepaid supply by REST and on pages: who may see and do what, and a payment at the counter that lights a home."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser
from tests.integration.prepaid.home import Home, make_home
from tests.worlds import World, world


@world
async def home_world(db: Database) -> Home:
    return await make_home(db)


@pytest.fixture
def home(home_world: World[Home], worker_db: Database) -> Home:
    """That world, which only this test changes."""
    return home_world.of(worker_db)


async def _get(client: httpx.AsyncClient, auth: Auth, address: str, status: int = 200) -> Any:
    answer = await client.get(f"/api/v1{address}", headers=auth)
    assert answer.status_code == status, answer.text
    return answer.json()


async def _post(
    client: httpx.AsyncClient, auth: Auth, address: str, body: Mapping[str, object] | None = None, status: int = 201
) -> Any:
    answer = await client.post(f"/api/v1{address}", headers={**auth, **once()}, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_payment_at_the_counter_lights_the_home(
    app_client: httpx.AsyncClient, people: People, home: Home
) -> None:
    cashier = await people.staff("cashier", home.site.project.id)
    case = await home.brought_to_order()
    await home.reports(case.cut_id, "done")
    body = {"account_id": home.account_id, "amount": "500.00", "method": "cash", "paid_on": "2026-01-10"}
    await _post(app_client, cashier, "/payments", body)
    found = await _get(app_client, cashier, f"/supply-cases/{case.id}")
    assert (found["case"]["state"], found["case"]["ending"]) == ("reconnecting", "paid")
    assert found["steps"][-1]["step"] == "restore-ordered"
    assert [one.action for one in await home.orders()].count("switch-on") == 1
    position = await _get(app_client, cashier, f"/prepaid-accounts/{home.account_id}")
    assert position["held"] == {"amount": "500.00", "currency": "CNY"}
    await _post(app_client, cashier, f"/supply-cases/{case.id}/confirmations", status=403)
    await _get(app_client, cashier, f"/prepaid-accounts/{home.account_id}/terms", 403)


async def test_staff_take_a_case_along_by_rest(app_client: httpx.AsyncClient, people: People, home: Home) -> None:
    manager = await people.staff("manager", home.site.project.id)
    await home.value(home.at(-12))
    (case,) = (await _get(app_client, manager, "/supply-cases?only_open=true"))["items"]
    assert (case["state"], case["service"]) == ("warned", "electricity")
    await _post(app_client, manager, f"/supply-cases/{case['id']}/confirmations", status=409)
    done = await _post(
        app_client, manager, f"/supply-cases/{case['id']}/decisions", {"decision": "delivered", "reason": "in person"}
    )
    assert done["case"]["state"] == "notified"
    terms = {"kind": "medical", "reason": "respirator", "protected_until": "2199-01-01"}
    answer = await app_client.put(f"/api/v1/prepaid-accounts/{home.account_id}/terms", headers=manager, json=terms)
    assert answer.status_code == 200, answer.text
    case = (await _get(app_client, manager, f"/supply-cases/{case['id']}"))["case"]
    assert case["hold"] == "protected"
    done = await _post(
        app_client, manager, f"/supply-cases/{case['id']}/decisions", {"decision": "end", "reason": "ill"}
    )
    assert (done["case"]["state"], done["case"]["ending"]) == ("cancelled", "by-hand")
    assert (await _get(app_client, manager, "/supply-cases?only_open=true"))["items"] == []
    answer = await app_client.delete(f"/api/v1/prepaid-agreements/{home.agreement_id}", headers=manager)
    assert answer.status_code == 204
    await _get(app_client, manager, f"/prepaid-accounts/{home.account_id}", 404)
    made = await _post(app_client, manager, "/prepaid-agreements", {"agreement_id": home.agreement_id})
    assert made["account_id"] == home.account_id
    listed = await _get(app_client, manager, f"/prepaid-accounts/{home.account_id}/agreements")
    assert listed["items"] == [made]


async def test_accounts_are_listed_by_what_is_left(app_client: httpx.AsyncClient, people: People, home: Home) -> None:
    viewer = await people.staff("viewer", home.site.project.id)
    for shown, count in (("all", 1), ("low", 1), ("below", 1), ("unknown", 0)):
        assert len((await _get(app_client, viewer, f"/prepaid-accounts?show={shown}"))["items"]) == count
    page = await _get(app_client, viewer, "/prepaid-accounts?limit=1")
    assert page["next_cursor"] is None
    await _get(app_client, viewer, "/prepaid-accounts?cursor=nonsense", 422)


async def test_settings_by_rest(app_client: httpx.AsyncClient, people: People, home: Home) -> None:
    manager = await people.staff("manager", home.site.project.id)
    address = f"/projects/{home.site.project.id}/prepaid-policy"
    policy = await _get(app_client, manager, address)
    assert (policy["disconnects"], policy["automatic"], policy["notice_days"]) == (True, False, 3)
    changed = {**policy, "seasons": "11-15/03-15", "warn_amount": "30.00"}
    answer = await app_client.put(f"/api/v1{address}", headers=manager, json=changed)
    assert answer.json() == changed
    for wrong in (
        {"seasons": "13-01/02-01"},
        {"from_hour": 17},
        {"from_hour": 2},
        {"notice_days": 0},
        {"credit": "-1"},
    ):
        answer = await app_client.put(f"/api/v1{address}", headers=manager, json={**policy, **wrong})
        assert answer.status_code == 422, wrong
    viewer = await people.staff("viewer", home.site.project.id)
    answer = await app_client.put(f"/api/v1{address}", headers=viewer, json=policy)
    assert answer.status_code == 403


async def test_a_resident_sees_his_own_and_nobody_elses(
    app_client: httpx.AsyncClient, people: People, home: Home
) -> None:
    await home.value(home.at(-12))
    await home.set_terms(home.at(-12), kind="medical", reason="secret", protected_until=home.day)
    case = await home.case()
    own = await people.resident(home.site.project.id, home.flat.person_id)
    assert len((await _get(app_client, own, "/prepaid-accounts"))["items"]) == 1
    assert (await _get(app_client, own, f"/supply-cases/{case.id}"))["steps"][0]["detail"] == ""
    await _get(app_client, own, f"/prepaid-accounts/{home.account_id}/terms", 403)
    async with people.db.transaction(SYSTEM) as conn:
        row = await (
            await conn.execute(
                "INSERT INTO person (project_id, name) VALUES (%s, 'Other') RETURNING id", (home.site.project.id,)
            )
        ).fetchone()
    assert row is not None
    other = await people.resident(home.site.project.id, row["id"])
    assert (await _get(app_client, other, "/prepaid-accounts"))["items"] == []
    assert (await _get(app_client, other, "/supply-cases"))["items"] == []
    await _get(app_client, other, f"/supply-cases/{case.id}", 404)


async def test_pages_of_staff_and_residents(app_client: httpx.AsyncClient, people: People, home: Home) -> None:
    auths = [await people.staff("manager", home.site.project.id), await people.staff("viewer", home.site.project.id)]
    auths.append(await people.resident(home.site.project.id, home.flat.person_id))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    manager, viewer, resident = (Browser(app_client, auth) for auth in auths)
    await home.value(home.at(-12))
    case = await home.case()
    assert "Resident 0" in await manager.see("/prepaid?show=low")
    assert "No such account" in await manager.see("/prepaid?show=unknown")
    assert "Balance used up" in await manager.see("/supply-cases")
    at = f"/supply-cases/{case.id}"
    assert "Written notice handed over" in await manager.see(at)
    assert "handed over" not in await viewer.see(at)
    await manager.send(f"{at}/decide", decision="delivered", reason="put <b>into</b> his hands")
    assert "put &lt;b&gt;into&lt;/b&gt; his hands" in await manager.see(at)
    assert "his hands" not in await resident.see(at)
    mine = await resident.see("/my/prepaid")
    assert "Used up to" in mine
    assert "Notice given" in mine
    account = f"/prepaid/accounts/{home.account_id}"
    await manager.send(f"{account}/terms", 422, kind="medical")
    await manager.send(f"{account}/terms", kind="medical", reason="secret illness", protected_until="2199-01-01")
    assert "secret illness" in await manager.see(account)
    assert "secret illness" not in await viewer.see(account)
    settings = await manager.see("/prepaid/settings")
    assert "Supplies may be switched off" in settings
    await manager.send("/prepaid/settings", 422, from_hour="20", until_hour="9")
    await manager.send("/prepaid/settings", warn_amount="30.00")
    await viewer.send("/prepaid/settings", 403, warn_amount="1.00")
    await manager.send(f"{account}/agreements", agreement_id=home.agreement_id, wanted="billed")
    assert "Make it prepaid" in await manager.see(account)
    assert "Nothing is prepaid" in await resident.see("/my/prepaid")
