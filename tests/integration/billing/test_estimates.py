"""Bills by estimate: what is billed without readings, what the bill says of it, and the true-up when readings come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.service import BillRun, Policy, RunOptions
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period, day_start, next_month
from tests.integration.billing.late import charged_in_all, late, yearly
from tests.integration.billing.site import Flat, Site, failures_of, make_site, noon
from tests.integration.metering.test_derivation import derive
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH, APRIL, MAY = (date(2026, n, 1) for n in range(1, 6))
ESTIMATE = RunOptions(issue_at_once=True, missing_readings="estimate")
FROM = 5_000_000
"""Where the register stands on 1 January, Wh."""


async def read(site: Site, flat: Flat, values: Sequence[tuple[datetime, int]]) -> None:
    """Readings come in, and usage is derived from them as the worker does it."""
    meter = flat.meters["electricity"]
    async with site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, %s, %s)",
            [(meter, at, value, site.project.id) for at, value in values],
        )
        await cursor.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s)""",
            (meter, site.project.id, values[0][0], values[-1][0]),
        )
    await derive(site.db)


def at(site: Site, day: date, hour: int = 0) -> datetime:
    return day_start(day, site.project.zone) + timedelta(hours=hour)


def hourly(site: Site, first: date, end: date, value: int, wh: int) -> list[tuple[datetime, int]]:
    """A reading every hour from the first instant of `first` to that of `end`, `wh` more each."""
    hours = (end - first).days * 24
    return [(at(site, first, n), value + n * wh) for n in range(hours + 1)]


async def run(site: Site, month: date, options: RunOptions = ESTIMATE) -> tuple[BillRun, dict[int, str]]:
    """Does a run and says by account why it could not be billed."""
    period = Period(month, next_month(month))
    async with site.db.transaction(SYSTEM) as conn:
        made = await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, period, options=options))
    done = await billing.execute_run(site.db, SYSTEM, made.id, now=noon(period.end))
    async with site.db.transaction(SYSTEM) as conn:
        return done, {one.account_id: one.code for one in await failures_of(conn, made.id)}


async def charges(site: Site, flat: Flat) -> list[dict[str, Any]]:
    """Charges as they stand, by month."""
    return await site.rows(
        """SELECT lower(c.period) AS month, coalesce(r.quantity, c.quantity) AS quantity,
                  CASE WHEN r.id IS NULL THEN c.estimate ELSE r.estimate END AS estimate,
                  CASE WHEN r.id IS NULL THEN c.estimated_days ELSE r.estimated_days END AS days,
                  c.quantity AS billed, c.closing_value
           FROM charge c LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC
                                            LIMIT 1) r ON true
           WHERE c.meter_id = %s ORDER BY c.period""",
        flat.meters["electricity"],
    )


@world
async def site_world(db: Database) -> Site:
    """Two flats; the meter of the first is silent after 20 January, the other was read until 1 March."""
    made = await make_site(db, services=("electricity",))
    await read(made, made.flats[0], hourly(made, JANUARY, date(2026, 1, 21), FROM, 400))
    await read(made, made.flats[1], [(at(made, JANUARY), FROM)])
    await read(made, made.flats[1], [(at(made, FEBRUARY), FROM + 250_000), (at(made, MARCH), FROM + 500_000)])
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def test_without_being_asked_for_nothing_is_estimated(site: Site) -> None:
    done, why = await run(site, JANUARY, RunOptions(issue_at_once=True))
    assert (done.billed, done.estimated, why) == (1, 0, {site.flats[0].account_id: "missing-reading"})


async def test_nothing_is_estimated_ahead(site: Site) -> None:
    period = Period(FEBRUARY, MARCH)
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, period, options=ESTIMATE)
        made = await billing.run_of_job(conn, job_id)
    done = await billing.execute_run(site.db, SYSTEM, made.id, now=noon(date(2026, 2, 28)))
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, made.id)
    assert (done.billed, failure.account_id, failure.code) == (1, site.flats[0].account_id, "not-over")


