"""Rents, one-off charges and concessions through the API: made, listed, approved, ended, refused."""

from datetime import date
from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once
from tests.integration.billing.site import Site, make_site
from tests.integration.tariffs.test_drafts import send, signed_in


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """One flat that pays the property fee."""
    return await make_site(worker_db, flats=1, services=("property",))


async def _post(client: httpx.AsyncClient, auth: Auth, what: str, status: int, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{what}", json=body, headers={**auth, **once()})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _get(client: httpx.AsyncClient, auth: Auth, what: str, status: int = 200) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/{what}", headers=auth)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_agreements_of_every_kind(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    manager = await people.staff("manager", site.project.id)
    payer = {"project_id": site.project.id, "account_id": site.flats[0].account_id}
    lease = payer | {"valid_from": "2026-01-01", "valid_until": "2029-01-01", "amount": "8333.33", "every_months": 3}
    made = await _post(app_client, manager, "rents", 201, **lease, rise={"percent": "5"})
    assert (made["kind"], made["tariff_id"], made["amount"]) == ("rent", None, None)
    assert made["rent"]["steps"] == [
        {"from_day": day, "amount": {"amount": amount, "currency": "CNY"}}
        for day, amount in (("2026-01-01", "8333.33"), ("2027-01-01", "8750.00"), ("2028-01-01", "9187.50"))
    ]
    charge = payer | {"category": "maintenance", "description": "New lock", "amount": "120.50", "day": "2026-01-20"}
    once_only = await _post(app_client, manager, "one-off-charges", 201, **charge)
    assert once_only["amount"] == {"amount": "120.50", "currency": "CNY"}
    assert (once_only["valid_from"], once_only["valid_until"]) == ("2026-01-20", "2026-01-21")

    found = await _get(app_client, manager, f"service-agreements?account_id={payer['account_id']}")
    assert [one["kind"] for one in found["items"]] == ["tariff", "rent", "one_off"]
    assert found["items"][1] == made == await _get(app_client, manager, f"service-agreements/{made['id']}")
    assert [one["id"] for one in (await _get(app_client, manager, "service-agreements?kind=one_off"))["items"]] == [
        once_only["id"]
    ]
    assert len((await _get(app_client, manager, "service-agreements?valid_on=2026-01-21"))["items"]) == 2

    ended = await _post(app_client, manager, f"service-agreements/{made['id']}/endings", 201, day="2026-07-01")
    assert ended["valid_until"] == "2026-07-01"
    refused = await _post(app_client, manager, f"service-agreements/{made['id']}/endings", 422, day="2026-08-01")
    assert refused["code"] == "bad-dates"
    for one in (made, once_only):
        gone = await app_client.delete(f"/api/v1/service-agreements/{one['id']}", headers=manager)
        assert gone.status_code == 204, gone.text
        await _get(app_client, manager, f"service-agreements/{one['id']}", 404)


async def test_a_concession_from_filing_to_end(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    manager = await people.staff("manager", site.project.id)
    cashier = await people.staff("cashier", site.project.id)
    filed: dict[str, Any] = {
        "project_id": site.project.id,
        "unit_id": site.flats[0].unit_id,
        "rule": "vacancy",
        "name": "Empty",
        "kind": "factor",
        "value": "0.70",
        "services": ["property"],
        "valid_from": "2026-01-01",
        "reason": "form 17",
    }
    refused = await _post(app_client, manager, "concessions", 422, **filed)
    assert (refused["code"], refused["errors"][0]["field"]) == ("no-filed-dates", "valid_until")
    filed["valid_until"] = "2026-07-01"
    made = await _post(app_client, manager, "concessions", 201, **filed)
    assert (made["value"], made["position"], made["approved_at"]) == ("0.7", 10, None)
    place = f"concessions/{made['id']}"
    for what, body in (("approvals", {"reason": "seen"}), ("endings", {"day": "2026-03-01"})):
        await _post(app_client, cashier, f"{place}/{what}", 403, **body)
    account_id = site.flats[0].account_id
    for query in (f"account_id={account_id}", "unapproved=true", "rule=vacancy"):
        found = await _get(app_client, manager, f"concessions?{query}")
        assert [one["id"] for one in found["items"]] == [made["id"]], query
    own = await _post(app_client, manager, f"{place}/approvals", 409, reason="seen")
    assert own["code"] == "own-request"
    colleague = await people.staff("manager", site.project.id)
    approved = await _post(app_client, colleague, f"{place}/approvals", 201, reason="seen")
    assert (approved["approval"], approved["approved_by"] is None) == ("seen", False)
    assert (await _get(app_client, manager, "concessions?unapproved=true"))["items"] == []
    assert (await _post(app_client, manager, f"{place}/endings", 201, day="2026-03-01"))["valid_until"] == "2026-03-01"
    kept = await app_client.delete(f"/api/v1/{place}", headers=manager)
    assert (kept.status_code, kept.json()["code"]) == (409, "already-approved")


@pytest.mark.parametrize("amount", [8000.5, "1e3", "-1", "0", "1.005"])
async def test_amounts_are_text_and_exact(
    app_client: httpx.AsyncClient, people: People, site: Site, amount: object
) -> None:
    manager = await people.staff("manager", site.project.id)
    payer = {"project_id": site.project.id, "account_id": site.flats[0].account_id}
    await _post(app_client, manager, "rents", 422, **payer, valid_from="2026-01-01", amount=amount)


async def test_a_resident_sees_his_own_lease_and_no_other(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    site = await make_site(worker_db, flats=2, services=("property",))
    manager = await people.staff("manager", site.project.id)
    for flat in site.flats:
        lease = {"project_id": site.project.id, "account_id": flat.account_id, "valid_from": "2026-01-01"}
        await _post(app_client, manager, "rents", 201, **lease, amount="8000")
    resident = await people.resident(site.project.id, site.flats[0].person_id)
    found = (await _get(app_client, resident, "service-agreements?kind=rent"))["items"]
    assert [(one["account_id"], len(one["rent"]["steps"])) for one in found] == [(site.flats[0].account_id, 1)]


async def test_packages_and_changes_over_rest(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    manager = await people.staff("manager", site.project.id)
    payer = {"project_id": site.project.id, "account_id": site.flats[0].account_id}
    told = {"name": "All-in", "contains": ["property"], "amount": "300", "valid_from": "2026-01-01"}
    await _post(app_client, manager, "packages", 422, **payer, **told)
    sold = await _post(
        app_client,
        manager,
        "packages",
        201,
        **payer,
        **told,
        valid_until="2027-01-01",
        taxes=[{"from_day": "2026-01-01", "percent": "6", "inclusive": True}],
    )
    assert (sold["kind"], sold["service"], sold["description"]) == ("package", "package", "All-in")
    assert (sold["rent"]["contains"], sold["rent"]["per_area"]) == (["property"], False)
    assert sold["taxes"] == [{"from_day": "2026-01-01", "percent": "6", "inclusive": True}]

    place = f"service-agreements/{sold['id']}"
    steps = [{"from_day": "2026-07-01", "amount": "320"}]
    changed = await _post(app_client, manager, f"{place}/rent-changes", 201, steps=steps)
    assert [one["amount"]["amount"] for one in changed["rent"]["steps"]] == ["300.00", "320.00"]
    taxed = await _post(app_client, manager, f"{place}/taxes", 201, from_day="2026-07-01", percent="9")
    assert [one["percent"] for one in taxed["taxes"]] == ["6", "9"]
    refused = await _post(app_client, manager, f"{place}/takings-back", 422, reason="why")
    assert refused["code"] == "not-a-one-off"

    area = {"unit_id": site.flats[0].unit_id, "from_day": "2026-02-01", "area": "91.5", "reason": "measured"}
    filed = await _post(app_client, manager, "billed-areas", 201, project_id=payer["project_id"], **area)
    assert filed | area == filed
    await _post(app_client, manager, "billed-areas", 409, project_id=payer["project_id"], **area)
    assert (await _get(app_client, manager, f"billed-areas?unit_id={area['unit_id']}"))["items"] == [filed]


async def test_a_lease_ends_over_rest_after_its_bill(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    manager = await people.staff("manager", site.project.id)
    payer = {"project_id": site.project.id, "account_id": site.flats[0].account_id}
    lease = await _post(
        app_client, manager, "rents", 201, **payer, amount="100", per_area=True, valid_from="2026-01-01",
        taxes=[{"from_day": "2026-01-01", "percent": "9", "inclusive": True}],
    )  # fmt: skip
    charge = payer | {"category": "maintenance", "description": "New lock", "amount": "120.50", "day": "2026-01-20"}
    lock = await _post(app_client, manager, "one-off-charges", 201, **charge, tax={"percent": "6"})
    await site.run(date(2026, 1, 1))
    (bill,) = await site.bills()
    why = await _get(app_client, manager, f"bills/{bill.id}/explanation")
    assert [one["unit"] for one in why["agreed"]] == ["month", "month", None]
    assert why["agreed"][0]["areas"] == [{"from_day": None, "value": "89.5"}]
    # 8950 x 9 / 109
    assert why["agreed"][0]["contained_taxes"][0]["amount"]["amount"] == "738.99"
    await _post(app_client, manager, f"service-agreements/{lease['id']}/endings", 201, day="2026-02-15")
    back = await _post(app_client, manager, f"service-agreements/{lock['id']}/takings-back", 201, reason="wrong flat")
    assert back["taken_back"]
    found = (await _get(app_client, manager, f"adjustments?account_id={payer['account_id']}&open=true"))["items"]
    assert [(one["cause"], one["difference"]["amount"]) for one in found] == [
        ("terms", "-127.73"),
        ("terms", "-4475.00"),
    ]
    asked = await _post(app_client, manager, f"accounts/{payer['account_id']}/re-ratings", 202, since="2026-01-01")
    assert asked["job_id"]
    both = {"since": "2026-01-01", "corrected_facts": True, "concessions": True}
    await _post(app_client, manager, f"accounts/{payer['account_id']}/re-ratings", 422, **both)


async def test_an_agreement_says_where_usage_by_period_comes_from(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    site = await make_site(worker_db, flats=1, services=())
    manager = await people.staff("manager", site.project.id)
    async with worker_db.transaction(SYSTEM) as conn:
        tariff = await conn.execute(
            "INSERT INTO tariff (project_id, code, name, service) VALUES (%s, 'tou', 'T', 'electricity') RETURNING id",
            (site.project.id,),
        )
        tariff_id = (await tariff.fetchall())[0]["id"]
    body = {
        "project_id": site.project.id, "account_id": site.flats[0].account_id, "service": "electricity",
        "tariff_id": tariff_id, "valid_from": "2026-01-01", "meter_id": site.flats[0].meters["electricity"],
        "time_of_use": "registers",
        "registers": {"periods": {"sharp": ["sharp"], "peak": ["peak", "-sharp"]}, "beside_total": ["sharp"]},
    }  # fmt: skip
    for changes, field in (
        ({"time_of_use": "guesses"}, "time_of_use"),
        ({"registers": {"periods": {"peak": ["t7"]}}}, "registers.periods.peak.0"),
        ({"registers": {"periods": {"sharp": ["sharp"], "peak": ["sharp"]}}}, "registers"),
        ({"registers": {"periods": {}}}, "registers.periods"),
        ({"meter_id": None}, "meter_id"),
    ):
        refused = await _post(app_client, manager, "service-agreements", 422, **(body | changes))
        assert [error["field"] for error in refused["errors"]] == [field]
    made = await _post(app_client, manager, "service-agreements", 201, **body)
    assert (made["time_of_use"], made["registers"]) == ("registers", body["registers"])
    assert (await _get(app_client, manager, f"service-agreements/{made['id']}"))["registers"] == body["registers"]


async def test_the_form_of_an_agreement_takes_registers_a_line(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, worker_db: Database
) -> None:
    site = await make_site(worker_db, flats=1, services=("electricity",))
    await site.rows("DELETE FROM service_agreement RETURNING 1")
    manager = await people.staff("manager", site.project.id)
    await signed_in(app_client, owner_db, manager)
    await app_client.get("/agreements")
    form = {
        "kind": "tariff", "account": "A-0000", "service": "electricity", "valid_from": "2026-01-01", "meter": "E0",
        "tariff_id": str(site.tariffs["electricity"]), "time_of_use": "registers",
        "registers": "peak: peak, -sharp\r\nsharp：sharp\r\nbeside_total: sharp",
    }  # fmt: skip
    for bad, told in (
        ("peak peak", "a line"),
        ("peak: t9", "registers"),
        ("peak: peak\npeak: flat", "each period once"),
    ):
        refused = await send(app_client, "/agreements/new", form | {"registers": bad})
        assert (refused.status_code, told in refused.text) == (422, True), refused.text
        assert bad.partition("\n")[0] in refused.text
    made = await send(app_client, "/agreements/new", form)
    assert made.status_code == 303, made.text
    page = (await app_client.get(made.headers["location"])).text
    assert "The registers of the meter" in page
    assert "peak: peak, -sharp" in page
    assert "beside_total: sharp" in page
    (kept,) = await site.rows("SELECT id, time_of_use, registers FROM service_agreement")
    assert "peak: peak, -sharp" in (await app_client.get(f"/agreements/new?copy_of={kept['id']}")).text
    assert kept["registers"] == {"periods": {"peak": ["peak", "-sharp"], "sharp": ["sharp"]}, "beside_total": ["sharp"]}
