"""The months that a bill rests on are judged before it is made: what came until then, of the meters that are billed."""

import asyncio
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import httpx
import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.runs import drafting
from cloud.billing.runs import repository as run_repository
from cloud.billing.service import BillRun
from cloud.billing.settlement.standing import standings
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.kit.periods import Period, day_start
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.checks import period_checks, settling
from cloud.metering.checks import service as checks
from cloud.metering.checks.load_checks import LOAD_NUMBERS
from cloud.metering.derivation import update as derivation
from cloud.metering.rollups.reading import REFRESH_ROLL_UPS
from cloud.metering.thresholds.overrides import set_of_class
from tests.integration.app import People
from tests.integration.billing.site import Flat, Site, failures_of, make_site
from tests.integration.browser import Browser, text_of
from tests.integration.metering.test_derivation import derive
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH = (date(2026, n, 1) for n in range(1, 4))
USUAL, LEAP = 250_000, 2_500_000
AFTER_JANUARY = 5_000_000 + USUAL
"""Where the registers stand on 1 February, Wh."""


SOMEBODY_WAITS: LiteralString = """
    SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""


@world
async def site_world(db: Database) -> Site:
    """Three flats that pay for electricity, read on 1 January and 1 February."""
    made = await make_site(db, flats=3, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", [USUAL])
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def come(site: Site, flat: Flat, day: date, value: int, hour: int = 0) -> None:
    """A reading comes in, as ingest stores it: nothing is derived from it yet."""
    taken_at = day_start(day, site.project.zone) + timedelta(hours=hour)
    meter_id = flat.meters["electricity"]
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, %s, %s)",
            (meter_id, taken_at, value, site.project.id),
        )
        await conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s)""",
            (meter_id, site.project.id, taken_at, taken_at),
        )


async def leap_in_a_day(site: Site, flat: Flat) -> None:
    """February's readings come in: an hour of a day leaps, the month is as usual."""
    value = AFTER_JANUARY
    for hour in range(25):
        value += 60_000 if hour == 12 else 300
        await come(site, flat, date(2026, 2, 10), value, hour)
    await come(site, flat, MARCH, AFTER_JANUARY + USUAL)


async def started(site: Site, month: date = FEBRUARY, end: date = MARCH) -> JobContext:
    """The job of a run, as the worker is given it."""
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, Period(month, end))
    (job,) = await site.rows("UPDATE job SET state = 'running', attempts = 1 WHERE id = %s RETURNING payload", job_id)
    return JobContext(job_id, site.project.id, job["payload"], site.db)


async def run_of(site: Site, context: JobContext) -> BillRun:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.run_of_job(conn, context.job_id)


async def left_out(site: Site, context: JobContext) -> dict[int, str]:
    """Why accounts were not billed."""
    async with site.db.transaction(SYSTEM) as conn:
        run = await billing.run_of_job(conn, context.job_id)
        return {one.account_id: one.detail for one in await failures_of(conn, run.id)}


async def findings(site: Site) -> list[int]:
    """Meters whose month is unlike the one before."""
    rows = await site.rows("SELECT meter_id FROM meter_exception WHERE rule = 'high-low' ORDER BY meter_id")
    return [row["meter_id"] for row in rows]


