"""Drafts are made while re-rating runs and usage changes: neither builds on half of what the other does."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.charges.drafts import Drafts, draft, rate_rounds
from cloud.billing.corrections import rerating
from cloud.billing.estimates.estimating import OpenExceptions
from cloud.billing.runs import drafting
from cloud.billing.service import RunOptions
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.periods import Period, day_start, next_month
from cloud.tariffs import service as tariffs
from tests.integration.billing.late import charged_in_all, count_otherwise, late, yearly
from tests.integration.billing.site import Site, make_site, noon
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH = (date(2026, n, 1) for n in range(1, 4))
USAGE = [2_800_000, 250_000]


@world
async def site_world(db: Database) -> Site:
    """One flat with two months of readings; January is billed."""
    made = await make_site(db, 1, services=("electricity",))
    await made.read(made.flats[0], "electricity", USAGE)
    await made.run(JANUARY)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _started(site: Site, month: date, open_exceptions: OpenExceptions = "ask") -> int:
    async with site.db.transaction(SYSTEM) as conn:
        period = Period(month, next_month(month))
        options = RunOptions(issue_at_once=True, open_exceptions=open_exceptions)
        return (
            await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, period, options=options))
        ).id


async def _waits_for_a_lock(site: Site) -> None:
    """Until some session waits for an advisory lock of another."""
    async with asyncio.timeout(60):
        while not await site.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            await asyncio.sleep(0.01)


async def test_a_draft_waits_for_the_re_rating_that_it_builds_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 200_000)
    run_id = await _started(site, FEBRUARY)
    drafted: list[asyncio.Task[billing.BillRun]] = []

    async def rate_while_a_draft_is_made(*of: object) -> Drafts:
        # The charges are read: what is drafted now they do not know of.
        drafted.append(asyncio.create_task(billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))))
        await _waits_for_a_lock(site)
        return await rate_rounds(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(rerating, "rate_rounds", rate_while_a_draft_is_made)
    assert (await late(site)).adjusted == 1
    assert (await drafted[0]).billed == 1
    assert await charged_in_all(site, flat) == yearly(Decimal("3250"))
    (february,) = await site.rows("SELECT inputs -> 'charges' -> 0 ->> 'used_before' AS before FROM bill "
                                  "WHERE lower(period) = %s", FEBRUARY)  # fmt: skip
    assert february["before"] == "3000000"


async def test_re_rating_waits_for_the_draft_and_takes_it_along(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 200_000)
    run_id = await _started(site, FEBRUARY)
    revised: list[asyncio.Task[billing.Outcome]] = []

    async def draft_while_it_is_re_rated(*of: object) -> Drafts:
        made = await draft(*of)  # type: ignore[arg-type]
        revised.append(asyncio.create_task(late(site)))
        await _waits_for_a_lock(site)
        return made

    monkeypatch.setattr(drafting, "draft", draft_while_it_is_re_rated)
    assert (await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))).billed == 1
    await revised[0]
    await late(site)
    assert await charged_in_all(site, flat) == yearly(Decimal("3250"))
    assert await site.proof() == []


async def test_usage_that_changes_while_its_draft_is_made_is_not_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No charge of February is to be seen yet when its usage changes, and the draft has read it already."""
    flat = site.flats[0]
    run_id = await _started(site, FEBRUARY)

    async def draft_while_usage_changes(*of: object) -> Drafts:
        made = await draft(*of)  # type: ignore[arg-type]
        await count_otherwise(site, flat, FEBRUARY, 50_000)
        return made

    monkeypatch.setattr(drafting, "draft", draft_while_usage_changes)
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))
    assert (await late(site)).adjusted == 1
    assert await charged_in_all(site, flat) == yearly(Decimal("3100"))