async def test_a_silent_meter_is_billed_by_estimate_and_trued_up(site: Site) -> None:
    flat, other = site.flats
    done, why = await run(site, JANUARY)
    assert (done.billed, done.estimated, why) == (2, 1, {})
    (january,) = await charges(site, flat)
    assert (january["quantity"], january["estimate"], january["days"]) == (31 * 24 * 400, "open", 11)
    assert january["closing_value"] is None
    assert (await charges(site, other))[0]["estimate"] is None
    # It turns out that half as much was used.
    await read(site, flat, hourly(site, FEBRUARY, MARCH, FROM + 20 * 24 * 400 + 11 * 24 * 200, 200))
    assert (await late(site)).adjusted == 1
    (january,) = await charges(site, flat)
    assert (january["quantity"], january["estimate"]) == (20 * 24 * 400 + 11 * 24 * 200, None)
    (adjustment,) = await site.rows("SELECT differences FROM adjustment WHERE difference <> 0")
    assert adjustment["differences"][0]["detail"]["period"] == "2026-01-01/2026-02-01"
    assert adjustment["differences"][0]["detail"]["bill"] == "2026-000001"
    assert adjustment["differences"][0]["detail"]["of_estimate"] == "open"
    assert Decimal(adjustment["differences"][0]["quantity"]) == Decimal(-11 * 24 * 200) / 1000
    await run(site, FEBRUARY)
    used = 20 * 24 * 400 + 11 * 24 * 200 + 28 * 24 * 200
    assert sum(one["quantity"] for one in await charges(site, flat)) == used
    assert await charged_in_all(site, flat) == yearly(Decimal(used) / 1000)
    assert await site.proof() == []
    assert (await late(site)).adjusted == 0


async def test_a_reading_in_the_middle_of_a_later_month_is_shared_out_over_all_that_were_estimated(site: Site) -> None:
    flat = site.flats[0]
    for month in (JANUARY, FEBRUARY):
        assert (await run(site, month))[0].estimated >= 1
    assert [one["estimate"] for one in await charges(site, flat)] == ["open", "open"]
    end, used = date(2026, 3, 11), 700_000
    await read(site, flat, hourly(site, end, APRIL, FROM + used, 100))
    await late(site)
    assert [one["estimate"] for one in await charges(site, flat)] == ["between", "between"]
    # March has no reading at its beginning and never will: it goes on where the estimate ended, also unasked.
    _, why = await run(site, MARCH, RunOptions(issue_at_once=True))
    assert flat.account_id not in why
    standing = await charges(site, flat)
    assert standing[-1]["estimate"] == "between"
    used += 21 * 24 * 100
    assert sum(one["quantity"] for one in standing) == used
    assert await charged_in_all(site, flat) == yearly(Decimal(used) / 1000)
    assert (await late(site)).adjusted == 0


async def test_no_more_bills_in_a_row_than_the_terms_allow(site: Site) -> None:
    flat = site.flats[0]
    for month in (JANUARY, FEBRUARY, MARCH):
        assert flat.account_id not in (await run(site, month))[1]
    assert (await run(site, APRIL))[1][flat.account_id] == "estimated-too-often"
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = [one for one in await failures_of(conn, 4) if one.account_id == flat.account_id]
    assert "3 bills in a row" in failure.detail
    assert (await run(site, APRIL, RunOptions(True, missing_readings="estimate", estimate_limit=4)))[0].billed >= 1


async def _decide(site: Site, decision: str) -> None:
    await site.rows(
        "UPDATE meter_exception SET state = %s, actor = 'anna', reason = 'looked at', decided_at = now() RETURNING 1",
        decision,
    )