def watched(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The meters of each judgement from now on."""
    asked: list[list[int]] = []
    judge = period_checks.judge

    async def spy(conn: Any, project: Any, month: Period, meter_ids: Collection[int]) -> int:
        asked.append(sorted(meter_ids))
        return await judge(conn, project, month, meter_ids)

    monkeypatch.setattr(period_checks, "judge", spy)
    return asked


async def test_a_reading_between_the_last_judgement_and_the_run_is_judged(site: Site) -> None:
    """February was judged on the first of March; the reading that closes it came after, and is not even derived."""
    for flat in site.flats[:2]:
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    judged = JobContext(1, site.project.id, {"month": "2026-02-01"}, site.db)
    assert (await validation_jobs.validate_period(judged))["meters"] == 6
    assert await findings(site) == []
    late = site.flats[2]
    await come(site, late, MARCH, AFTER_JANUARY + LEAP)
    context = await started(site)
    done = await jobs.run(context)
    assert (done["billed"], done["failed"]) == (2, 1)
    reasons = await left_out(site, context)
    assert list(reasons) == [late.account_id]
    assert "high-low" in reasons[late.account_id]


async def test_days_that_nobody_has_settled_are_judged_too(site: Site) -> None:
    """The readings came after the last settlement."""
    flat = site.flats[0]
    await leap_in_a_day(site, flat)
    context = await started(site)
    await jobs.run(context)
    assert "spike" in (await left_out(site, context))[flat.account_id]


async def test_loads_that_came_late_are_no_usage_to_roll_up(site: Site) -> None:
    """They are settled with the meters of the run, as every minute: nothing that is counted changed."""
    await site.rows(
        """INSERT INTO store.late_load (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, %s, %s, %s, %s) RETURNING 1""",
        site.flats[0].meters["electricity"], min(LOAD_NUMBERS), site.project.id,
        *Period(JANUARY, FEBRUARY).instants(site.project.zone),
    )  # fmt: skip
    await site.rows("DELETE FROM job WHERE kind = %s RETURNING 1", REFRESH_ROLL_UPS)
    await jobs.run(await started(site, JANUARY, FEBRUARY))
    assert await site.rows("SELECT FROM store.late_load") == []
    assert await site.rows("SELECT FROM job WHERE kind = %s", REFRESH_ROLL_UPS) == []


async def test_what_the_judgement_goes_by_may_have_changed_since(site: Site) -> None:
    """The month before and the bounds are looked at as they are now, not as they were when the month was judged."""
    first, second, third = site.flats
    for flat in (first, third):
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    await come(site, second, MARCH, AFTER_JANUARY + USUAL * 2 // 3)
    judged = JobContext(1, site.project.id, {"month": "2026-02-01"}, site.db)
    await validation_jobs.validate_period(judged)
    assert await findings(site) == []
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute(
            "UPDATE store.usage SET quantity = quantity / 10 WHERE meter_id = %s AND start < %s",
            (first.meters["electricity"], day_start(FEBRUARY, site.project.zone)),
        )
        await set_of_class(conn, site.project.id, "electricity-residential", {"high_low_low_permille": 800})
    context = await started(site)
    await jobs.run(context)
    assert sorted(await left_out(site, context)) == sorted([first.account_id, second.account_id])


async def test_meters_that_nobody_bills_are_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Water is measured in every flat and paid for by nobody; one account is charged already."""
    for flat in site.flats:
        await site.read(flat, "water", [1_000_000, 90_000_000])
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    asked = watched(monkeypatch)
    await jobs.run(await started(site, JANUARY, FEBRUARY))
    await jobs.run(await started(site))
    assert asked == [[flat.meters["electricity"] for flat in site.flats]] * 2
    asked.clear()
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM bill WHERE account_id = %s AND period && '[2026-02-01,2026-03-01)'",
                           (site.flats[1].account_id,))  # fmt: skip
    await jobs.run(await started(site))
    assert asked == [[site.flats[1].meters["electricity"]]]


async def test_a_run_that_broke_off_judges_what_is_left_of_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three accounts are drafted when the worker dies. What the third one uses comes to be known otherwise."""
    for flat in site.flats:
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    monkeypatch.setattr(drafting, "CHUNK", 1)
    monkeypatch.setattr(drafting, "AT_ONCE", 1)
    asked = watched(monkeypatch)
    context = await started(site)
    run = await run_of(site, context)

    async def breaks_off(done: int, total: int) -> None:
        if done == 2 and (await run_of(site, context)).step == "billing":
            raise ConnectionError

    await billing.check_run(site.db, SYSTEM, run.id, progress=breaks_off)
    with pytest.raises(ConnectionError):
        await billing.execute_run(site.db, SYSTEM, run.id, progress=breaks_off)
    assert (await run_of(site, context)).state == "failed"
    last = site.flats[2]
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.reading WHERE meter_id = %s AND taken_at = %s",
                           (last.meters["electricity"], day_start(MARCH, site.project.zone)))  # fmt: skip
    await come(site, last, MARCH, AFTER_JANUARY + LEAP)
    done = await jobs.run(context)
    assert asked == [[flat.meters["electricity"] for flat in site.flats], [last.meters["electricity"]]]
    assert (done["billed"], done["failed"]) == (2, 1)
    assert list(await left_out(site, context)) == [last.account_id]


async def test_nothing_is_billed_where_the_judgement_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two portions cannot be judged: the run has failed, and goes on when it can."""
    for flat in site.flats:
        await come(site, flat, MARCH, AFTER_JANUARY + LEAP)
    monkeypatch.setattr(checks, "_METERS_AT_ONCE", 2)
    context = await started(site)
    judge = period_checks.judge

    async def fails(conn: Any, project: Any, month: Period, meter_ids: Collection[int]) -> int:
        if len(meter_ids) == 1:
            raise ConnectionError
        return await judge(conn, project, month, meter_ids)

    with monkeypatch.context() as broken:
        broken.setattr(period_checks, "judge", fails)
        with pytest.raises(ConnectionError):
            await jobs.run(context)
    assert (await run_of(site, context)).state == "failed"
    assert await site.bills() == []
    assert len(await findings(site)) == 2
    assert (await jobs.run(context))["failed"] == 3
    assert len(await findings(site)) == 3


