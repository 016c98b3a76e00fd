"""Sending bills through the API and by the buttons of pages, with mail set up and without."""

from pathlib import Path

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.settings import CloudSettings, load_settings
from tests.integration.app import People, once
from tests.integration.billing.site import JANUARY_USAGE, SINCE, Site, make_site
from tests.integration.browser import Browser, text_of
from tests.worlds import World, world


@pytest.fixture
def settings(owner_dsn: str, tmp_path: Path, request: pytest.FixtureRequest) -> CloudSettings:
    """With a mail server that nobody asks, unless the test is marked otherwise."""
    mail = {} if "without_mail" in request.node.name else {"smtp_host": "127.0.0.1", "mail_from": "a@example.com"}
    return load_settings(
        database_dsn=owner_dsn, database_pool=4, keys_file=tmp_path / "keys.json", secure_cookies=False, **mail
    )


@world
async def site_world(db: Database) -> Site:
    """One issued bill."""
    made = await make_site(db, 1)
    for medium, usage in JANUARY_USAGE.items():
        await made.read(made.flats[0], medium, [usage])
    await made.run(SINCE)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def test_a_run_and_a_bill_are_sent(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("manager", site.project.id)
    (run,) = (await app_client.get("/api/v1/bill-runs", headers=auth)).json()["items"]
    key, at = once(), f"/api/v1/bill-runs/{run['id']}"
    asked = await app_client.post(f"{at}/mailings", headers=auth | key)
    repeated = await app_client.post(f"{at}/mailings", headers=auth | key)
    assert (asked.status_code, asked.headers["Location"]) == (202, f"/api/v1/jobs/{asked.json()['job_id']}")
    assert repeated.json() == asked.json()
    (bill,) = await site.bills()
    sent = await app_client.post(f"/api/v1/bills/{bill.id}/mailings", headers=auth | once())
    assert (sent.status_code, sent.json()["state"], sent.json()["reason"]) == (201, "suppressed", "no-address")
    assert (await app_client.get(f"{at}/mailing", headers=auth)).json()["states"] == {"suppressed": 1}
    viewer = await people.staff("viewer", site.project.id)
    for address in (f"{at}/mailings", f"/api/v1/bills/{bill.id}/mailings"):
        assert (await app_client.post(address, headers=viewer | once())).status_code == 403


async def test_buttons_send_bills(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("manager", site.project.id)
    resident = await people.resident(site.project.id, site.flats[0].person_id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
        await conn.execute("UPDATE person SET email = 'li@example.com'")
    anna, li = Browser(app_client, auth), Browser(app_client, resident)
    (run,) = await site.rows("SELECT id FROM bill_run")
    (bill,) = await site.bills()
    assert "Send by e-mail" in await anna.see(f"/bill-runs/{run['id']}")
    await anna.send(f"/bill-runs/{run['id']}/mailings")
    assert await site.rows("SELECT id FROM job WHERE kind = 'billing.mail-bills'")
    assert "Send by e-mail" in await anna.see(f"/bills/{bill.id}")
    await anna.send(f"/bills/{bill.id}/mailings")
    assert "It is on its way" in await anna.see(f"/bills/{bill.id}")
    await anna.send(f"/bills/{bill.id}/mailings", 409)
    assert "Send by e-mail" not in await li.see(f"/my/bills/{bill.id}")
    # Told in the language of the person, whatever that of the page is.
    assert "账单" in await li.see("/my/notices")
    assert "When the bills are issued" in await anna.see("/bill-runs")


async def test_a_bill_that_does_not_arrive_is_seen_on_its_account(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    auth = await people.staff("manager", site.project.id)
    resident = await people.resident(site.project.id, site.flats[0].person_id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
        await conn.execute("UPDATE person SET email = 'li@example.com'")
    anna, li = Browser(app_client, auth), Browser(app_client, resident)
    (bill,) = await site.bills()
    account = f"/accounts/{bill.account_id}/held-money"
    said = "The last bill did not reach this account by e-mail"
    await anna.see(account)
    await anna.send(f"/bills/{bill.id}/mailings")
    assert said not in text_of(await anna.see(account))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute(
            """UPDATE notice SET state = 'given_up', reason = 'refused', error = '550 no such mailbox',
                                 ended_at = now()"""
        )
    seen = text_of(await anna.see(account))
    assert said in seen
    assert "550 no such mailbox" in seen
    assert said not in text_of(await li.see("/my/balance"))
    (notice,) = await site.rows("SELECT id FROM notice")
    for of, found in (bill.account_id, True), (bill.account_id + 1, False):
        assert (f'/notices/{notice["id"]}"' in await anna.see(f"/notices?account_id={of}")) is found
    # It is sent again from there, and the account is told of no more.
    await anna.send(f"/notices/{notice['id']}/repetitions")
    assert said not in text_of(await anna.see(account))


async def test_without_mail_pages_say_so(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("manager", site.project.id)
    (bill,) = await site.bills()
    (run,) = await site.rows("SELECT id FROM bill_run")
    answer = await app_client.post(f"/api/v1/bills/{bill.id}/mailings", headers=auth | once())
    assert (answer.status_code, answer.json()["code"]) == (409, "mail-off")
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    anna = Browser(app_client, auth)
    for address in (f"/bills/{bill.id}", f"/bill-runs/{run['id']}", "/bill-runs", "/notices"):
        assert "Mail is not set up" in await anna.see(address)
