"""From a published tariff to a paid bill, through the API alone."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from cloud.billing.jobs import HANDLERS
from cloud.billing.runs.service import ISSUE_JOB, RUN_JOB
from cloud.kit.db import Database
from cloud.kit.jobs import JobContext
from tests.integration.app import Auth, People, once
from tests.integration.billing.site import JANUARY_USAGE, Site, make_site

TARIFF: dict[str, Any] = {
    "currency": "CNY",
    "service": "parking_space",
    "components": [{"kind": "fixed", "code": "space", "per": "month", "price": "300.00"}],
}
RUN = {"start": "2026-01-01", "end": "2026-02-01"}
REFUSALS: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("bill-runs", {"end": "2026-01-01"}, 422, None),
    ("bill-runs", {"project_id": 999}, 404, "no-such-project"),
    ("payments", {"amount": "1e3"}, 422, None),
    ("payments", {"amount": "-3"}, 422, None),
    ("payments", {"amount": "0.001"}, 422, "bad-amount"),
    ("payments", {"method": "shells"}, 422, "bad-method"),
    ("payments", {"account_id": 999}, 404, "no-such-account"),
    ("service-agreements", {"valid_until": "2025-01-01"}, 422, "bad-dates"),
    ("service-agreements", {"tariff_id": 999}, 404, "unknown-reference"),
    ("service-agreements", {"meter_id": 1}, 409, "overlap"),
    ("tariff-versions", {"content": TARIFF | {"currency": "EUR"}}, 422, "other-currency"),
    ("tariff-versions", {"service": "rent"}, 422, "other-service"),
    ("tariff-versions", {"content": TARIFF | {"colour": "red"}}, 422, None),
    ("tariff-versions", {"code": "electricity"}, 409, "other-service"),
]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Two flats, read in January."""
    made = await make_site(worker_db)
    for flat in made.flats:
        for medium, quantity in JANUARY_USAGE.items():
            await made.read(flat, medium, [quantity])
    return made


async def _post(client: httpx.AsyncClient, auth: Auth, what: str, status: int, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{what}", json=body, headers={**auth, **once()})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _get(client: httpx.AsyncClient, auth: Auth, what: str) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/{what}", headers=auth)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _do_run(client: httpx.AsyncClient, auth: Auth, site: Site) -> None:
    started = await _post(client, auth, "bill-runs", 202, project_id=site.project.id, **RUN)
    assert (await _get(client, auth, started["run"].removeprefix("/api/v1/")))["state"] == "running"
    (job,) = await site.rows("SELECT payload FROM job WHERE id = %s", started["job_id"])
    await HANDLERS[RUN_JOB](JobContext(started["job_id"], site.project.id, job["payload"], site.db))
    assert (await _get(client, auth, started["run"].removeprefix("/api/v1/")))["state"] == "preview"
    approved = await _post(client, auth, f"bill-runs/{started['run_id']}/approvals", 202)
    (job,) = await site.rows("SELECT payload FROM job WHERE id = %s", approved["job_id"])
    await HANDLERS[ISSUE_JOB](JobContext(approved["job_id"], site.project.id, job["payload"], site.db))


async def _let_approve_own(client: httpx.AsyncClient, auth: Auth, project_id: int) -> None:
    body = {"project_id": project_id, "allowed": True}
    answer = await client.put("/api/v1/tariff-approval-rules", json=body, headers=auth)
    assert answer.status_code == 200, answer.text


