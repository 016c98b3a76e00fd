"""Imports over the API and the pages: who may, of which project, once for each intention, and what people see."""

import csv
import io
import re
from typing import Any, Final

import httpx
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.kit.requests import MAX_BODY_BYTES
from cloud.metering.imports.service import MAX_UPLOAD_BYTES
from tests.integration.app import Auth, People, once
from tests.integration.browser import text_of
from tests.integration.metering.house import make_house
from tests.integration.metering.site import Site, make_site
from tests.integration.metering.test_import_real_data import get, run_jobs
from tests.integration.metering.test_imports import HALF_BAD

GOOD: Final = "meter,time,value\nE1,2026-01-31 08:00,1.5\n"


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def post(
    client: httpx.AsyncClient, auth: Auth, site: Site, content: str | bytes, key: Auth | None = None, **fields: Any
) -> httpx.Response:
    data = content.encode() if isinstance(content, str) else content
    return await client.post(
        "/api/v1/reading-imports",
        data={"project_id": str(site.project_id), **fields},
        files={"file": ("march.csv", data, "text/csv")},
        headers={**auth, **(key or once())},
    )


async def test_from_upload_to_answers(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site
) -> None:
    auth = await people.staff("manager", site.project_id)
    made = await post(app_client, auth, site, HALF_BAD)
    assert made.status_code == 201, made.text
    path = f"reading-imports/{made.json()['id']}"
    assert (made.json()["state"], made.json()["file_name"]) == ("queued", "march.csv")
    await run_jobs(worker_db)
    done = await get(app_client, auth, path)
    assert (done["state"], done["counts"]) == ("done", {"stored": 2, "other-value": 1, "refused": 2})
    first = await get(app_client, auth, f"{path}/rows?limit=2")
    rest = await get(app_client, auth, f"{path}/rows?cursor={first['next_cursor']}")
    assert [row["line"] for row in first["items"] + rest["items"]] == [2, 3, 4, 5, 6]
    assert first["items"][0]["value"] == "1.500 kWh"
    assert first["items"][0]["cells"] == ["E1", "2026-01-31 08:00", "1.5", "kWh", ""]
    bad = await get(app_client, auth, f"{path}/rows?not_stored=true")
    assert [row["code"] for row in bad["items"]] == ["other-value", "unknown-meter", "negative"]
    listed = await get(app_client, auth, f"reading-imports?project_id={site.project_id}&state=done&kind=register")
    assert [one["id"] for one in listed["items"]] == [done["id"]]
    assert (await get(app_client, auth, "reading-imports?state=failed"))["items"] == []
    again = await app_client.post(f"/api/v1/{path}/repetitions", headers={**auth, **once()})
    assert (again.status_code, again.json()["state"]) == (201, "queued")


async def test_sent_again_with_its_key_it_is_one_import(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    auth, key = await people.staff("manager", site.project_id), once()
    answers = [await post(app_client, auth, site, GOOD, key) for _ in range(2)]
    assert [one.json()["id"] for one in answers] == [1, 1]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    for content, kind in ((GOOD + "\n", "register"), (GOOD, "interval")):
        other = await post(app_client, auth, site, content, key, kind=kind)
        assert (other.status_code, other.json()["code"]) == (409, "key-reused")
    same = await post(app_client, auth, site, GOOD)
    assert (same.status_code, same.json()["code"]) == (409, "file-imported")
    assert "import 1" in same.json()["detail"]
    assert (await post(app_client, auth, site, GOOD, again="true")).status_code == 201
    once_more = await app_client.post(
        "/api/v1/reading-imports/1/imports", json={"again": True}, headers={**auth, **once()}
    )
    assert once_more.status_code == 201


async def test_a_file_may_be_larger_than_other_requests(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    auth = await people.staff("manager", site.project_id)
    large = GOOD.encode() + b"\n" * (MAX_BODY_BYTES + 1)
    assert (await post(app_client, auth, site, large)).status_code == 201
    refused = await post(app_client, auth, site, b"\n" * (MAX_UPLOAD_BYTES + 1))
    assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
    headers = {**auth, **once(), "Content-Type": "application/json"}
    other = await app_client.post("/api/v1/meters", content=large, headers=headers)
    assert other.status_code == 413


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "interval", "interval_s": "99999999"}, "interval_s"),
        ({"kind": "interval", "opening": "-1"}, "opening"),
    ],
)
async def test_options_that_cannot_be(
    app_client: httpx.AsyncClient, people: People, site: Site, fields: dict[str, Any], field: str
) -> None:
    auth = await people.staff("manager", site.project_id)
    answer = await post(app_client, auth, site, GOOD, **fields)
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, [field])


async def test_who_may_and_of_which_project(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site
) -> None:
    elsewhere = await make_site(worker_db, code="elsewhere")
    boss = await people.staff("manager", site.project_id)
    assert (await post(app_client, boss, elsewhere, GOOD)).status_code == 404
    path = f"/api/v1/reading-imports/{(await post(app_client, boss, site, GOOD)).json()['id']}"
    for role, read, write in (("manager", 200, 409), ("viewer", 200, 403), ("cashier", 403, 403), ("guard", 403, 403)):
        auth = await people.staff(role, site.project_id)
        assert (await app_client.get(path, headers=auth)).status_code == read
        assert (await app_client.get(f"{path}/rows", headers=auth)).status_code == read
        answer = await app_client.post(f"{path}/confirmations", json={"reason": "x"}, headers={**auth, **once()})
        assert answer.status_code == write
        assert (await post(app_client, auth, site, GOOD)).status_code == write
    stranger = await people.staff("admin", elsewhere.project_id)
    for suffix in ("", "/rows"):
        assert (await app_client.get(path + suffix, headers=stranger)).status_code == 404
    for action, body in (("confirmations", {"reason": "x"}), ("repetitions", None), ("imports", {"again": True})):
        answer = await app_client.post(f"{path}/{action}", json=body, headers={**stranger, **once()})
        assert answer.status_code == 404, action
    assert (await get(app_client, stranger, "reading-imports"))["items"] == []


