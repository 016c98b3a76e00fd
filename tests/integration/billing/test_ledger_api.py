"""The ledger through REST, pages and the command line: who may, what comes, the same file of a closed month."""

import asyncio
import csv
import hashlib
import io
import secrets
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cloud.billing.commands import app as billing_app
from cloud.billing.ledger.journals import Journal, Posting, book
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.payments import service as payments
from tests.integration.app import Auth, People, once
from tests.integration.billing.site import JANUARY_USAGE, Site, make_site
from tests.worlds import World, world

JANUARY = date(2026, 1, 1)
MONTH: dict[str, Any] = {"month": "2026-02"}


async def _site(db: Database) -> Site:
    """Two flats, billed for January on 1 February; the first paid 400 on the 20th."""
    made = await make_site(db)
    for flat in made.flats:
        for medium, quantity in JANUARY_USAGE.items():
            await made.read(flat, medium, [quantity])
    await made.run(JANUARY)
    async with db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, made.flats[0].account_id, Decimal(400), "cash", date(2026, 2, 20))
    return made


@world
async def site_world(db: Database) -> Site:
    """The site of these tests."""
    return await _site(db)


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


class Client:
    """Asks the API in somebody's name below one project."""

    def __init__(self, client: httpx.AsyncClient, auth: Auth, project_id: int) -> None:
        self._client, self._auth, self._base = client, auth, f"/api/v1/projects/{project_id}"

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """The answer as JSON; paths that begin with a slash are outside the project."""
        answer = await self._client.get(self._url(path), params=query or None, headers=self._auth)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, status: int = 201, **body: Any) -> Any:
        """The answer as JSON."""
        answer = await self._client.post(self._url(path), json=body, headers={**self._auth, **once()})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def set(self, code: str, status: int = 204, **body: Any) -> None:
        """Sets a ledger account."""
        url = self._url(f"ledger-accounts/{code}")
        answer = await self._client.put(url, json=body, headers=self._auth)
        assert answer.status_code == status, answer.text

    async def bytes_of(self, path: str) -> bytes:
        """The answer as it is."""
        answer = await self._client.get(path, headers=self._auth)
        assert answer.status_code == 200, answer.text
        return answer.content

    def _url(self, path: str) -> str:
        return f"/api/v1{path}" if path.startswith("/") else f"{self._base}/{path}"


