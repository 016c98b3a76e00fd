"""A bill run is looked at before it is issued: preview, one account left out, approval, cancelling."""

from datetime import date
from decimal import Decimal

import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.periods import Period, next_month
from tests.integration.billing.site import Site, failures_of, make_site, noon
from tests.worlds import World, world

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)


@world
async def site_world(db: Database) -> Site:
    """Three flats that pay for electricity, with two months of readings."""
    made = await make_site(db, flats=3, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", [100_000, 200_000])
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _preview(site: Site, month: date = JANUARY, options: billing.RunOptions = billing.CAREFUL) -> billing.BillRun:
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, Period(month, next_month(month)), options=options)
        run = await billing.run_of_job(conn, job_id)
    return await billing.execute_run(site.db, SYSTEM, run.id, now=noon(next_month(month)))


async def _issue(site: Site, run_id: int) -> billing.BillRun:
    async with site.db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run_id)
    return await billing.issue_run(site.db, SYSTEM, run_id, now=noon(FEBRUARY))


async def test_a_preview_has_amounts_but_no_numbers_and_owes_nothing(site: Site) -> None:
    run = await _preview(site)
    assert (run.state, run.accounts, run.billed, run.failed) == ("preview", 3, 3, 0)
    assert run.total == 3 * Decimal("48.83")
    assert {(bill.state, bill.number, bill.due_on) for bill in await site.bills()} == {("draft", None, None)}
    assert await site.rows("SELECT FROM journal") == []
    assert await site.proof() == []


async def test_what_was_previewed_is_what_is_issued(site: Site) -> None:
    run = await _preview(site)
    drafted = {bill.id: bill.total for bill in await site.bills()}
    issued = await _issue(site, run.id)
    assert (issued.state, issued.billed, issued.total) == ("issued", 3, run.total)
    bills = await site.bills()
    assert {bill.id: bill.total for bill in bills} == drafted
    assert [bill.number for bill in bills] == [f"2026-{n:06}" for n in (1, 2, 3)]
    assert await site.proof() == []
    assert await billing.issue_run(site.db, SYSTEM, run.id) == issued


async def test_nothing_is_issued_without_approval(site: Site) -> None:
    run = await _preview(site)
    with pytest.raises(Conflict, match="issued once it is approved"):
        await billing.issue_run(site.db, SYSTEM, run.id)


async def test_approving_twice_is_one_job(site: Site) -> None:
    run = await _preview(site)
    async with site.db.transaction(SYSTEM) as conn:
        first = await billing.approve_run(conn, run.id, approved_by=7)
    async with site.db.transaction(SYSTEM) as conn:
        assert await billing.approve_run(conn, run.id, approved_by=8) == first
        approved = await billing.get_run(conn, run.id)
        with pytest.raises(Conflict, match="only a preview can be cancelled"):
            await billing.cancel_run(conn, run.id)
    assert (approved.state, approved.approved_by, approved.issue_job_id) == ("approved", 7, first)


async def test_a_cancelled_preview_leaves_nothing_and_may_be_billed_again(site: Site) -> None:
    run = await _preview(site)
    for _ in range(2):
        async with site.db.transaction(SYSTEM) as conn:
            await billing.cancel_run(conn, run.id)
    assert await site.bills() == []
    assert await site.rows("SELECT FROM charge") == []
    again = await _preview(site)
    assert (again.state, again.billed) == ("preview", 3)
    assert (await _issue(site, again.id)).billed == 3


async def test_a_run_in_preview_does_not_block_another_month_nor_charge_it_twice(site: Site) -> None:
    january = await _preview(site)
    assert (await _preview(site, FEBRUARY)).billed == 3
    assert (await _preview(site)).accounts == 0
    assert (await _issue(site, january.id)).billed == 3


async def test_one_account_is_left_out_with_a_reason_and_billed_by_the_next_run(site: Site) -> None:
    run = await _preview(site)
    account_id = site.flats[1].account_id
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput, match="why the account is left out"):
            await billing.leave_out(conn, run.id, account_id, " ")
        await billing.leave_out(conn, run.id, account_id, "disputes the reading")
        with pytest.raises(NotFound, match="no draft for account"):
            await billing.leave_out(conn, run.id, account_id, "again")
        (failure,) = await failures_of(conn, run.id)
    assert (failure.account_id, failure.code, failure.detail) == (account_id, "left-out", "disputes the reading")
    issued = await _issue(site, run.id)
    assert (issued.accounts, issued.billed, issued.failed) == (3, 2, 1)
    assert (await _preview(site)).billed == 1


async def test_issuing_that_broke_off_goes_on_without_holes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.billing.runs.issuing.CHUNK", 1)
    run = await _preview(site)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run.id)

    class Killed(BaseException):
        pass

    async def die(done: int, total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        await billing.issue_run(site.db, SYSTEM, run.id, progress=die, now=noon(FEBRUARY))
    assert sorted(bill.state for bill in await site.bills()) == ["draft", "draft", "issued"]
    assert (await billing.issue_run(site.db, SYSTEM, run.id, now=noon(FEBRUARY))).billed == 3
    assert [bill.number for bill in await site.bills()] == [f"2026-{n:06}" for n in (1, 2, 3)]
    assert await site.proof() == []


async def _find(site: Site, meter_id: int) -> None:
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, state)
           VALUES (%s, %s, 1, 'spike', '2026-01-10T00:00+08', '2026-01-11T00:00+08', 'open') RETURNING 1""",
        site.project.id,
        meter_id,
    )


async def test_an_open_finding_leaves_the_account_out_unless_the_run_says_otherwise(site: Site) -> None:
    await _find(site, site.flats[0].meters["electricity"])
    run = await _preview(site)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (run.billed, failure.account_id, failure.code) == (2, site.flats[0].account_id, "open-exceptions")
    bold = await _preview(site, options=billing.RunOptions(open_exceptions="bill"))
    assert (bold.billed, bold.failed) == (1, 0)
