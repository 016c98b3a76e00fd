"""Final bills: everything up to the last day, corrections too; the account ends, and the next one begins there."""

from datetime import date
from decimal import Decimal

import httpx
import pytest

from cloud.billing import service as billing
from cloud.billing.service import BillRun, Ending
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import Period
from tests.integration.app import People, once
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.site import Flat, Site, failures_of, make_site, noon
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
AT_ONCE = billing.RunOptions(issue_at_once=True)


@world
async def site_world(db: Database) -> Site:
    """Two flats with two months of readings; January is billed."""
    made = await make_site(db, services=("electricity", "property"))
    for flat in made.flats:
        await made.read(flat, "electricity", [300_000, 250_000])
    await made.run(JANUARY)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _final(site: Site, flat: Flat, ends_on: date = MARCH, *, charged_beyond: bool = False) -> BillRun:
    async with site.db.transaction(SYSTEM) as conn:
        ending = Ending(flat.account_id, ends_on, charged_beyond)
        run = await billing.run_of_job(conn, await billing.start_final_bill(conn, ending, options=AT_ONCE))
    return await billing.execute_run(site.db, SYSTEM, run.id, now=noon(MARCH))


async def test_the_final_bill_charges_the_rest_with_all_corrections_and_ends_the_account(site: Site) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 100_000)
    await late(site)
    run = await _final(site, flat)
    assert (run.state, run.accounts, run.billed, run.period) == ("issued", 1, 1, Period(FEBRUARY, MARCH))
    (_, final) = await site.bills(account_id=flat.account_id)
    assert final.total == Decimal("122.08") + Decimal("48.83") + Decimal("210.33")
    async with site.db.transaction(SYSTEM) as conn:
        account = (await estate.accounts_by_id(conn, [flat.account_id]))[flat.account_id]
    assert account.valid.end == MARCH
    ends = await site.rows("SELECT upper(valid) AS day FROM service_agreement WHERE account_id = %s", flat.account_id)
    assert [row["day"] for row in ends] == [MARCH, MARCH]
    assert len(await site.bills(account_id=site.flats[1].account_id)) == 1
    assert await site.proof() == []
    again = await _final(site, flat)
    assert (again.state, again.billed) == ("issued", 0)


async def test_the_next_payer_begins_where_the_final_bill_ended(site: Site) -> None:
    leaver, newcomer = site.flats
    await _final(site, leaver, FEBRUARY)
    meter = leaver.meters["electricity"]
    async with site.db.transaction(SYSTEM) as conn:
        tariff = site.tariffs["electricity"]
        await billing.create_agreement(
            conn, site.project.id, newcomer.account_id, "electricity", tariff, meter, leaver.unit_id, FEBRUARY
        )
    await site.run(FEBRUARY)
    first, second = await site.rows(
        "SELECT opening_value, closing_value FROM charge WHERE meter_id = %s ORDER BY period", meter
    )
    assert first["closing_value"] == second["opening_value"]


async def test_without_a_closing_reading_the_account_is_listed(site: Site) -> None:
    run = await _final(site, site.flats[0], date(2026, 2, 11))
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (run.billed, failure.code) == (0, "missing-reading")


async def test_days_that_are_charged_beyond_the_end_are_not_kept_silently(site: Site) -> None:
    flat = site.flats[0]
    with pytest.raises(Conflict, match="electricity up to 2026-02-01"):
        await _final(site, flat, date(2026, 1, 20))
    assert (await _final(site, flat, date(2026, 1, 20), charged_beyond=True)).billed == 0
    with pytest.raises(InvalidInput):
        await _final(site, site.flats[1], JANUARY)


async def test_a_final_bill_is_previewed_and_approved_over_rest(
    site: Site, app_client: httpx.AsyncClient, people: People
) -> None:
    flat, auth = site.flats[0], await people.staff()
    path = f"/api/v1/accounts/{flat.account_id}/final-bills"
    started = await app_client.post(path, json={"ends_on": "2026-03-01"}, headers={**auth, **once()})
    assert started.status_code == 202
    run_id = started.json()["run_id"]
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))
    run = (await app_client.get(f"/api/v1/bill-runs/{run_id}", headers=auth)).json()
    assert (run["state"], run["billed"], run["account_id"]) == ("preview", 1, flat.account_id)