async def test_usage_that_comes_during_the_judgement_is_noted_to_be_rated_again(site: Site) -> None:
    """The run is running before anything is judged."""
    for flat in site.flats:
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    context = await started(site)
    run = await run_of(site, context)
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE bill_run SET state = 'failed' WHERE id = %s", (run.id,))
    meter_id = site.flats[0].meters["electricity"]
    noted: list[int] = []

    async def changes(done: int, total: int) -> None:
        async with site.db.transaction(SYSTEM) as conn:
            await conn.execute(
                """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
                   VALUES (%s, 1, %s, %s, %s)""",
                (meter_id, site.project.id, *Period(FEBRUARY, MARCH).instants(site.project.zone)),
            )
        noted.extend(row["meter_id"] for row in await site.rows("SELECT meter_id FROM late_usage WHERE from_at = %s",
                                                                day_start(FEBRUARY, site.project.zone)))  # fmt: skip

    await billing.check_run(site.db, SYSTEM, run.id, progress=changes)
    assert meter_id in noted


async def test_usage_that_the_drafts_are_made_of_is_not_rated_again(site: Site) -> None:
    """The run derives the last readings of the month itself; what changes in a month that is billed stays noted."""
    for flat in site.flats:
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    assert (await jobs.run(await started(site)))["billed"] == 3
    assert await site.rows("SELECT FROM late_usage") == []
    first = site.flats[0].meters["electricity"]
    await site.rows(
        """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        first, site.project.id, *Period(FEBRUARY, MARCH).instants(site.project.zone),
    )  # fmt: skip
    assert (await jobs.run(await started(site, JANUARY, FEBRUARY)))["billed"] == 3
    assert [row["meter_id"] for row in await site.rows("SELECT meter_id FROM late_usage")] == [first]
    async with site.db.transaction(SYSTEM) as conn:
        standing = await standings(conn, [flat.account_id for flat in site.flats])
    assert [standing[flat.account_id].to_be_rated for flat in site.flats] == [True, False, False]


async def test_what_another_worker_derives_at_this_moment_is_waited_for(site: Site) -> None:
    """It has taken the reading out of the queue and written no usage yet."""
    late = site.flats[0]
    meter_id = late.meters["electricity"]
    await come(site, late, MARCH, AFTER_JANUARY + LEAP)
    context = await started(site)
    run = await run_of(site, context)
    async with site.db.transaction(SYSTEM) as conn:
        zones = {site.project.id: site.project.zone}
        taken = await derivation.take_registers(conn, await derivation.lock_meters(conn, [meter_id]), zones)
        checking = asyncio.create_task(jobs.run(context))
        while not checking.done() and not await site.rows(SOMEBODY_WAITS):
            await asyncio.sleep(0.01)
        waited = not checking.done()
        await derivation.update(conn, taken)
    await checking
    assert waited
    assert (await run_of(site, context)).id == run.id
    assert "high-low" in (await left_out(site, context))[late.account_id]


async def test_what_another_worker_settles_at_this_moment_is_waited_for(site: Site) -> None:
    """It has taken what changed out of the queue, and its finding is not to be seen yet."""
    flat = site.flats[0]
    await leap_in_a_day(site, flat)
    await derive(site.db)
    context = await started(site)
    async with site.db.transaction(SYSTEM) as conn:
        taken = await settling.take(conn, [flat.meters["electricity"]])
        checking = asyncio.create_task(jobs.run(context))
        while not checking.done() and not await site.rows(SOMEBODY_WAITS):
            await asyncio.sleep(0.01)
        waited = not checking.done()
        await settling.settle(conn, taken, datetime.now(UTC))
    await checking
    assert waited
    assert "spike" in (await left_out(site, context))[flat.account_id]


async def test_a_run_may_not_be_checked_while_another_is_running(site: Site) -> None:
    context = await started(site)
    run = await run_of(site, context)
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE bill_run SET state = 'failed' WHERE id = %s", (run.id,))
    await started(site, JANUARY, FEBRUARY)
    with pytest.raises(Conflict):
        await billing.check_run(site.db, SYSTEM, run.id)


@pytest.mark.parametrize(("step", "query"), [("check_run", "uncharged_meters"), ("execute_run", "uncharged_accounts")])
async def test_nobody_waits_while_a_run_looks_up_what_it_bills(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, query: str
) -> None:
    """Readings that are derived, persons that are filed and prices that are published wait only for its beginning."""
    context = await started(site)
    run = await run_of(site, context)
    look_up, free = getattr(run_repository, query), []

    async def meanwhile(*of: Any) -> list[int]:
        free.extend(await site.rows("SELECT pg_try_advisory_xact_lock_shared(gm.usage_note_lock()) AS free"))
        return await look_up(*of)  # type: ignore[no-any-return]

    monkeypatch.setattr(run_repository, query, meanwhile)
    await getattr(billing, step)(site.db, SYSTEM, run.id)
    assert free == [{"free": True}]


@pytest.mark.parametrize("step", ["check_run", "execute_run"])
async def test_a_run_that_is_cancelled_while_its_job_begins_again_stays_cancelled(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It had failed, the worker tries it again, and waits for those who are changing usage."""
    await site.run(JANUARY)
    context = await started(site)
    run = await run_of(site, context)
    await site.rows("UPDATE bill_run SET state = 'failed' WHERE id = %s RETURNING 1", run.id)
    hold = run_repository.hold_usage_notes

    async def meanwhile(conn: Conn) -> None:
        async with site.db.transaction(SYSTEM) as office:
            await billing.cancel_run(office, run.id)
        await hold(conn)

    monkeypatch.setattr(run_repository, "hold_usage_notes", meanwhile)
    await getattr(billing, step)(site.db, SYSTEM, run.id)
    assert (await run_of(site, context)).state == "cancelled"


async def test_people_see_how_far_the_checking_is_and_then_the_bills(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flat in site.flats:
        await come(site, flat, MARCH, AFTER_JANUARY + USUAL)
    auth = await people.staff("manager", site.project.id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, auth)
    monkeypatch.setattr(checks, "_METERS_AT_ONCE", 2)
    context = await started(site)
    run = await run_of(site, context)
    seen: list[tuple[str, int, int]] = []
    shown: list[str] = []

    async def progress(done: int, total: int) -> None:
        await context.progress(done, total)
        now = await run_of(site, context)
        seen.append((now.step, now.done, now.of))
        page = text_of(await browser.see(f"/bill-runs/{run.id}"))
        shown.extend(
            one for one in (f"Checking meters: {done} of {total}", f"{done} of {total} accounts") if one in page
        )

    await billing.check_run(site.db, SYSTEM, run.id, progress=progress)
    await billing.execute_run(site.db, SYSTEM, run.id, progress=progress)
    assert seen == [("checking", 2, 3), ("checking", 3, 3), ("billing", 0, 3), ("billing", 3, 3)]
    assert shown == ["Checking meters: 2 of 3", "Checking meters: 3 of 3", "0 of 3 accounts", "3 of 3 accounts"]
    manager = await people.staff("manager", site.project.id)
    answer = (await app_client.get(f"/api/v1/bill-runs/{run.id}", headers=manager)).json()
    assert (answer["step"], answer["state"]) == ("billing", "preview")
