"""Whatever is wrong with one account or meter, in whatever step of a run: it fails alone, with its reason."""

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import psycopg
import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.charges import drafts
from cloud.billing.corrections import late_usage
from cloud.billing.mailing import service as mailing
from cloud.billing.runs import drafting, issuing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.metering import jobs as metering_jobs
from cloud.metering import service as metering
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.checks import period_checks, settling
from cloud.metering.derivation import update as derivation
from tests.integration.app import People
from tests.integration.billing.site import Flat, Site, failures_of, make_site, noon
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
from tests.integration.browser import Browser, text_of
from tests.worlds import World, world

BAD = 1
"""Which of the flats is bad."""
_LATER = "UPDATE store.set_aside SET next_at = now() RETURNING 1"
"""A meter that was set aside is tried again after a minute or more."""

Place = tuple[Any, str, Callable[..., bool]]
"""A module, the name of a function of it, and whether what it is asked for is what is bad."""


@world
async def site_world(db: Database) -> Site:
    """Five flats that pay for electricity; what they used in February came, and nobody has looked at it."""
    made = await make_site(db, flats=5, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", [USUAL])
        await come(made, flat, MARCH, AFTER_JANUARY + USUAL)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


def bad(site: Site) -> Flat:
    return site.flats[BAD]


def others(site: Site) -> list[int]:
    return [flat.account_id for flat in site.flats if flat != bad(site)]


def breaks(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, is_bad: Callable[..., bool], error: Exception
) -> None:
    """`module.name` raises where it is asked for what is bad."""
    real = getattr(module, name)

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        if is_bad(*args, **kwargs):
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, spoilt)


def deriving(meter: int) -> Place:
    return derivation, "take_registers", lambda conn, ids, zones: meter in ids


def settled(meter: int) -> Place:
    return settling, "settle", lambda conn, spans, now: meter in {span.meter_id for span in spans}


def judged(meter: int) -> Place:
    return period_checks, "judge", lambda conn, project, month, ids: meter in ids


CHECKING: list[Callable[[int], Place]] = [deriving, settled, judged]


@pytest.mark.parametrize("step", CHECKING)
async def test_a_meter_that_cannot_be_judged_holds_up_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: Callable[[int], Place]
) -> None:
    """Its account is listed with the meter and what is wrong; once that is mended a run bills it, and nobody twice."""
    with monkeypatch.context() as broken:
        breaks(broken, *step(bad(site).meters["electricity"]), ZeroDivisionError("an absurd history"))
        context = await started(site)
        done = await jobs.run(context)
    assert (done["billed"], done["failed"]) == (4, 1)
    assert (await run_of(site, context)).state == "preview"
    reasons = await left_out(site, context)
    assert list(reasons) == [bad(site).account_id]
    assert "E1" in reasons[bad(site).account_id]
    assert "an absurd history" in reasons[bad(site).account_id]
    assert sorted(bill.account_id for bill in await site.bills()) == others(site)
    again = await started(site)
    done = await jobs.run(again)
    assert (done["billed"], done["failed"]) == (1, 0)
    assert sorted(bill.account_id for bill in await site.bills()) == sorted(flat.account_id for flat in site.flats)
    assert len({bill.total for bill in await site.bills()}) == 1


