"""Notices, wishes and settings through the API and on the pages: who may, and what each sees."""

from pathlib import Path

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.notices.records import PREPAID_LOW
from cloud.settings import CloudSettings, load_settings
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser, text_of
from tests.integration.notices.site import Site, make_site


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Li was told, Wang has no address, and one notice was given up."""
    made = await make_site(worker_db)
    await made.say(made.saying("a"), made.saying("b", person_id=made.wang), made.saying("c", subject="Again"))
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """UPDATE notice SET state = 'given_up', reason = 'refused', error = '550 no such mailbox', attempts = 1,
                                 ended_at = now() WHERE dedupe_key = 'c'"""
        )
    return made


@pytest.fixture
def settings(owner_dsn: str, tmp_path: Path) -> CloudSettings:
    """With a mail server that nobody asks."""
    return load_settings(
        database_dsn=owner_dsn, database_pool=4, keys_file=tmp_path / "keys.json", secure_cookies=False, web_port=0,
        smtp_host="127.0.0.1", mail_from="bills@garden.example.com",
    )  # fmt: skip


async def test_staff_find_what_did_not_arrive_and_send_it_again(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    auth = await people.staff("manager", site.project_id)
    for query, keys in (
        ({"state": "given_up"}, ["Again"]),
        ({"reason": "no-address"}, ["账单"]),
        ({"person_id": site.li}, ["Again", "账单"]),
        ({"kind": "bill"}, []),
    ):
        listed = (await app_client.get("/api/v1/notices", params=query, headers=auth)).json()
        assert [one["subject"] for one in listed["items"]] == keys, query
    (given_up,) = (await app_client.get("/api/v1/notices?state=given_up", headers=auth)).json()["items"]
    assert (given_up["error"], given_up["next_try_at"]) == ("550 no such mailbox", None)
    at = f"/api/v1/notices/{given_up['id']}"
    again = await app_client.post(f"{at}/repetitions", headers=auth | once())
    assert (again.status_code, again.json()["state"], again.json()["reason"]) == (201, "queued", "")
    refused = await app_client.post(f"{at}/repetitions", headers=auth | once())
    assert (refused.status_code, refused.json()["code"]) == (409, "still-waiting")


async def test_each_role_does_what_it_may(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    first = (await site.notices())[0].id
    at = f"/api/v1/notices/{first}"
    other = await people.project()
    for auth, seen in (
        (await people.staff("viewer", site.project_id), 200),
        (await people.staff("guard", site.project_id), 403),
        (await people.staff("admin", other.id), 404),
        (await people.resident(site.project_id, site.li), 200),
        (await people.resident(site.project_id, site.wang), 404),
    ):
        assert (await app_client.get(at, headers=auth)).status_code == seen
        assert (await app_client.post(f"{at}/repetitions", headers=auth | once())).status_code in (403, 404)


async def test_a_resident_chooses_for_himself_only(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    li = await people.resident(site.project_id, site.li)
    at = f"/api/v1/people/{site.li}/notice-preferences"
    assert (await app_client.get(at, headers=li)).json()["declined"] == []
    wish = {"language": "en", "declined": [PREPAID_LOW]}
    assert (await app_client.put(at, json=wish, headers=li)).json() == wish | {
        "person_id": site.li, "project_id": site.project_id,
    }  # fmt: skip
    assert (await app_client.get(at, headers=li)).json()["declined"] == [PREPAID_LOW]
    of_wang = f"/api/v1/people/{site.wang}/notice-preferences"
    assert (await app_client.put(of_wang, json=wish, headers=li)).status_code == 404
    for wrong, code in (
        ({"language": "xx"}, "unknown-language"),
        ({"declined": ["supply.warning"]}, "unknown-notice"),
        ({"by": "post"}, "invalid-input"),
    ):
        answer = await app_client.put(at, json=wrong, headers=li)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_project_says_how_it_writes(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("manager", site.project_id)
    at = f"/api/v1/projects/{site.project_id}/notice-settings"
    found = (await app_client.get(at, headers=auth)).json()
    assert (found["by_email"], found["bills_on_issue"], found["mail_is_set_up"]) == (True, False, True)
    wanted = {"sender_name": "Sunshine", "reply_to": "office@example.com", "bills_on_issue": True, "language": "en"}
    assert (await app_client.put(at, json=wanted, headers=auth)).status_code == 200
    assert (await app_client.get(at, headers=auth)).json() | wanted == (await app_client.get(at, headers=auth)).json()
    for wrong, code in (
        ({"reply_to": "office"}, "bad-address"),
        ({"reply_to": "a@example.com\r\nBcc: b@example.com"}, "bad-address"),
        ({"sender_name": "A\r\nBcc: b@example.com"}, "bad-name"),
    ):
        answer = await app_client.put(at, json=wrong, headers=auth)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    viewer = await people.staff("viewer", site.project_id)
    assert (await app_client.put(at, json=wanted, headers=viewer)).status_code == 403


async def test_the_address_of_a_person_is_changed(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("manager", site.project_id)
    at = f"/api/v1/people/{site.wang}"
    changed = await app_client.patch(at, json={"email": "wang@example.com"}, headers=auth)
    assert (changed.status_code, changed.json()["email"]) == (200, "wang@example.com")
    assert (await app_client.patch(at, json={"email": "wang"}, headers=auth)).status_code == 422
    assert (await app_client.patch("/api/v1/people/999", json={"email": None}, headers=auth)).status_code == 404
    viewer = await people.staff("viewer", site.project_id)
    assert (await app_client.patch(at, json={"email": None}, headers=viewer)).status_code == 403


async def _browser(client: httpx.AsyncClient, people: People, auth: Auth) -> Browser:
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(client, auth)


async def test_staff_correct_an_address_on_the_page_of_a_notice(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    anna = await _browser(app_client, people, await people.staff("manager", site.project_id))
    assert "No e-mail address is known" in await anna.see("/notices?reason=no-address&state=")
    waiting, of_wang, given_up = await site.notices()
    assert "550 no such mailbox" in await anna.see(f"/notices/{given_up.id}")
    await anna.see(f"/notices/{of_wang.id}")
    await anna.send(f"/notices/{of_wang.id}/repetitions", email="wang@example.com")
    await anna.send(f"/notices/{waiting.id}/repetitions", 409)
    await anna.send("/notices/repetitions")
    assert {one.state for one in await site.notices()} == {"queued"}
    await anna.send("/notices/settings", bills_on_issue="yes", language="en", reply_to="office@example.com")
    shown = await anna.see("/notices/settings")
    assert "office@example.com" in shown
    assert 'name="by_email" value="yes">' in shown
    assert 'name="bills_on_issue" value="yes" checked>' in shown


async def test_a_resident_reads_and_chooses(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    li = await _browser(app_client, people, await people.resident(site.project_id, site.li))
    mine = text_of(await li.see("/my/notices"))
    assert "Again" in mine
    assert "550" not in mine
    assert "&lt;b&gt;2 &lt; 3&lt;/b&gt;" in await li.see(f"/notices/{(await site.notices())[0].id}")
    await li.send("/my/notices", language="en", kinds="bill")
    chosen = await li.see("/my/notices")
    assert 'value="bill" checked>' in chosen
    assert 'value="prepaid.low">' in chosen
    assert '<option value="en" selected>' in chosen
