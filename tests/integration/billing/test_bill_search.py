"""Bills are found by a part of their number, their account, the unit and who pays, page by page."""

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People
from tests.integration.billing.site import SINCE, Site, make_site
from tests.integration.browser import Browser, text_of


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Three flats with a bill each."""
    made = await make_site(worker_db, 3, services=("property",))
    await made.run(SINCE)
    return made


async def test_bills_are_found_by_number_account_unit_and_name(
    app_client: httpx.AsyncClient, people: People, site: Site, worker_db: Database
) -> None:
    auth = await people.staff("viewer", site.project.id)
    bills = {bill.account_id: bill for bill in await site.bills()}
    of = [bills[flat.account_id] for flat in site.flats]

    async def found(search: str, **more: str) -> list[int]:
        answer = await app_client.get("/api/v1/bills", params={"search": search, **more}, headers=auth)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    assert await found("resident 1") == [of[1].id]
    assert await found("A-0002") == [of[2].id]
    assert await found("tower 1 0000") == [of[0].id]
    assert await found(str(of[1].number)) == [of[1].id]
    assert await found("Tower 1") == [one.id for one in reversed(of)]
    assert await found("100%") == []
    assert await found("Resident", state="paid") == []
    first = (await app_client.get("/api/v1/bills?search=Resident&limit=2", headers=auth)).json()
    rest = await found("Resident", limit="2", cursor=first["next_cursor"])
    assert [*(one["id"] for one in first["items"]), *rest] == [one.id for one in reversed(of)]
    mine = await people.resident(site.project.id, site.flats[0].person_id)
    theirs = (await app_client.get("/api/v1/bills?search=Resident", headers=mine)).json()["items"]
    assert [one["id"] for one in theirs] == [of[0].id], "of others a resident finds nothing"
    elsewhere = await people.staff("manager", (await people.project()).id)
    assert (await app_client.get("/api/v1/bills?search=Resident", headers=elsewhere)).json()["items"] == []

    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, auth)
    page = await browser.see("/bills?search=resident 2")
    assert f'href="/bills/{of[2].id}"' in page
    assert f'href="/bills/{of[1].id}"' not in page
    assert 'value="resident 2"' in page
    assert "No bill found" in text_of(await browser.see("/bills?search=nobody"))
