"""Drafts of tariffs from the first field to publication: REST, pages, walls, and the comparison with real bills."""

import json
import secrets
from datetime import date
from typing import Any

import httpx
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once
from tests.integration.billing.site import Site, make_site
from tests.integration.browser import form_of, text_of

CONTENT: dict[str, Any] = {
    "currency": "CNY",
    "service": "electricity",
    "unit": "kWh",
    "tiers": {"bounds": [2880, 4800], "window": {"kind": "year"}},
    "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.5", "0.6", "0.9"]}}],
}


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """One flat with a billed January."""
    made = await make_site(worker_db, 1)
    await made.read(made.flats[0], "electricity", [300_000])
    await made.read(made.flats[0], "water", [12_000_000])
    await made.run(date(2026, 1, 1))
    return made


async def _call(
    client: httpx.AsyncClient, auth: Auth, method: str, path: str, status: int, body: Any = None
) -> dict[str, Any]:
    headers = {**auth, **(once() if method == "POST" else {})}
    answer = await client.request(method, f"/api/v1/{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _draft(client: httpx.AsyncClient, auth: Auth, site: Site, **changes: Any) -> dict[str, Any]:
    body = {
        "project_id": site.project.id, "code": "electricity", "name": "Electricity", "valid_from": "2026-03-01",
        "content": CONTENT,
    }  # fmt: skip
    return await _call(client, auth, "POST", "tariff-drafts", 201, body | changes)


async def test_from_draft_to_publication(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    author, approver = await people.staff("manager", site.project.id), await people.staff("admin", site.project.id)
    broken = CONTENT | {"components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.5", "1e2"]}}]}
    draft = await _draft(app_client, author, site, content=broken)
    (problem,) = draft["problems"]
    assert (problem["field"], problem["code"]) == ("components.0.prices.all.1", "price")
    assert problem["where"] == "Component energy › Prices › tier 2"
    path = f"tariff-drafts/{draft['id']}"
    refused = await _call(app_client, author, "POST", f"{path}/submissions", 422)
    assert refused["code"] == "draft-has-mistakes"
    changed = await _call(app_client, author, "PATCH", path, 200, {"revision": 1, "content": CONTENT})
    assert (changed["problems"], changed["revision"]) == ([], 2)
    late = await _call(app_client, author, "PATCH", path, 409, {"revision": 1, "name": "Late"})
    assert late["code"] == "draft-changed"
    await _call(app_client, author, "POST", f"{path}/submissions", 201)
    own = await _call(app_client, author, "POST", f"{path}/approvals", 403)
    assert own["code"] == "needs-second-person"
    sent_back = await _call(app_client, approver, "POST", f"{path}/rejections", 201, {"reason": "Tier 3 is dear"})
    assert (sent_back["state"], sent_back["reason"]) == ("rejected", "Tier 3 is dear")
    await _call(app_client, author, "PATCH", path, 200, {"revision": sent_back["revision"], "name": "Power"})
    await _call(app_client, author, "POST", f"{path}/submissions", 201)
    version = await _call(app_client, approver, "POST", f"{path}/approvals", 201)
    assert (version["version"], version["valid_from"]) == (2, "2026-03-01")
    assert (await _call(app_client, author, "GET", path, 200))["state"] == "published"
    frozen = await _call(app_client, author, "PATCH", path, 409, {"revision": 9, "name": "Later"})
    assert frozen["code"] == "draft-not-open"
    body = {"version_id": version["id"], "valid_from": "2027-01-01"}
    copied = await _call(app_client, author, "POST", "tariff-drafts/copies", 201, body)
    same = await _call(
        app_client, author, "GET", f"tariff-drafts/{copied['id']}/differences?version_id={version['id']}", 200
    )
    assert same["items"] == []
    assert (await _call(app_client, author, "GET", "tariff-schema", 200))["title"] == "Gatemeter tariff"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"valid_from": "2026-01-31"}, "already-billed"),
        ({"code": "property", "valid_from": "2026-03-01"}, "other-service"),
        ({"content": CONTENT | {"currency": "EUR"}}, "other-currency"),
    ],
)
async def test_what_cannot_be_handed_in(
    app_client: httpx.AsyncClient, people: People, site: Site, changes: dict[str, Any], code: str
) -> None:
    auth = await people.staff("admin", site.project.id)
    draft = await _draft(app_client, auth, site, **changes)
    answer = await app_client.post(f"/api/v1/tariff-drafts/{draft['id']}/submissions", headers={**auth, **once()})
    assert (answer.status_code in (409, 422), answer.json()["code"]) == (True, code)
    await _call(app_client, auth, "POST", f"tariff-drafts/{draft['id']}/withdrawals", 201)
    again = await _call(app_client, auth, "POST", f"tariff-drafts/{draft['id']}/withdrawals", 409)
    assert again["code"] == "draft-not-open"