async def test_trial_balance_statement_and_receivables(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    ask = Client(app_client, await people.staff("viewer"), site.project.id)
    found = await ask.get("trial-balance", 200, **{"from": "2026-02-01", "to": "2026-03-01"})
    rows = {one["ledger_account"]: one for one in found["items"]}
    assert (rows["cash:cash"]["number"], rows["cash:cash"]["closing"]["amount"]) == ("1001", "400.00")
    assert rows["receivable"]["closing"] == {"amount": "319.16", "currency": "CNY"}
    assert found["total"]["debit"] == found["total"]["credit"] == {"amount": "1038.32", "currency": "CNY"}
    assert (found["total"]["opening"]["amount"], found["total"]["closing"]["amount"]) == ("0.00", "0.00")
    await ask.get("trial-balance", 422, **{"from": "2026-02-01", "to": "2026-02-01"})

    path = f"/accounts/{site.flats[0].account_id}/statement"
    first = await ask.get(path, limit=2)
    second = await ask.get(path, limit=2, cursor=first["next_cursor"])
    entries = [*first["items"], *second["items"]]
    assert [one["balance"]["amount"] for one in entries] == ["319.16", "0.00", "-80.84"]
    assert [one["kind"] for one in entries] == ["bill", "payment", "payment"]
    aged = await ask.get("receivables-by-age", as_of="2026-03-01")
    assert [(one["account_id"], one["to_30"]["amount"]) for one in aged["items"]] == [
        (site.flats[1].account_id, "319.16")
    ]
    await ask.get("/accounts/999/statement", 404)


async def test_nobody_sees_or_changes_the_accounts_of_others(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    project_id, flat = site.project.id, site.flats[0]
    stranger = Client(app_client, await people.staff("admin", (await people.project()).id), project_id)
    await stranger.get("trial-balance", 404, **{"from": "2026-02-01", "to": "2026-03-01"})
    await stranger.get("ledger-accounts", 404)
    await stranger.get(f"/accounts/{flat.account_id}/statement", 404)
    await stranger.post("accounting-months", 404, **MONTH)
    await stranger.post("voucher-exports", 404, **MONTH)
    await stranger.set("revenue", 404, number="1", name="x")
    resident = Client(app_client, await people.resident(project_id, flat.person_id), project_id)
    await resident.get(f"/accounts/{flat.account_id}/statement", 403)
    cashier = Client(app_client, await people.staff("cashier", project_id), project_id)
    await cashier.get(f"/accounts/{flat.account_id}/statement")
    await cashier.post("accounting-months", 403, **MONTH)
    await cashier.post("voucher-exports", 403, **MONTH)


async def test_the_chart_of_accounts(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    ask = Client(app_client, await people.staff("manager"), site.project.id)
    await ask.set("revenue", number="6001.02", name="物业收入")
    await ask.set("revenue:electricity", number="6051", name="电费")
    await ask.set("revenue:water", 422, number="6051 x", name="水费")
    rows = {one["code"]: one for one in (await ask.get("ledger-accounts"))["items"]}
    assert (rows["revenue:electricity"]["number"], rows["revenue:electricity"]["own"]) == ("6051", True)
    assert (rows["revenue:water"]["number"], rows["revenue:water"]["own"]) == ("6001.02", False)
    assert (rows["receivable"]["name"], rows["receivable"]["used"]) == ("应收账款", True)
    assert rows["liability:deposit"]["used"] is False
    (export,) = [await ask.post("voucher-exports", **MONTH, file_type="csv")]
    text = (await ask.bytes_of(export["file"])).decode("utf-8-sig")
    assert {row["科目编码"] for row in csv.DictReader(io.StringIO(text))} == {"1001", "1122", "2203", "6001.02", "6051"}


async def test_a_closed_month_is_always_the_same_file(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    ask = Client(app_client, await people.staff("manager"), site.project.id)
    wanted = MONTH | {"layout": "k3", "grouping": "journal"}
    open_ = await ask.post("voucher-exports", **wanted)
    assert (open_["month_state"], open_["vouchers"], open_["total"]["amount"]) == ("open", 3, "1038.32")
    assert hashlib.sha256(await ask.bytes_of(open_["file"])).hexdigest() == open_["sha256"]
    closing = await ask.post("accounting-months", **MONTH)
    refused = await ask.post("accounting-months", 409, **MONTH)
    assert refused["code"] == "not-the-next-month"

    first = await ask.post("voucher-exports", **wanted)
    assert first["sha256"] == open_["sha256"]
    # Not even another number for an account changes what went out; opening the month again does.
    await ask.set("revenue", number="6001.99", name="收入")
    again = await ask.post("voucher-exports", **wanted)
    assert (again["same_as"], again["month_state"]) == (first["id"], "closed")
    assert await ask.bytes_of(again["file"]) == await ask.bytes_of(first["file"])
    await ask.post(f"/accounting-months/{closing['id']}/reopenings", 422, reason="")
    opened = await ask.post(f"/accounting-months/{closing['id']}/reopenings", reason="a wrong number")
    assert opened["reopening_reason"] == "a wrong number"
    await ask.post("accounting-months", **MONTH)
    other = await ask.post("voucher-exports", **wanted)
    assert other["same_as"] is None
    assert other["sha256"] != first["sha256"]
    listed = (await ask.get("voucher-exports", limit=2))["items"]
    assert [one["id"] for one in listed] == [other["id"], again["id"]]
    assert len((await ask.get("accounting-months"))["items"]) == 2


async def test_what_makes_no_file(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    ask = Client(app_client, await people.staff("manager"), site.project.id)
    for body, status, code in (
        ({"month": "2026-01"}, 409, "nothing-booked"),
        (MONTH | {"layout": "beancount", "file_type": "csv"}, 422, "bad-file-type"),
        ({"month": "2026-13"}, 422, "invalid-input"),
    ):
        assert (await ask.post("voucher-exports", status, **body))["code"] == code
    async with site.db.transaction(SYSTEM) as conn:
        sides = (Posting("strange", Decimal(1)), Posting("cash:cash", Decimal(-1)))
        await book(conn, [Journal(site.project.id, "refund", date(2026, 2, 3), "test", 1, "CNY", sides)])
    refused = await ask.post("voucher-exports", 409, **MONTH)
    assert (refused["code"], "strange" in refused["detail"]) == ("no-account-number", True)


async def test_a_proof_on_demand(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    ask = Client(app_client, await people.staff("manager"), site.project.id)
    made = await ask.post("ledger-proofs")
    assert (made["journals"], made["bills"], made["accounts"], made["discrepancies"]) == (3, 2, 2, 0)
    assert (await ask.get("ledger-proofs"))["items"] == [made]


async def test_the_pages(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("manager")
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    app_client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))

    async def page(path: str) -> str:
        answer = await app_client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(path: str, status: int = 303, **form: str) -> str:
        token = (await page("/ledger/vouchers")).split('name="csrf_token" value="')[1].split('"')[0]
        answer = await app_client.post(path, data={**form, "csrf_token": token, "once": secrets.token_urlsafe(16)})
        assert answer.status_code == status, answer.text
        return str(answer.headers.get("Location", ""))

    html = await page("/ledger?from=2026-02-01&until=2026-02-28")
    assert "应收账款" in html
    assert "1,038.32" in html
    assert "319.16" in await page(f"/ledger/statements/{site.flats[0].account_id}?ledger_account=receivable&from=")
    assert "Over 90 days" in await page("/ledger/receivables?as_of=2026-06-01")
    await send("/ledger/accounts", code="revenue", number="6001.07", name="收入")
    assert "6001.07" in await page("/ledger/accounts")
    await send("/ledger/months", month="2026-02")
    assert "Opened again" in await page("/ledger/months")
    await send("/ledger/vouchers", month="2026-02", layout="u8.txt")
    html = await page("/ledger/vouchers")
    file = html.split('href="/ledger/vouchers/')[1].split('"')[0]
    assert (await app_client.get(f"/ledger/vouchers/{file}")).content.startswith("填制凭证,V800\r\n".encode("gb18030"))
    await send("/ledger/proofs")
    assert "Everything agrees" in await page("/ledger/proofs")

    for path, head, rows in (
        ("/ledger?from=2026-02-01&until=2026-02-28&format=csv", "ledger_account", 8),
        (f"/ledger/statements/{site.flats[0].account_id}?format=csv", "booked_on", 4),
        ("/ledger/receivables?as_of=2026-06-01&format=csv", "account", 2),
    ):
        lines = (await app_client.get(path)).content.decode("utf-8-sig").splitlines()
        assert (lines[0].split(",")[0], len(lines)) == (head, rows), path
        assert (await app_client.get(path.replace("csv", "xlsx"))).content.startswith(b"PK")


def test_the_command_line(owner_dsn: str, tmp_path: Path) -> None:
    async def make() -> None:
        async with Database(owner_dsn, "gatemeter_worker", max_size=2) as db:
            await _site(db)

    asyncio.run(make())

    def run(*more: str) -> Any:
        given = ["vouchers", "--dsn", owner_dsn, "--project", "demo", *more]
        return CliRunner().invoke(billing_app, given)

    out = tmp_path / "feb.beancount"
    done = run("--month", "2026-02", "--format", "beancount", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert done.output.startswith("2 vouchers, ")
    assert hashlib.sha256(out.read_bytes()).hexdigest() in done.output
    for more, reason in (
        (("--month", "2026-02", "--format", "k3", "--out", str(tmp_path / "x.txt")), "written as .xlsx or .csv"),
        (("--month", "2026-3x", "--out", str(tmp_path / "x.csv")), "expected a month"),
        (("--month", "2026-02", "--out", str(tmp_path / "none" / "x.csv")), "expected a place to write to"),
    ):
        refused = run(*more)
        assert (refused.exit_code, reason in refused.output) == (2, True), refused.output
    assert list(tmp_path.iterdir()) == [out]