async def _doubt(site: Site, flat: Flat, rule: str, first: datetime, until: datetime) -> None:
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
           VALUES (%s, %s, 1, %s, %s, %s) RETURNING 1""",
        site.project.id, flat.meters["electricity"], rule, first, until,
    )  # fmt: skip


async def test_what_is_in_doubt_is_estimated_by_policy_and_trued_up_by_the_decision(site: Site) -> None:
    flat = site.flats[1]
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.reading WHERE meter_id = %s", (flat.meters["electricity"],))
        await conn.execute("DELETE FROM store.usage WHERE meter_id = %s", (flat.meters["electricity"],))
    # Every hour 400 Wh, but 60 kWh on 25 January; read on after it as if nothing had been.
    day = date(2026, 1, 25)
    good = hourly(site, JANUARY, day, FROM, 400)
    wild = [(at(site, day, 1 + n), good[-1][1] + (n + 1) * 2500) for n in range(24)]
    rest = hourly(site, date(2026, 1, 26), FEBRUARY, wild[-1][1], 400)[1:]
    await read(site, flat, [*good, *wild, *rest])
    await _doubt(site, flat, "spike", at(site, day), at(site, day, 24))
    asked, why = await run(site, JANUARY, RunOptions(issue_at_once=True))
    assert (asked.billed, why[flat.account_id]) == (0, "open-exceptions")
    done, why = await run(site, JANUARY, RunOptions(issue_at_once=True, open_exceptions="estimate"))
    assert (done.estimated, why) == (1, {site.flats[0].account_id: "missing-reading"})
    (january,) = await charges(site, flat)
    assert (january["quantity"], january["estimate"], january["days"]) == (31 * 24 * 400, "open", 1)
    (line,) = await site.rows("SELECT detail FROM bill_line")
    assert line["detail"]["estimated"] == {"kind": "open", "reason": "open-exceptions", "method": 4, "days": 1}
    # As long as nobody has decided, it stays as it was billed, whatever else comes.
    await read(site, flat, hourly(site, FEBRUARY, MARCH, rest[-1][1], 400)[1:])
    assert (await late(site)).adjusted == 0
    await _decide(site, "accepted")
    assert (await late(site)).adjusted == 1
    (january,) = await charges(site, flat)
    assert (january["quantity"], january["estimate"]) == (30 * 24 * 400 + 24 * 2500, None)
    assert (await late(site)).adjusted == 0
    assert await site.proof() == []


async def test_a_finding_that_tells_of_silence_is_no_doubt_where_silence_is_estimated(site: Site) -> None:
    flat = site.flats[0]
    await _doubt(site, flat, "prolonged-estimate", at(site, date(2026, 1, 21)), at(site, FEBRUARY))
    assert (await run(site, JANUARY, RunOptions()))[1] == {flat.account_id: "open-exceptions"}
    assert (await run(site, JANUARY, RunOptions(missing_readings="estimate")))[0].estimated == 1


async def test_a_final_bill_is_estimated_only_for_a_reason(site: Site) -> None:
    flat, newcomer = site.flats
    ending = billing.Ending(flat.account_id, date(2026, 2, 11))
    refused = RunOptions(issue_at_once=True)
    async with site.db.transaction(SYSTEM) as conn:
        for reason in ("", "  "):
            options = RunOptions(missing_readings="estimate", estimate_reason=reason)
            with pytest.raises(InvalidInput, match="why no final reading"):
                await billing.start_final_bill(conn, ending, options=options)
    for options, billed in ((refused, 0), (replace(ESTIMATE, estimate_reason="meter burnt", estimate_limit=0), 1)):
        async with site.db.transaction(SYSTEM) as conn:
            made = await billing.run_of_job(conn, await billing.start_final_bill(conn, ending, options=options))
        done = await billing.execute_run(site.db, SYSTEM, made.id, now=noon(MARCH))
        assert (done.billed, done.estimated, done.estimate_reason) == (billed, billed, options.estimate_reason)
    (final,) = await charges(site, flat)
    assert final["quantity"] == 41 * 24 * 400
    # Whoever pays next goes on where the estimate ended, and nothing is billed twice or never.
    async with site.db.transaction(SYSTEM) as conn:
        await billing.create_agreement(
            conn, site.project.id, newcomer.account_id, "electricity", site.tariffs["electricity"],
            flat.meters["electricity"], flat.unit_id, date(2026, 2, 11),
        )  # fmt: skip
    used = 610_000
    await read(site, flat, hourly(site, date(2026, 2, 20), MARCH, FROM + used, 100))
    await late(site)
    _, why = await run(site, FEBRUARY, RunOptions(issue_at_once=True))
    assert why == {}
    standing = await charges(site, flat)
    assert [one["estimate"] for one in standing] == ["between", "between"]
    assert sum(one["quantity"] for one in standing) == used + 9 * 24 * 100
    assert await site.proof() == []


async def test_what_is_missing_in_the_middle_changes_later_tiers_too(site: Site) -> None:
    """An estimate that stays open is still rated again where what was used before it changed."""
    flat = site.flats[0]
    for month in (JANUARY, FEBRUARY):
        await run(site, month)
    first, second = await charges(site, flat)
    meter = flat.meters["electricity"]
    await site.rows(
        """WITH more AS (UPDATE store.usage SET quantity = quantity + 2880000 WHERE meter_id = %s AND start = %s)
           INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        meter, at(site, JANUARY), meter, site.project.id, at(site, JANUARY), at(site, JANUARY, 1),
    )  # fmt: skip
    assert (await late(site)).waiting == 0
    again = await charges(site, flat)
    assert [one["quantity"] for one in again] == [first["quantity"], second["quantity"]]


async def test_the_whole_list_of_what_is_estimated(site: Site) -> None:
    flat = site.flats[0]
    for month in (JANUARY, FEBRUARY):
        await run(site, month)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, site.project.id, date(2020, 1, 1), Policy(estimate_bills=5, estimate_days=39))
        found = (await billing.estimated_services(conn, PageRequest(10), site.project.id)).items
    mine = next(one for one in found if one.account_id == flat.account_id)
    assert (mine.bills, mine.days, mine.period, mine.prolonged) == (2, 39, Period(JANUARY, MARCH), False)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, site.project.id, date(2021, 1, 1), Policy(estimate_bills=2, estimate_days=39))
        (only,) = (await billing.estimated_services(conn, PageRequest(10), site.project.id, prolonged=True)).items
    assert (only.account_id, only.prolonged) == (flat.account_id, True)