async def test_overlaps_and_own_approval(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("admin", site.project.id)
    first, second = [await _draft(app_client, auth, site) for _ in range(2)]
    for one in (first, second):
        await _call(app_client, auth, "POST", f"tariff-drafts/{one['id']}/submissions", 201)
    await _call(app_client, auth, "PUT", "tariff-approval-rules", 200, {"project_id": site.project.id, "allowed": True})
    await _call(app_client, auth, "POST", f"tariff-drafts/{first['id']}/approvals", 201)
    overlapping = await _call(app_client, auth, "POST", f"tariff-drafts/{second['id']}/approvals", 409)
    assert overlapping["code"] == "versions-overlap"
    viewer = await people.staff("viewer", site.project.id)
    await _call(app_client, viewer, "POST", f"tariff-drafts/{second['id']}/rejections", 403, {"reason": "no"})
    stranger = await people.staff("manager", (await people.project()).id)
    await _call(app_client, stranger, "GET", f"tariff-drafts/{second['id']}", 404)


async def test_a_draft_beside_the_last_bill(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("admin", site.project.id)
    draft = await _draft(app_client, auth, site)
    account = site.flats[0].account_id
    found = await _call(app_client, auth, "GET", f"tariff-drafts/{draft['id']}/comparison?account_id={account}", 200)
    assert (found["issued"]["amount"], found["drafted"]["amount"]) == ("146.49", "150.00")  # 300 kWh
    assert [line["component"] for line in found["lines"]] == ["energy"]
    assert found["quantity_changed"] is False
    gas = await _draft(app_client, auth, site, code="gas", content=CONTENT | {"service": "gas"})
    none = await _call(app_client, auth, "GET", f"tariff-drafts/{gas['id']}/comparison?account_id={account}", 404)
    assert none["code"] == "no-charge-of-tariff"


async def signed_in(client: httpx.AsyncClient, db: Database, auth: Auth) -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.clear()
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))


async def send(
    client: httpx.AsyncClient, address: str, fields: list[tuple[str, str]] | dict[str, str]
) -> httpx.Response:
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    tokens = {"csrf_token": client.cookies.get("csrf_token") or "", "once": secrets.token_urlsafe(16)}
    form: dict[str, list[str]] = {name: [token] for name, token in tokens.items()}
    for name, value in pairs:
        if name not in tokens:
            form.setdefault(name, []).append(value)
    return await client.post(address, data=form)