async def test_the_page_of_the_run_names_the_meter(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, *judged(bad(site).meters["electricity"]), ZeroDivisionError("an absurd history"))
    context = await started(site)
    await jobs.run(context)
    auth = await people.staff("manager", site.project.id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    page = text_of(await Browser(app_client, auth).see(f"/bill-runs/{(await run_of(site, context)).id}"))
    assert "meter E1: what it counted cannot be worked on: ZeroDivisionError: an absurd history" in page


async def test_a_run_that_is_repeated_judges_what_it_could_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run: it broke off while drafts were made, and the meter has been mended meanwhile."""
    context = await started(site)
    run = await run_of(site, context)
    with monkeypatch.context() as broken:
        breaks(broken, *deriving(bad(site).meters["electricity"]), ZeroDivisionError())
        breaks(broken, drafting, "draft", lambda *_: True, psycopg.OperationalError("the server is gone"))
        with pytest.raises(psycopg.OperationalError):
            await jobs.run(context)
    assert list(await left_out(site, context)) == [bad(site).account_id]
    assert (await jobs.run(context))["billed"] == 5
    assert await left_out(site, context) == {}
    assert (await run_of(site, context)).id == run.id


async def test_a_sub_meter_that_cannot_be_derived_does_not_hold_up_its_master(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are paid for by two."""
    sub, master = bad(site).meters["electricity"], site.flats[0].meters["electricity"]
    await site.rows("UPDATE meter SET parent_id = %s WHERE id = %s RETURNING 1", master, sub)
    breaks(monkeypatch, *deriving(sub), ZeroDivisionError())
    context = await started(site)
    await jobs.run(context)
    assert list(await left_out(site, context)) == [bad(site).account_id]


def of_piece(site: Site) -> Callable[..., bool]:
    return lambda piece, *_: piece.agreement.account_id == bad(site).account_id


STEPS: dict[str, Callable[[Site], Place]] = {
    "usage": lambda site: (
        metering, "usage_between_many",
        lambda conn, keys: bad(site).meters["electricity"] in {key[0] for key in keys},
    ),
    "measured": lambda site: (drafts, "metered", of_piece(site)),
    "tax": lambda site: (drafting, "charge_row", of_piece(site)),
    "document": lambda site: (drafting, "line_rows", lambda one, currency: of_piece(site)(one)),
    "inputs": lambda site: (drafting, "charge_inputs", of_piece(site)),
    "ledger": lambda site: (
        issuing, "_journal", lambda project, one, today: one.account_id == bad(site).account_id
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", sorted(STEPS))
async def test_an_account_that_breaks_a_step_fails_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS[step](site), KeyError("whatever it is"))
        run = await site.run(JANUARY)
    assert (run.state, run.billed, run.failed) == ("issued", 4, 1)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (failure.account_id, failure.code) == (bad(site).account_id, "fault")
    assert failure.detail == "KeyError: 'whatever it is'"
    assert [bill.account_id for bill in await site.bills()] == others(site)
    assert [bill.number for bill in await site.bills()] == [f"2026-{n:06}" for n in range(1, 5)]
    assert (await site.run(JANUARY)).billed == 1
    assert [bill.number for bill in await site.bills()] == [f"2026-{n:06}" for n in range(1, 6)]
    assert await site.proof() == []


@pytest.mark.parametrize("table", ["bill", "charge", "posting"])
async def test_what_the_database_refuses_of_one_account(site: Site, owner_dsn: str, table: str) -> None:
    """A constraint that breaks aborts the transaction of all."""
    (agreement,) = await site.rows("SELECT id FROM service_agreement WHERE account_id = %s", bad(site).account_id)
    column, value = ("agreement_id", agreement["id"]) if table == "charge" else ("account_id", bad(site).account_id)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        refuse = f"ALTER TABLE {table} ADD CONSTRAINT refuse CHECK ({column} IS DISTINCT FROM {value})"
        owner.execute(refuse.encode())
    run = await site.run(JANUARY)
    assert (run.state, run.billed, run.failed) == ("issued", 4, 1)
    assert [bill.account_id for bill in await site.bills()] == others(site)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (failure.account_id, failure.code) == (bad(site).account_id, "refused")


PASSING = [
    psycopg.errors.DeadlockDetected("two waited for each other"),
    psycopg.errors.SerializationFailure("another was faster"),
    psycopg.OperationalError("the server is gone"),
    psycopg.InterfaceError("the connection is closed"),
    ConnectionResetError(),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("step", ["usage", "document", "ledger"])
async def test_what_passes_is_nobodys_fault(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    """The run is repeated as a whole, and lists nobody."""
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS[step](site), error)
        with pytest.raises(type(error)):
            await site.run(JANUARY)
    assert await site.rows("SELECT FROM bill_run_failure") == []
    (run,) = await site.rows("SELECT id, state FROM bill_run")
    assert run["state"] == ("approved" if step == "ledger" else "failed")
    done = await billing.execute_run(site.db, SYSTEM, run["id"], now=noon(FEBRUARY))
    assert (done.state, done.billed, done.failed) == ("issued", 5, 0)


async def test_a_deadlock_of_the_judgement_is_nobodys_fault(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    context = await started(site)
    with monkeypatch.context() as broken:
        breaks(broken, *deriving(bad(site).meters["electricity"]), psycopg.errors.DeadlockDetected())
        with pytest.raises(psycopg.errors.DeadlockDetected):
            await jobs.run(context)
    assert (await run_of(site, context)).state == "failed"
    assert (await jobs.run(context))["billed"] == 5


async def test_a_meter_that_cannot_be_rated_again_waits_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late readings of all of them come; one breaks the re-rating."""
    await site.run(JANUARY)
    for flat in site.flats:
        await site.rows(
            "INSERT INTO late_usage (project_id, meter_id, from_at) VALUES (%s, %s, '2026-01-10') RETURNING 1",
            site.project.id, flat.meters["electricity"],
        )  # fmt: skip
    waits = bad(site).meters["electricity"]
    breaks(
        monkeypatch, late_usage, "rerate",
        lambda conn, project, states: waits in {one.meter_id for one in states}, KeyError("whatever it is"),
    )  # fmt: skip
    found = await billing.rerate_late(site.db, SYSTEM, site.project.id)
    assert found.waiting == 1
    (row,) = await site.rows("SELECT meter_id, code, detail FROM late_usage")
    assert (row["meter_id"], row["code"], row["detail"]) == (waits, "fault", "KeyError: 'whatever it is'")


async def test_a_meter_that_cannot_be_derived_holds_up_none_in_the_minutes_between(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of it waits, and is derived once that is possible; likewise its days."""
    waits = bad(site).meters["electricity"]
    context = JobContext(1, None, {}, site.db)
    with monkeypatch.context() as broken:
        breaks(broken, *deriving(waits), ZeroDivisionError())
        done = await metering_jobs.derive_usage(context)
    assert (done["meters"], done["failed"]) == (4, 1)
    dirty = await site.rows("SELECT DISTINCT meter_id FROM store.dirty_window")
    assert [row["meter_id"] for row in dirty] == [waits]
    await site.rows(_LATER)
    assert (await metering_jobs.derive_usage(context))["meters"] == 1
    with monkeypatch.context() as broken:
        breaks(broken, *settled(waits), ZeroDivisionError())
        done = await validation_jobs.settle(context)
    assert (done["meters"], done["failed"]) == (4, 1)
    left = await site.rows("SELECT DISTINCT meter_id FROM store.changed_usage")
    assert [row["meter_id"] for row in left] == [waits]
    await site.rows(_LATER)
    assert "failed" not in await validation_jobs.settle(context)
    assert await site.rows("SELECT FROM store.changed_usage") == []


async def test_a_bill_that_cannot_be_told_of_holds_up_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job says which; asked again it tells of that one alone."""
    run = await site.run(JANUARY)
    spoilt = (await site.bills(account_id=bad(site).account_id))[0].id
    said = "SELECT count(*) AS told FROM notice WHERE batch = %s"
    with monkeypatch.context() as broken:
        breaks(broken, mailing, "_say", lambda conn, project, bills, batch: spoilt in {one.id for one in bills},
               KeyError("whatever it is"))  # fmt: skip
        with pytest.raises(Conflict, match=f"1 bills of run {run.id} could not be told of: {spoilt}: KeyError"):
            await mailing.mail_run(site.db, SYSTEM, run)
    assert (await site.rows(said, f"bill-run:{run.id}"))[0]["told"] == 4
    assert await mailing.mail_run(site.db, SYSTEM, run) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_breaks_in_the_meantime_everybody_gets_his_bill_once(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random steps break for random accounts, run after run; late usage is rated again in between."""
    random = Random(seed)
    site = await make_site(worker_db, flats=6, services=("electricity", "property"))
    for flat in site.flats:
        await site.read(flat, "electricity", [USUAL])
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    for attempt in range(6):
        with monkeypatch.context() as broken:
            for spoilt in random.sample(site.flats, random.randrange(1, 4)):
                only = Site(site.db, site.project, site.tariffs, [spoilt] * len(site.flats))
                checking = random.random() < 0.4
                place: Place = (
                    random.choice(CHECKING)(spoilt.meters["electricity"])
                    if checking
                    else STEPS[random.choice(sorted(STEPS))](only)
                )
                breaks(broken, *place, ValueError(f"attempt {attempt}"))
            month, end = random.choice([(JANUARY, FEBRUARY), (FEBRUARY, MARCH)])
            context = await started(site, month, end)
            await jobs.run(context)
            run = await run_of(site, context)
            if random.random() < 0.8:
                async with site.db.transaction(SYSTEM) as conn:
                    await billing.approve_run(conn, run.id)
                await billing.issue_run(site.db, SYSTEM, run.id, now=noon(MARCH))
            else:
                async with site.db.transaction(SYSTEM) as conn:
                    await billing.cancel_run(conn, run.id)
            await billing.rerate_late(site.db, SYSTEM, site.project.id)
    for month in (JANUARY, FEBRUARY):
        await site.run(month, noon(MARCH))
    await billing.rerate_late(site.db, SYSTEM, site.project.id)
    bills = await site.bills()
    assert sorted((bill.account_id, bill.period.start) for bill in bills) == sorted(
        (flat.account_id, month) for flat in site.flats for month in (JANUARY, FEBRUARY)
    )
    # Twice 122.075 and 210.33: rounding is cumulative, but months that are billed out of order are not rounded again.
    for flat in site.flats:
        first, second = [bill for bill in bills if bill.account_id == flat.account_id]
        in_order = first.period.start < second.period.start
        assert first.total + second.total == (Decimal("664.81") if in_order else Decimal("664.82"))
    assert sorted(bill.number or "" for bill in bills) == [f"2026-{n:06}" for n in range(1, 13)]
    assert await site.rows("SELECT FROM adjustment") == []
    assert await site.proof() == []