async def test_meters_of_another_project_are_unknown(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site
) -> None:
    elsewhere = await make_site(worker_db, code="elsewhere", meters=9)
    auth = await people.staff("manager", site.project_id)
    path = f"reading-imports/{(await post(app_client, auth, site, GOOD.replace('E1', 'E9'))).json()['id']}"
    await run_jobs(worker_db)
    assert elsewhere.meters
    assert [row["code"] for row in (await get(app_client, auth, f"{path}/rows"))["items"]] == ["unknown-meter"]


async def _sign_in(client: httpx.AsyncClient, db: Database, auth: Auth) -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.clear()
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))


async def _page(client: httpx.AsyncClient, address: str) -> str:
    answer = await client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


async def _send(client: httpx.AsyncClient, address: str, files: Any = None, **form: Any) -> str:
    token = client.cookies.get("csrf_token") or ""
    answer = await client.post(address, data={**form, "csrf_token": token}, files=files)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_pages_from_preview_to_a_repaired_file(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, owner_db: Database, site: Site
) -> None:
    await _sign_in(app_client, owner_db, await people.staff("manager", site.project_id))
    assert "No import" in await _page(app_client, "/reading-imports")
    await _page(app_client, "/reading-imports/new")
    text = HALF_BAD + "E2,2026-02-01 10:00,1999.5,,\n=1+1,2026-02-01,1,,\n"

    def file(content: bytes) -> dict[str, tuple[str, bytes, str]]:
        return {"file": ("二月.csv", content, "text/csv")}

    preview = await _send(app_client, "/reading-imports", file(text.encode("gbk")), kind="register", dry_run="true")
    assert "hx-trigger" in await _page(app_client, preview)
    await run_jobs(worker_db)
    shown = await _page(app_client, preview)
    assert "二月.csv" in shown
    assert "Nothing is stored yet" in shown
    path = await _send(app_client, f"{preview}/import")
    await run_jobs(worker_db)
    shown = await _page(app_client, f"{path}?outcome=needs-confirmation")
    assert re.findall(r'name="lines" value="(\d+)"', shown) == ["7"]
    assert "The register went backward" in shown
    assert "E9" not in text_of(shown)
    nothing = {"reason": "read <twice>", "csrf_token": app_client.cookies["csrf_token"]}
    assert (await app_client.post(f"{path}/confirm", data=nothing)).status_code == 422
    await _send(app_client, f"{path}/confirm", reason="read <twice>", lines="7")
    await run_jobs(worker_db)
    assert "read &lt;twice&gt;" in await _page(app_client, path)

    same = await _send(app_client, "/reading-imports", file(text.encode("gbk")), kind="register")
    assert same == f"{path}?same=1"
    assert "imported before" in await _page(app_client, same)

    answer = await app_client.get(f"{path}/rows.csv")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert rows[0] == ["表号", "抄表时间", "读数", "单位", "通道", "Answer", "Details of the answer"]
    assert [(row[0], row[5]) for row in rows[1:]] == [
        ("E1", "other-value"), ("E9", "unknown-meter"), ("E2", "negative"),
        ("'=1+1", "formula-without-value"),
    ]  # fmt: skip
    repaired = answer.content.replace(b"E9,", b"E3,").replace(b"-4", b"1999")
    path = await _send(app_client, "/reading-imports", file(repaired), kind="register")
    await run_jobs(worker_db)
    rows = list(csv.reader(io.StringIO((await app_client.get(f"{path}/rows.csv")).content.decode("utf-8-sig"))))
    assert rows[0][-2:] == ["Answer", "Details of the answer"]
    assert len(rows[0]) == 7
    assert [(row[0], row[5]) for row in rows[1:]] == [("E1", "other-value"), ("'=1+1", "formula-without-value")]
    assert "page-link" not in await _page(app_client, "/reading-imports?state=done&kind=register")


async def test_an_import_that_nobody_works_on_goes_on(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, owner_db: Database, site: Site
) -> None:
    await _sign_in(app_client, owner_db, await people.staff("manager", site.project_id))
    await _page(app_client, "/reading-imports/new")
    path = await _send(app_client, "/reading-imports", {"file": ("a.csv", GOOD.encode(), "text/csv")}, dry_run="true")
    assert "broken off" not in await _page(app_client, path)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE job SET state = 'failed'")
    assert "broken off" in await _page(app_client, path)
    await _send(app_client, f"{path}/look-again")
    await run_jobs(worker_db)
    assert "Nothing is stored yet" in await _page(app_client, path)
    # Done, a preview has nothing more to look at.
    form = {"csrf_token": app_client.cookies["csrf_token"]}
    assert (await app_client.post(f"{path}/look-again", data=form)).status_code == 409


async def test_a_resident_is_led_home(app_client: httpx.AsyncClient, people: People, owner_db: Database) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
    await _sign_in(app_client, owner_db, await people.resident(house.project.id, house.people["tenant"]))
    for address in ("/reading-imports", "/reading-imports/1"):
        answer = await app_client.get(address)
        assert (answer.status_code, answer.headers["location"]) == (303, "/home")