async def test_from_tariff_to_payment(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    admin = await people.staff("admin")
    await _let_approve_own(app_client, admin, site.project.id)
    version = await _post(
        app_client,
        admin,
        "tariff-versions",
        201,
        project_id=site.project.id,
        code="space",
        name="Parking space",
        service="parking_space",
        valid_from="2026-01-01",
        content=TARIFF,
    )
    account_id = site.flats[0].account_id
    await _post(
        app_client,
        admin,
        "service-agreements",
        201,
        project_id=site.project.id,
        account_id=account_id,
        service="parking_space",
        tariff_id=version["tariff_id"],
        valid_from="2026-01-01",
    )
    assert [tariff["code"] for tariff in (await _get(app_client, admin, "tariffs"))["items"]][-1] == "space"
    assert len((await _get(app_client, admin, f"service-agreements?account_id={account_id}"))["items"]) == 4

    await _do_run(app_client, admin, site)
    (run,) = (await _get(app_client, admin, "bill-runs"))["items"]
    assert (run["state"], run["billed"], run["failed"]) == ("issued", 2, 0)
    assert (await _get(app_client, admin, f"bill-runs/{run['id']}/failures"))["items"] == []

    (bill,) = (await _get(app_client, admin, f"bills?account_id={account_id}"))["items"]
    assert bill["total"] == {"amount": "619.16", "currency": "CNY"}
    whole = await _get(app_client, admin, f"bills/{bill['id']}")
    line = whole["charges"][0]["lines"][0]
    assert line["quantity"] == {"quantity": "100", "unit": "kWh"}
    assert (line["price"], line["amount"]["amount"]) == ("0.4883", "48.83")
    assert whole["charges"][0]["closing"]["reading"] == {"quantity": "5100", "unit": "kWh"}
    explanation = await _get(app_client, admin, f"bills/{bill['id']}/explanation")
    assert explanation["bill"] == whole
    assert explanation["inputs"]["charges"][0]["quantity"] == 100_000

    today = datetime.now(UTC).date().isoformat()
    paid = await _post(
        app_client, admin, "payments", 201, account_id=account_id, amount="700", method="transfer", paid_on=today
    )
    assert paid["allocations"][0]["principal"]["amount"] == "619.16"
    assert paid["surplus"] == {"amount": "80.84", "currency": "CNY"}
    assert (await _get(app_client, admin, f"bills/{bill['id']}"))["state"] == "paid"

    resident = await people.resident(site.project.id, site.flats[0].person_id)
    assert [one["id"] for one in (await _get(app_client, resident, "bills"))["items"]] == [bill["id"]]
    assert [one["id"] for one in (await _get(app_client, resident, "payments"))["items"]] == [paid["id"]]
    for path, status in (("bill-runs", 403), (f"bills/{bill['id'] + 1}", 404)):
        assert (await app_client.get(f"/api/v1/{path}", headers=resident)).status_code == status


async def test_a_repeated_payment_pays_once(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    cashier = await people.staff("cashier", site.project.id)
    body = {"account_id": site.flats[0].account_id, "amount": "10.00", "method": "cash", "paid_on": "2026-01-05"}
    headers = {**cashier, **once()}
    answers = [await app_client.post("/api/v1/payments", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert await site.rows("SELECT count(*) AS payments FROM payment") == [{"payments": 1}]


async def test_refusals(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    project_id, account_id = site.project.id, site.flats[0].account_id
    bodies: dict[str, dict[str, Any]] = {
        "bill-runs": {"project_id": project_id, **RUN},
        "payments": {"account_id": account_id, "amount": "1.00", "method": "cash", "paid_on": "2026-01-05"},
        "service-agreements": {
            "project_id": project_id,
            "account_id": account_id,
            "service": "electricity",
            "tariff_id": site.tariffs["electricity"],
            "valid_from": "2026-01-01",
        },
        "tariff-versions": {
            "project_id": project_id,
            "code": "space",
            "name": "Parking space",
            "service": "parking_space",
            "valid_from": "2026-01-01",
            "content": TARIFF,
        },
    }
    auth = await people.staff("admin")
    await _let_approve_own(app_client, auth, project_id)
    for what, changes, status, code in REFUSALS:
        refused = await _post(app_client, auth, what, status, **(bodies[what] | changes))
        assert code in (None, refused["code"]), (what, changes)