async def test_a_run_waits_for_those_who_change_usage_and_did_not_see_it(site: Site) -> None:
    flat, meter = site.flats[0], site.flats[0].meters["electricity"]
    start, end = Period(FEBRUARY, MARCH).instants(site.project.zone)

    async def change(conn: Conn) -> None:
        await conn.execute("UPDATE store.reading SET value = value + 50000 WHERE meter_id = %s AND taken_at = %s",
                           (meter, end))  # fmt: skip
        await conn.execute("UPDATE store.usage SET quantity = quantity + 50000 WHERE meter_id = %s AND start = %s",
                           (meter, start))  # fmt: skip
        await conn.execute("""INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
                              VALUES (%s, 1, %s, %s, %s)""", (meter, site.project.id, start, end))  # fmt: skip

    async with site.db.transaction(SYSTEM) as conn:
        await change(conn)
        assert await site.rows("SELECT FROM late_usage") == []
        run_id = await _started(site, FEBRUARY)
        done = asyncio.create_task(billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH)))
        await _waits_for_a_lock(site)
    await done
    await late(site)
    assert await charged_in_all(site, flat) == yearly(Decimal("3100"))


async def test_who_changes_usage_of_later_days_notes_nothing(site: Site) -> None:
    run_id = await _started(site, FEBRUARY)
    at = day_start(MARCH, site.project.zone)
    await site.rows("""INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
                       VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
                    site.flats[0].meters["electricity"], site.project.id, at, at)  # fmt: skip
    assert await site.rows("SELECT FROM late_usage") == []
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))


async def test_a_finding_that_is_decided_while_its_draft_is_made_is_not_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat, meter = site.flats[0], site.flats[0].meters["electricity"]
    start, end = Period(FEBRUARY, MARCH).instants(site.project.zone)
    await site.rows("""INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
                       VALUES (%s, %s, 1, 'high-low', %s, %s) RETURNING 1""",
                    site.project.id, meter, start, end)  # fmt: skip
    run_id = await _started(site, FEBRUARY, open_exceptions="estimate")

    async def draft_while_it_is_decided(*of: object) -> Drafts:
        made = await draft(*of)  # type: ignore[arg-type]
        await site.rows("UPDATE meter_exception SET state = 'accepted', reason = 'is so' RETURNING 1")
        return made

    monkeypatch.setattr(drafting, "draft", draft_while_it_is_decided)
    assert (await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))).estimated == 1
    assert (await late(site)).adjusted == 1
    assert await charged_in_all(site, flat) == yearly(Decimal("3050"))


async def test_no_price_begins_in_days_that_a_draft_is_being_made_of(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft has read the prices, and its charges are not to be seen yet."""
    run_id, project_id = await _started(site, FEBRUARY), site.project.id
    write, refused = drafting.Drafter._write, []
    async with site.db.transaction(SYSTEM) as conn:
        (version,) = (await tariffs.versions_of(conn, [site.tariffs["electricity"]])).popitem()[1]

    async def meanwhile(*told: Any) -> None:
        with pytest.raises(Conflict) as refusal:
            async with site.db.transaction(SYSTEM) as conn:
                await tariffs.publish(
                    conn, project_id, "electricity", "electricity", "electricity", version.content, date(2026, 2, 10)
                )
        refused.append(refusal.value.code)
        await write(*told)

    monkeypatch.setattr(drafting.Drafter, "_write", meanwhile)
    await billing.execute_run(site.db, SYSTEM, run_id, now=noon(MARCH))
    assert refused == ["already-billed"]
    async with site.db.transaction(SYSTEM) as conn:
        await tariffs.publish(conn, project_id, "electricity", "electricity", "electricity", version.content, MARCH)


async def test_a_run_whose_worker_died_for_good_holds_no_price(site: Site) -> None:
    """It stays running until another is started, and makes no drafts any more."""
    run_id, project_id = await _started(site, FEBRUARY), site.project.id
    await site.rows(
        """UPDATE job SET state = 'failed', error = 'the worker died', finished_at = now()
           WHERE id = (SELECT job_id FROM bill_run WHERE id = %s AND state = 'running') RETURNING 1""",
        run_id,
    )
    async with site.db.transaction(SYSTEM) as conn:
        (version,) = (await tariffs.versions_of(conn, [site.tariffs["electricity"]])).popitem()[1]
        since = date(2026, 2, 10)
        await tariffs.publish(conn, project_id, "electricity", "electricity", "electricity", version.content, since)
        assert (await billing.get_run(conn, run_id)).state == "running"
