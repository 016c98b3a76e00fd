"""Corrections by hand: adjustments beside what they correct, notes made and approved, re-rating, and final bills."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.late_usage import rerate_account
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People
from tests.integration.billing.late import corrected_january
from tests.integration.billing.site import Site, noon
from tests.integration.browser import Browser
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)


@world
async def site_world(db: Database) -> Site:
    """Two flats; January is billed, then 100 kWh more of the first one become known."""
    return await corrected_january(db)


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _browsers(client: httpx.AsyncClient, people: People, site: Site) -> tuple[Browser, Browser, Browser]:
    """Two managers and the resident of the first flat."""
    project_id = site.project.id
    auths = [await people.staff("manager", project_id) for _ in range(2)]
    auths.append(await people.resident(project_id, site.flats[0].person_id))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    first, second, resident = (Browser(client, auth) for auth in auths)
    await first.see("/adjustments")
    return first, second, resident


async def test_an_adjustment_is_shown_beside_what_it_corrects(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    anna, _, resident = await _browsers(app_client, people, site)
    listed = await anna.see("/adjustments")
    for said in ("¥146.73", "¥195.56", "+¥48.83", "For the next bill", "2026-000001"):
        assert said in listed
    for wanted, found in (
        ("account=A-0000&state=open&usage_of=electricity&month=2026-01", True),
        ("account=A-0001", False),
        ("account=nobody", False),
        ("state=billed", False),
        ("state=none", False),
        ("usage_of=water", False),
        ("month=2026-02", False),
    ):
        page = await anna.see(f"/adjustments?{wanted}")
        assert ("+¥48.83" in page, "No adjustment" in page) == (found, not found), wanted
    (row,) = await site.rows("SELECT id FROM adjustment")
    one = await anna.see(f"/adjustments/{row['id']}")
    for said in ("300.5 kWh", "400.5 kWh", "5,300.500 kWh", "Usage became known otherwise", 'id="difference"'):
        assert said in one
    # By the clock of today all readings came after the bill of January: the one at its end, and those before.
    assert "Readings that came or were edited after the charge" in one
    assert "received" in one
    for said in ("Rate again", "Edits of readings", "Readings that came"):
        assert said not in await resident.see("/my/adjustments")
        assert said not in await resident.see(f"/my/adjustments/{row['id']}")
    assert "+¥48.83" in await resident.see("/my/adjustments")


async def test_a_stranger_sees_nothing(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    (row,) = await site.rows("SELECT id FROM adjustment")
    auth = await people.resident(site.project.id, site.flats[1].person_id)
    assert (await app_client.get(f"/api/v1/adjustments/{row['id']}", headers=auth)).status_code == 404
    seen = await app_client.get(f"/api/v1/adjustments/{row['id']}", headers=await people.staff("viewer"))
    body = seen.json()
    (usage,) = [line for line in body["lines"] if line["changed"]]
    assert (usage["old_amount"]["amount"], usage["amount"]["amount"]) == ("146.73", "195.56")
    assert body["old_opening"] == body["opening"]
    ends = [body[name]["reading"]["quantity"] for name in ("old_closing", "closing")]
    assert ends == ["5300.5", "5400.5"]


async def test_open_adjustments_become_a_note_that_another_person_issues(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    anna, bert, resident = await _browsers(app_client, people, site)
    account = site.flats[0].account_id
    assert "Make a debit note" in await anna.see("/adjustments?account=A-0000")
    made = await anna.send(f"/accounts/{account}/adjustment-notes", reason="late <reading>")
    address = made.headers["Location"].split("?")[0]
    draft = await bert.see(address)
    for said in ("Debit note", "late &lt;reading&gt;", "is due on", "Approve and issue"):
        assert said in draft
    assert address in await bert.see("/notes")
    note_id = address.rsplit("/", 1)[1]
    await anna.send(f"/notes/{note_id}/approve", 409)
    await bert.send(f"/notes/{note_id}/approve")
    mine = await resident.see(f"/my{address}")
    assert "D2026-000001" in mine
    assert "300.5 kWh = ¥146.73 until now, 400.5 kWh = ¥195.56 as it should be" in mine
    assert "Debit note" in await resident.see("/my/bills")
    assert "Nothing waits" in await bert.see("/notes")
    assert "D2026-000001" in await bert.see("/notes?every=true&kind=debit_note")
    assert "D2026-000001" not in await bert.see("/notes?every=true&kind=credit_note")


async def test_a_credit_note_is_looked_at_before_it_is_asked_for(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    anna, bert, resident = await _browsers(app_client, people, site)
    (bill, *_) = await site.bills(account_id=site.flats[0].account_id)
    form = await anna.see(f"/bills/{bill.id}/notes/new")
    assert form.count('name="amount-') == 2
    fields: dict[str, Any] = {"kind": "credit_note", "reason": "goodwill", "amount-1": "46.73", "amount-2": "10.00"}
    refused = await anna.send(f"/bills/{bill.id}/notes", 422, **{**fields, "amount-1": "146.74"})
    assert 'value="goodwill"' in refused.text
    assert (await anna.send(f"/bills/{bill.id}/notes", 422, kind="credit_note", reason="x")).status_code == 422
    looked = await anna.send(f"/bills/{bill.id}/notes", 200, **fields)
    assert "Credit note of ¥56.73" in looked.text
    assert await site.rows("SELECT FROM bill WHERE kind <> 'bill'") == []
    made = await anna.send(f"/bills/{bill.id}/notes", **fields, sure="yes")
    address = made.headers["Location"].split("?")[0]
    note_id = address.rsplit("/", 1)[1]
    assert "Taken off bill" in await bert.see(address)
    assert "Notes of this bill wait" in await bert.see(f"/bills/{bill.id}")
    assert "¥100.00" in await anna.see(f"/bills/{bill.id}/notes/new")
    await bert.send(f"/notes/{note_id}/approve")
    mine = await resident.see(f"/my{address}")
    assert "C2026-000001" in mine
    assert "Credited" in mine
    assert "Due on" not in mine
    paid = await resident.see(f"/my/bills/{bill.id}")
    assert "C2026-000001" in paid
    assert "Credit note" in paid
    other = await anna.send(f"/bills/{bill.id}/notes", **fields | {"amount-1": "1.00"}, sure="yes")
    refused_id = other.headers["Location"].split("?")[0].rsplit("/", 1)[1]
    await bert.send(f"/notes/{refused_id}/refuse", 422)
    await bert.send(f"/notes/{refused_id}/refuse", reason="he was paid already")
    assert "Nothing waits" in await bert.see("/notes")
    kept = await bert.see("/notes?every=true")
    assert 'id="refused"' in kept
    assert "he was paid already" in kept


async def test_a_note_says_why_it_is_made_and_is_made_once(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    anna, bert, _ = await _browsers(app_client, people, site)
    bill = (await site.bills(account_id=site.flats[0].account_id))[0]
    fields: dict[str, Any] = {"kind": "credit_note", "reason": "a late answer", "amount-1": "5.00", "cause": "goodwill"}
    asked = await anna.send(f"/bills/{bill.id}/notes", **fields, sure="yes", once="a-token-of-a-page")
    again = await anna.send(f"/bills/{bill.id}/notes", **fields, sure="yes", once="a-token-of-a-page")
    assert asked.headers["Location"] == again.headers["Location"]
    assert len(await site.rows("SELECT FROM bill WHERE kind = 'credit_note'")) == 1
    assert "Goodwill" in await bert.see(asked.headers["Location"].split("?")[0])
    # A gift cannot be put on: what was chosen before is no mistake.
    await anna.send(f"/bills/{bill.id}/notes", **fields | {"kind": "debit_note"}, sure="yes")
    rows = await site.rows("SELECT inputs -> 'note' ->> 'cause' AS cause FROM bill WHERE kind = 'debit_note'")
    assert rows == [{"cause": "error"}]


async def test_an_account_is_rated_again(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    anna, _, _ = await _browsers(app_client, people, site)
    assert 'value="A-0000"' in await anna.see("/re-ratings/new?account=A-0000")
    unknown = await anna.send("/re-ratings", 422, account="nobody", since="2026-01-01")
    assert 'value="nobody"' in unknown.text
    asked = await anna.send("/re-ratings", account="A-0000", since="2026-01-01", open_exceptions="bill")
    address = asked.headers["Location"]
    assert 'hx-trigger="every 2s"' in await anna.see(address)
    async with site.db.transaction(SYSTEM) as conn:
        done = await rerate_account(conn, site.flats[0].account_id, JANUARY)
    await site.rows(
        "UPDATE job SET state = 'done', result = '{\"adjusted\": 2}' WHERE kind = 'billing.re-rate' RETURNING 1"
    )
    assert done.adjusted == 0
    assert "2 charges come to another amount" in await anna.see(address)
    await site.rows(
        "UPDATE job SET state = 'failed', error = 'missing <reading>' WHERE kind = 'billing.re-rate' RETURNING 1"
    )
    assert "missing &lt;reading&gt;" in await anna.see(address)


async def test_an_account_ends_with_a_final_bill(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    anna, bert, _ = await _browsers(app_client, people, site)
    account = site.flats[0].account_id
    address = f"/accounts/{account}/final-bill"
    assert "Choose the day first" in await anna.see(address)
    looked = await anna.see(f"{address}?ends_on=2026-03-01")
    for said in ("Electricity", "Property fee", "Feb 28, 2026", "Feb 2026", "¥48.83", "End the account"):
        assert said in looked, said
    (ends,) = await site.rows(
        "SELECT count(*) AS n FROM service_agreement WHERE account_id = %s AND NOT upper_inf(valid)", account
    )
    assert ends["n"] == 0
    assert (await site.rows("SELECT FROM bill_run WHERE account_id IS NOT NULL")) == []
    beyond = await app_client.get(f"{address}?ends_on=2026-01-20")
    assert (beyond.status_code, "charged already" in beyond.text) == (409, True)
    still = await anna.see(f"{address}?ends_on=2026-01-20&charged_beyond=true")
    assert "correction of bill 2026-000001" in still
    assert "is rated" not in still
    other = f"/accounts/{site.flats[1].account_id}/final-bill?ends_on=2026-02-01"
    assert "Everything is charged" in await anna.see(other)
    started = await anna.send(address, ends_on="2026-03-01")
    run_id = int(re.findall(r"/bill-runs/(\d+)", started.headers["Location"])[0])
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))
    assert "Final bill" in await bert.see(f"/bill-runs/{run_id}")
    (draft,) = await site.bills(run_id=run_id)
    assert draft.total == Decimal("122.08") + Decimal("48.83") + Decimal("210.33")
    assert "Final bill" in await bert.see(f"/bills/{draft.id}")
    assert (await anna.send(address, 422, ends_on="1999-01-01")).status_code == 422


async def test_the_page_of_a_reading_knows_which_bills_charge_it(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    anna, _, _ = await _browsers(app_client, people, site)
    meter = site.flats[0].meters["electricity"]
    span = "since=2026-01-10T00:00:00%2B08:00&until=2026-01-20T00:00:00%2B08:00"
    part = await anna.see(f"/meters/{meter}/charges?{span}")
    assert "2026-000001" in part
    assert "<html" not in part
    assert "No bill charges" in await anna.see(f"/meters/{meter}/charges?{span.replace('2026-01', '2026-05')}")


async def test_a_broken_plan_holds_again_by_hand(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    anna, bert, _ = await _browsers(app_client, people, site)
    (bill, *_) = await site.bills(account_id=site.flats[0].account_id)
    asked = await anna.send(
        "/instalment-plans",
        account_id=site.flats[0].account_id,
        bill_ids=str(bill.id),
        reason="ill",
        first="2199-01-01",
        count="2",
    )
    address = asked.headers["Location"].split("?")[0]
    await bert.send(f"{address}/decide", decision="approve")
    await site.rows("UPDATE instalment_plan SET state = 'broken', ended_on = current_date RETURNING 1")
    assert "Let it hold again" in await bert.see(address)
    await anna.send(f"{address}/reinstate", 409, note="bank")
    await bert.send(f"{address}/reinstate", note="the bank was late")
    assert "Holds again since" in await bert.see(address)