async def _changes_in(client: httpx.AsyncClient, db: Database, address: str, language: str) -> str:
    """What the draft changes, as its page says it in a language."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET locale = %s", (language,))
    page = (await client.get(address)).text
    return text_of(page[page.index('id="changes"') :])


async def test_the_editor(app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site) -> None:
    auth = await people.staff("admin", site.project.id)
    await signed_in(app_client, owner_db, auth)
    assert "Electricity" in (await app_client.get("/tariffs")).text
    begun = await send(
        app_client,
        "/tariff-drafts",
        {"name": "Power", "code": "electricity", "service_code": "electricity", "valid_from": "2026-03-01"},
    )
    assert begun.status_code == 303, begun.text
    address = begun.headers["location"].partition("?")[0]
    for action in ("add-tier", "add-period", "add-hours", "add-household", "add-season", "add-season",
                   "add-component:power_factor", "add-component:tax", "add-single", "remove-season:1"):  # fmt: skip
        page = await app_client.get(address)
        assert page.status_code == 200, page.text
        saved = await send(app_client, address, [*form_of(page.text).fields, ("action", action)])
        assert saved.status_code == 303, saved.text
    page = await app_client.get(address)
    assert "a price of 0 or more" in page.text
    assert "is-invalid" in page.text
    assert (await send(app_client, f"{address}/submit", {})).status_code == 422
    yaml = await app_client.get(f"{address}?tab=yaml")
    revision = dict(form_of(yaml.text).fields)["revision"]
    whole = [("name", "Power"), ("valid_from", "2026-03-01"), ("tab", "yaml"), ("revision", revision)]
    not_yaml = await send(app_client, address, [*whole, ("yaml", "a: [")])
    assert (not_yaml.status_code, "valid YAML" in not_yaml.text) == (422, True)
    kept = await send(app_client, address, [*whole, ("yaml", json.dumps(CONTENT))])
    assert kept.status_code == 303, kept.text
    page = await app_client.get(address)
    fields = form_of(page.text).fields
    assert ("t.components.0.cells.0.0.2", "0.9") in fields
    assert "What changes against the version" in page.text
    assert "Component energy › Prices" in await _changes_in(app_client, owner_db, address, "en")
    assert "组成部分 energy › 价格" in await _changes_in(app_client, owner_db, address, "zh-CN")
    assert "Component energy › Prices" in await _changes_in(app_client, owner_db, address, "en")
    preview = await send(app_client, "/tariff-previews", [*fields, ("p.usage", "3000")])
    assert "¥1,512.00" in preview.text  # 2880 × 0.5 + 120 × 0.6
    bad = await send(app_client, "/tariff-previews", [*fields, ("p.usage", "-1")])
    assert "expected 0 or more" in bad.text
    compared = await app_client.get(f"{address}/what-if?account=A-0000")
    assert "¥3.51" in compared.text
    assert "no account" in (await app_client.get(f"{address}/what-if?account=none")).text
    assert (await send(app_client, f"{address}/submit", {})).status_code == 303
    assert "Another person" in (own := await send(app_client, f"{address}/approve", {})).text or own.status_code == 403
    other = await people.staff("manager", site.project.id)
    await signed_in(app_client, owner_db, other)
    await app_client.get(address)
    published = await send(app_client, f"{address}/approve", {})
    assert published.status_code == 303, published.text
    shown = await app_client.get(published.headers["location"])
    assert "Component energy › Prices › tier 1" in shown.text
    copied = await send(
        app_client, published.headers["location"].partition("?")[0] + "/copies", {"valid_from": "2027-01-01"}
    )
    assert copied.status_code == 303


async def test_files_become_drafts(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    await signed_in(app_client, owner_db, await people.staff("admin", site.project.id))
    await app_client.get("/tariffs")
    rate = {"name": "R-1", "energyratestructure": [[{"rate": 0.1, "sell": 0.1}]], "usenetmetering": True}
    form = {"csrf_token": app_client.cookies.get("csrf_token") or "", "code": "r1", "valid_from": "2026-05-01"}
    made = await app_client.post("/tariff-drafts/files", data=form, files={"file": ("r.json", json.dumps(rate))})
    assert made.status_code == 200, made.text
    assert "usenetmetering is not taken over" in made.text
    refused = await app_client.post("/tariff-drafts/files", data=form, files={"file": ("r.json", "{")})
    assert refused.status_code == 422
