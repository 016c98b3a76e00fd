"""Bills by estimate over REST, on pages and in documents: asked for, shown, filtered, and refused in clear words."""

import io
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pypdf
import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once
from tests.integration.billing.site import Site, make_site, noon
from tests.integration.billing.test_estimates import FROM, at, hourly, read
from tests.integration.browser import Browser
from tests.worlds import World, world

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)


@world
async def site_world(db: Database) -> Site:
    """Two flats; the meter of the first is silent after 20 January."""
    made = await make_site(db, services=("electricity",))
    await read(made, made.flats[0], hourly(made, JANUARY, date(2026, 1, 21), FROM, 400))
    await read(made, made.flats[1], [(at(made, JANUARY), FROM)])
    await read(made, made.flats[1], [(at(made, FEBRUARY), FROM + 250_000)])
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _browser(client: httpx.AsyncClient, people: People, site: Site) -> Browser:
    auth = await people.staff("manager", site.project.id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(client, auth)
    await browser.see("/bill-runs")
    return browser


async def _over_rest(client: httpx.AsyncClient, auth: Auth, site: Site, **options: Any) -> dict[str, Any]:
    body = {"project_id": site.project.id, "start": "2026-01-01", "end": "2026-02-01", **options}
    started = await client.post("/api/v1/bill-runs", json=body, headers=auth | once())
    assert started.status_code == 202, started.text
    run_id = started.json()["run_id"]
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(FEBRUARY))
    found: dict[str, Any] = (await client.get(f"/api/v1/bill-runs/{run_id}", headers=auth)).json()
    return found


async def test_an_estimated_bill_says_so_wherever_it_is_shown(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    auth = await people.staff("admin")
    run = await _over_rest(app_client, auth, site, missing_readings="estimate", estimate_limit=2, issue_at_once=True)
    assert (run["billed"], run["estimated"], run["missing_readings"], run["estimate_limit"]) == (2, 1, "estimate", 2)
    query = {"run_id": run["id"], "estimated": True}
    (bill,) = (await app_client.get("/api/v1/bills", params=query, headers=auth)).json()["items"]
    assert bill["account_id"] == site.flats[0].account_id
    query["estimated"] = False
    (other,) = (await app_client.get("/api/v1/bills", params=query, headers=auth)).json()["items"]
    assert (bill["estimated"], other["estimated"]) == (True, False)
    (charge,) = (await app_client.get(f"/api/v1/bills/{bill['id']}", headers=auth)).json()["charges"]
    assert (charge["estimate"], charge["estimated_days"], charge["closing"]) == ("open", 11, None)
    assert charge["opening"]["reading"]["quantity"] == "5000"
    assert charge["lines"][0]["detail"]["estimated"]["reason"] == "missing-reading"
    told = (await app_client.get(f"/api/v1/bills/{bill['id']}/explanation", headers=auth)).json()["charges"][0]
    assert told["estimated"] == {
        "kind": "open", "reason": "missing-reading", "rules": [], "method": 4, "days": 11,
        "measured": "192", "estimated": "105.6", "quantity": "297.6",
    }  # fmt: skip
    for form in ("pdf", "html"):
        path = f"/api/v1/bills/{bill['id']}/document"
        answer = await app_client.get(path, params={"language": "en", "format": form}, headers=auth)
        text = answer.text if form == "html" else "".join(
            page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages
        )  # fmt: skip
        said = " ".join(text.split())
        assert "Estimated for 11 days" in said
        assert "192 measured + 105.6 estimated for 11 days: 297.6 kWh charged" in said
        assert "Corrected on a later bill once the meter is read" in said
    (listed,) = (await app_client.get("/api/v1/estimated-services", headers=auth)).json()["items"]
    assert (listed["bills"], listed["days"], listed["prolonged"]) == (1, 11, False)
    assert Decimal(listed["amount"]["amount"]) == Decimal(bill["total"]["amount"])


async def test_the_form_of_a_run_and_its_preview(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    anna = await _browser(app_client, people, site)
    await anna.send("/bill-runs", month="2026-01", missing_readings="estimate", open_exceptions="estimate")
    (run,) = await site.rows("SELECT id, missing_readings, open_exceptions FROM bill_run")
    assert (run["missing_readings"], run["open_exceptions"]) == ("estimate", "estimate")
    await billing.execute_run(site.db, SYSTEM, run["id"], now=noon(FEBRUARY))
    preview = await anna.see(f"/bill-runs/{run['id']}")
    filtered = await anna.see(f"/bill-runs/{run['id']}?estimated=true")
    assert "estimated</span>" in filtered
    assert preview.count("/leave-out") == 2
    assert filtered.count("/leave-out") == 1
    draft = (await site.bills(account_id=site.flats[0].account_id))[0]
    assert "Estimated because the meter has no reading" in await anna.see(f"/bills/{draft.id}")
    assert "Nothing is estimated" in await anna.see("/estimated-services")
    await _issue(site, run["id"])
    assert ">E0</a>" in await anna.see("/estimated-services")
    assert "Nothing is estimated" in await anna.see("/estimated-services?prolonged=true")
    await anna.send("/bill-runs", 422, month="2026-01", missing_readings="guess")


async def _issue(site: Site, run_id: int) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run_id)
    await billing.issue_run(site.db, SYSTEM, run_id, now=noon(FEBRUARY))


async def test_what_is_refused(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("admin")
    path = f"/api/v1/accounts/{site.flats[0].account_id}/final-bills"
    body = {"ends_on": "2026-02-01", "missing_readings": "estimate"}
    answer = await app_client.post(path, json=body, headers=auth | once())
    assert (answer.status_code, answer.json()["code"]) == (422, "no-reason")
    body["estimate_reason"] = "meter burnt"
    started = await app_client.post(path, json=body, headers=auth | once())
    assert started.status_code == 202
    run_id = started.json()["run_id"]
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(FEBRUARY))
    found = (await app_client.get(f"/api/v1/bill-runs/{run_id}", headers=auth)).json()
    assert (found["billed"], found["estimated"], found["estimate_reason"]) == (1, 1, "meter burnt")
    wrong = {"project_id": site.project.id, "start": "2026-01-01", "end": "2026-02-01"}
    for options in ({"missing_readings": "bill"}, {"estimate_limit": -1}, {"open_exceptions": "guess"}):
        answer = await app_client.post("/api/v1/bill-runs", json=wrong | options, headers=auth | once())
        assert answer.status_code == 422


async def test_terms_of_payment_have_the_limits(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    anna = await _browser(app_client, people, site)
    page = await anna.see("/payment-terms")
    assert 'name="estimate_bills" inputmode="decimal" pattern="[0-9]{1,3}" value="3"' in page
    terms = {
        "valid_from": "2099-01-01", "due_days": "15", "daily_rate": "0", "grace_days": "0", "minimum": "0",
        "plan_days": "5", "plan_break": "break", "estimate_bills": "2", "estimate_days": "45",
    }  # fmt: skip
    await anna.send("/payment-terms", 303, **terms)
    (row,) = await site.rows("SELECT estimate_bills, estimate_days FROM billing_policy")
    assert row == {"estimate_bills": 2, "estimate_days": 45}
