"""What is wrong with the whole system is no account's fault: the run stops, and is repeated once that is mended."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import psycopg
import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.runs import issuing
from cloud.billing.runs import repository as run_repository
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.metering import jobs as metering_jobs
from cloud.metering.checks import jobs as validation_jobs
from tests.integration.billing.faults import FAULTS, Faults, fault
from tests.integration.billing.site import Site, failures_of, make_site, noon
from tests.integration.billing.test_checked_before_bills import (
    AFTER_JANUARY,
    FEBRUARY,
    JANUARY,
    MARCH,
    USUAL,
    come,
    left_out,
    run_of,
    started,
)
from tests.integration.billing.test_one_bad_account import (
    CHECKING,
    STEPS,
    Place,
    bad,
    breaks,
    deriving,
    others,
    settled,
    site,
    site_world,
)

__all__ = ["site", "site_world"]


def of_bad(site: Site) -> Callable[..., bool]:
    return lambda conn, run_id, account_id: account_id == bad(site).account_id


@pytest.mark.parametrize("state", ["42703", "0A000", "53100"])
@pytest.mark.parametrize("step", ["usage", "document", "ledger"])
async def test_what_the_server_says_of_everybody_is_nobodys_fault(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, state: str
) -> None:
    error = _said(state)
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS[step](site), error)
        with pytest.raises(type(error)):
            await site.run(JANUARY)
    assert await site.rows("SELECT FROM bill_run_failure") == []
    (run,) = await site.rows("SELECT id, state FROM bill_run")
    assert run["state"] == ("approved" if step == "ledger" else "failed")
    done = await billing.execute_run(site.db, SYSTEM, run["id"], now=noon(FEBRUARY))
    assert (done.state, done.billed, done.failed) == ("issued", 5, 0)


def _said(state: str) -> psycopg.Error:
    try:
        return psycopg.errors.lookup(state)(state)
    except KeyError:
        error = psycopg.DatabaseError(state)
        error.sqlstate = state
        return error


@pytest.mark.parametrize(
    ("table", "column"), [("bill_line", "detail"), ("charge", "exact_amount"), ("journal", "booked_on")]
)
async def test_a_half_upgraded_database_stops_the_run(site: Site, owner_dsn: str, table: str, column: str) -> None:
    """Nobody is listed for a column that is not there yet; the same run goes on once it is."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO not_yet".encode())
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await site.run(JANUARY)
        owner.execute(f"ALTER TABLE {table} RENAME COLUMN not_yet TO {column}".encode())
    assert await site.rows("SELECT FROM bill_run_failure") == []
    (run,) = await site.rows("SELECT id FROM bill_run")
    done = await billing.execute_run(site.db, SYSTEM, run["id"], now=noon(FEBRUARY))
    assert (done.state, done.billed, done.failed) == ("issued", 5, 0)
    assert [bill.number for bill in await site.bills()] == [f"2026-{n:06}" for n in range(1, 6)]
    assert await site.proof() == []


@pytest.mark.parametrize("state", ["42703", "53100", "XX001"])
async def test_no_meter_is_set_aside_for_the_system(site: Site, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """The jobs of every minute stop as well, and do it all at the next minute."""
    meter, context = bad(site).meters["electricity"], JobContext(1, None, {}, site.db)
    for job, place in ((metering_jobs.derive_usage, deriving(meter)), (validation_jobs.settle, settled(meter))):
        with monkeypatch.context() as broken:
            breaks(broken, *place, _said(state))
            with pytest.raises(type(_said(state))):
                await job(context)
        assert await site.rows("SELECT FROM store.set_aside") == []
        assert "failed" not in await job(context)


async def test_a_deadlock_of_issuing_is_begun_anew_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    left = 2

    def deadlock(*_: object) -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    breaks(monkeypatch, issuing, "_journal", deadlock, psycopg.errors.DeadlockDetected("two waited for each other"))
    done = await site.run(JANUARY)
    assert (done.state, done.billed, done.failed) == ("issued", 5, 0)
    assert [bill.number for bill in await site.bills()] == [f"2026-{n:06}" for n in range(1, 6)]


async def test_a_portion_that_is_too_much_at_once_is_issued_in_parts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, issuing, "_issue", lambda conn, project, drafts, today: len(drafts) > 2, MemoryError())
    done = await site.run(JANUARY)
    assert (done.state, done.billed, done.failed) == ("issued", 5, 0)


@pytest.mark.parametrize("also", [psycopg.errors.ForeignKeyViolation("something still names it"), KeyError("x")])
async def test_a_draft_that_can_neither_be_issued_nor_taken_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, also: Exception
) -> None:
    """It stays a draft, its account is listed with what kept it from being issued, and the others are issued.

    The run stays approved: issuing is asked for again, and issues what is left once that can be.
    """
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS["ledger"](site), KeyError("whatever it is"))
        breaks(broken, run_repository, "delete_draft", of_bad(site), also)
        with pytest.raises(Conflict, match=r"1 drafts of run .* could neither be issued nor taken back"):
            await site.run(JANUARY)
    (run,) = await site.rows("SELECT id, state, billed, failed, accounts FROM bill_run")
    assert run["state"] == "approved"
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run["id"])
    assert (failure.account_id, failure.code) == (bad(site).account_id, "fault")
    assert failure.detail == "KeyError: 'whatever it is'"
    assert [bill.account_id for bill in await site.bills() if bill.number] == others(site)
    assert [bill.number for bill in await site.bills() if bill.number] == [f"2026-{n:06}" for n in range(1, 5)]
    assert [bill.account_id for bill in await site.bills(state="draft")] == [bad(site).account_id]
    assert await site.proof() == []
    done = await billing.issue_run(site.db, SYSTEM, run["id"], now=noon(FEBRUARY))
    assert (done.state, done.billed, done.failed, done.accounts) == ("issued", 5, 0, 5)
    assert sorted(bill.number or "" for bill in await site.bills()) == [f"2026-{n:06}" for n in range(1, 6)]
    assert await site.proof() == []


class _Runs:
    """Runs of January of a site as people do them: one that broke off is gone on with, until its bills are issued."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.context: JobContext | None = None

    async def begin(self) -> JobContext:
        """The run that is under way, or another one."""
        if self.context is None:
            self.context = await started(self.site, JANUARY, FEBRUARY)
        return self.context

    async def through(self) -> JobContext:
        """The run to its end, or as far as it comes."""
        context = await self.begin()
        if (await run_of(self.site, context)).goes_on:
            await jobs.run(context)
        run = await run_of(self.site, context)
        if run.state != "issued":
            async with self.site.db.transaction(SYSTEM) as conn:
                await billing.approve_run(conn, run.id)
            await billing.issue_run(self.site.db, SYSTEM, run.id, now=noon(FEBRUARY))
        self.context = None
        return context


async def _waiting(db: Database, code: str, flats: int) -> Site:
    made = await make_site(db, flats=flats, services=("electricity", "property"), code=code)
    for flat in made.flats:
        await made.read(flat, "electricity", [USUAL])
        await come(made, flat, MARCH, AFTER_JANUARY + USUAL)
    return made


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_to_the_system_at_whatever_statement(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Faults come and go at random statements of a run while one account is bad; then the run is repeated.

    Nobody but the bad account is ever listed, and in the end everybody has the bill of a project without faults.
    """
    random = Random(seed)
    site, twin = await _waiting(worker_db, "demo", 4), await _waiting(worker_db, "twin", 4)
    await _Runs(twin).through()
    spoilt, runs, met = random.choice(site.flats), _Runs(site), 0
    only = Site(site.db, site.project, site.tariffs, [spoilt] * len(site.flats))
    place: Place = (
        random.choice(CHECKING)(spoilt.meters["electricity"])
        if random.random() < 0.3
        else STEPS[random.choice(sorted(STEPS))](only)
    )
    with monkeypatch.context() as broken:
        breaks(broken, *place, ValueError("bad"))
        for _ in range(8):
            await runs.begin()
            faults = Faults(random.choice(FAULTS), random.randrange(1, 90), random.choice([1, 2, 1000]))
            with fault(monkeypatch, faults), suppress(psycopg.Error, MemoryError):
                await runs.through()
            met += faults.met > 0
            listed = await site.rows("SELECT account_id, code, detail FROM bill_run_failure")
            assert {row["account_id"] for row in listed} <= {spoilt.account_id}
            assert all("ValueError: bad" in row["detail"] for row in listed)
        context = await runs.through()
        assert list(await left_out(site, context)) in ([], [spoilt.account_id])
    assert met
    await runs.through()
    bills, expected = await site.bills(), await twin.bills()
    assert [_of(one, site) for one in sorted(bills, key=lambda one: one.account_id)] == [
        _of(one, twin) for one in expected
    ]
    assert sorted(bill.number or "" for bill in bills) == [bill.number for bill in expected]
    assert await site.rows("SELECT FROM adjustment") == []
    assert await site.proof() == []


def _of(bill: Any, site: Site) -> tuple[Any, ...]:
    account = [flat.account_id for flat in site.flats].index(bill.account_id)
    return account, bill.period.start, bill.total, bill.state
