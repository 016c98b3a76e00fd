"""Late readings re-rate what was billed, and every later bill of the same tier window."""

from datetime import date, timedelta
from decimal import Decimal

import psycopg
import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.late_usage import Outcome, rerate_account
from cloud.billing.settlement.standing import standings
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.kit.periods import Period, day_start
from tests.integration.billing.late import (
    APRIL,
    FEBRUARY,
    JANUARY,
    MARCH,
    USAGE,
    charged_in_all,
    count_otherwise,
    late,
    revisions,
    site,
    site_world,
    yearly,
)
from tests.integration.billing.site import CHIEF, Site, make_site, noon

__all__ = ["site", "site_world"]


async def test_a_late_reading_re_rates_its_period_and_every_later_bill_of_the_tier_window(site: Site) -> None:
    flat, other = site.flats
    await count_otherwise(site, flat, JANUARY, 100_000)
    before = await site.rows("SELECT md5(string_agg(c::text || b::text, '' ORDER BY c.id)) FROM charge c, bill b")
    assert await late(site) == Outcome(adjusted=2)
    january, march = await revisions(site, flat)
    assert (january["month"], january["old_quantity"], january["quantity"]) == (JANUARY, 300_500, 400_500)
    assert january["difference"] == Decimal("48.83")
    # In March 100 kWh fall from the first tier into the second; nothing changes in February, all in the first.
    assert (march["month"], march["old_quantity"], march["quantity"]) == (MARCH, 2_500_000, 2_500_000)
    assert march["difference"] == Decimal("5.00")
    lines = [(one["tier"], Decimal(one["quantity"]), Decimal(one["amount"])) for one in march["differences"]]
    assert lines == [(1, Decimal(-100), Decimal("-48.83")), (2, Decimal(100), Decimal("53.83"))]
    assert march["differences"][0]["detail"]["line"] == 1
    assert march["differences"][0]["detail"]["period"] == "2026-03-01/2026-04-01"
    assert march["differences"][0]["detail"]["bill"].startswith("2026-")
    assert await charged_in_all(site, flat) == yearly(Decimal("3150.5"))
    assert await revisions(site, other) == []
    assert before == await site.rows(
        "SELECT md5(string_agg(c::text || b::text, '' ORDER BY c.id)) FROM charge c, bill b"
    )


async def test_re_rating_with_unchanged_data_yields_no_line(site: Site) -> None:
    await count_otherwise(site, site.flats[0], JANUARY, 0)
    assert await late(site) == Outcome()
    assert await site.rows("SELECT FROM late_usage") == []
    async with site.db.transaction(SYSTEM) as conn:
        assert await rerate_account(conn, site.flats[0].account_id, JANUARY) == Outcome()
        assert await rerate_account(conn, site.flats[0].account_id, JANUARY, cause="facts") == Outcome()
    await count_otherwise(site, site.flats[0], FEBRUARY, 1_000)
    assert (await late(site)).adjusted > 0
    assert await late(site) == Outcome()
    async with site.db.transaction(SYSTEM) as conn:
        assert await rerate_account(conn, site.flats[0].account_id, JANUARY) == Outcome()


async def test_repeated_late_data_converge(site: Site) -> None:
    flat = site.flats[0]
    for wh, month in ((70_007, FEBRUARY), (-30_003, JANUARY), (1_900_001, FEBRUARY), (-1_970_008, FEBRUARY)):
        await count_otherwise(site, flat, month, wh)
        await late(site)
    await count_otherwise(site, flat, JANUARY, 30_003)
    await late(site)
    assert await charged_in_all(site, flat) == yearly(Decimal("3050.5"))
    sums = await site.rows(
        """SELECT charge_id, sum(difference) FROM adjustment WHERE account_id = %s
           GROUP BY 1 HAVING sum(difference) <> 0""",
        flat.account_id,
    )
    assert sums == []
    assert await site.proof() == []


async def test_months_billed_out_of_order_are_not_touched_without_other_data(worker_db: Database) -> None:
    site = await make_site(worker_db, 1, services=("electricity",))
    await site.read(site.flats[0], "electricity", [300_511, 250_017, 2_500_023])
    for month in (MARCH, JANUARY, FEBRUARY):
        await site.run(month, noon(APRIL))
    async with site.db.transaction(SYSTEM) as conn:
        assert await rerate_account(conn, site.flats[0].account_id, JANUARY) == Outcome()


async def test_a_later_bill_builds_on_what_was_adjusted(site: Site) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, MARCH, 1_000)
    await late(site)
    meter, zone = flat.meters["electricity"], site.project.zone
    at, end = day_start(APRIL, zone), day_start(date(2026, 5, 1), zone)
    await site.rows(
        """WITH readings AS (INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                             VALUES (%s, 1, %s, 8151500, %s))
           INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
           VALUES (%s, 1, %s, %s, 100000, %s) RETURNING 1""",
        meter, end, site.project.id, meter, at, int((end - at).total_seconds()), site.project.id,
    )  # fmt: skip
    assert (await site.run(APRIL)).billed == 1
    (april,) = await site.rows(
        """SELECT opening_value, quantity, inputs -> 'charges' -> 0 -> 'used_before' AS before
           FROM charge c JOIN bill b ON b.id = c.bill_id WHERE lower(c.period) = %s""",
        APRIL,
    )
    assert (april["opening_value"], april["quantity"], april["before"]) == (8_051_500, 100_000, 3_051_500)
    assert await charged_in_all(site, flat) == yearly(Decimal("3151.5"))


async def test_usage_of_no_bill_is_no_correction(site: Site) -> None:
    meter, zone = site.flats[0].meters["electricity"], site.project.zone
    await site.rows(
        """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        meter, site.project.id, day_start(APRIL, zone), day_start(APRIL, zone) + timedelta(days=1),
    )  # fmt: skip
    assert await site.rows("SELECT FROM late_usage") == []


async def test_what_cannot_be_rated_waits_with_its_reason(site: Site) -> None:
    flat, meter = site.flats[0], site.flats[0].meters["electricity"]
    await count_otherwise(site, flat, FEBRUARY, 500)
    await site.rows("UPDATE store.reading SET value = value + 1 WHERE meter_id = %s AND taken_at = %s RETURNING 1",
                    meter, day_start(MARCH, site.project.zone))  # fmt: skip
    assert await late(site) == Outcome(waiting=1)
    assert [row["code"] for row in await site.rows("SELECT code FROM late_usage")] == ["usage-not-settled"]
    await site.rows("UPDATE store.reading SET value = value - 1 WHERE meter_id = %s AND taken_at = %s RETURNING 1",
                    meter, day_start(MARCH, site.project.zone))  # fmt: skip
    assert (await late(site)).waiting == 0
    assert await charged_in_all(site, flat) == yearly(Decimal("3051"))


async def test_what_changes_under_a_draft_is_re_rated_once_it_is_issued(worker_db: Database) -> None:
    site = await make_site(worker_db, 1, services=("electricity",))
    flat = site.flats[0]
    await site.read(flat, "electricity", USAGE)
    async with site.db.transaction(SYSTEM) as conn:
        run = await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, Period(JANUARY, FEBRUARY)))
    await billing.execute_run(site.db, SYSTEM, run.id, now=noon(FEBRUARY))
    await count_otherwise(site, flat, JANUARY, 1_000)
    assert await late(site) == Outcome(waiting=1)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run.id)
    await billing.issue_run(site.db, SYSTEM, run.id, now=noon(FEBRUARY))
    assert await late(site) == Outcome(adjusted=1)
    assert await charged_in_all(site, flat) == yearly(Decimal("301.5"))


async def test_a_boundary_that_moves_shifts_usage_between_neighbours(site: Site) -> None:
    """The reading between two bills was wrong: what one loses the other gains."""
    flat, at = site.flats[0], day_start(FEBRUARY, site.project.zone)
    meter = flat.meters["electricity"]
    await site.rows(
        """WITH late AS (UPDATE store.reading SET value = value - 500 WHERE meter_id = %s AND taken_at = %s),
                usage AS (UPDATE store.usage SET quantity = quantity + CASE WHEN start = %s THEN 500 ELSE -500 END
                          WHERE meter_id = %s AND start < %s)
           INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        meter, at, at, meter, day_start(MARCH, site.project.zone), meter, site.project.id,
        day_start(JANUARY, site.project.zone), day_start(MARCH, site.project.zone),
    )  # fmt: skip
    await late(site)
    january, february = await revisions(site, flat)
    assert (january["quantity"], february["quantity"]) == (300_000, 250_500)
    assert await charged_in_all(site, flat) == yearly(Decimal("3050.5"))


async def test_persons_corrected_backwards_count_only_where_that_is_asked(site: Site) -> None:
    flat = site.flats[0]
    await site.rows("INSERT INTO household (project_id, unit_id, persons, valid) VALUES (%s, %s, 6, %s) RETURNING 1",
                    site.project.id, flat.unit_id, "[2026-01-01,)")  # fmt: skip
    async with site.db.transaction(SYSTEM) as conn:
        assert await rerate_account(conn, flat.account_id, JANUARY) == Outcome()
        assert await rerate_account(conn, flat.account_id, JANUARY, cause="facts") == Outcome(adjusted=1)
    (march,) = await revisions(site, flat)
    assert (march["month"], march["difference"]) == (MARCH, Decimal("-8.52"))


async def test_a_charge_cannot_be_adjusted_twice_from_the_same_state(site: Site) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, MARCH, 1_000)
    await late(site)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await site.rows(
            """INSERT INTO adjustment (project_id, account_id, charge_id, revision, cause, old_amount, amount,
                                       exact_amount, engine_version, inputs, lines, differences)
               SELECT project_id, account_id, charge_id, revision, cause, old_amount, amount, exact_amount,
                      engine_version, inputs, lines, differences FROM adjustment"""
        )
    with pytest.raises(psycopg.IntegrityError, match="written once"):
        await site.rows("UPDATE adjustment SET amount = 0 RETURNING 1")
    async with site.db.transaction(SYSTEM) as conn:
        (one,) = await adjustments_repository.open_of_accounts(conn, [flat.account_id])
    assert (one.state, one.difference, one.original_number) == ("open", Decimal("0.54"), "2026-000005")


async def test_what_else_is_rated_again_begins_with_what_was_counted_late(site: Site) -> None:
    """January cites a reading that stands above that of the end of February; a concession begins between them."""
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, -100_000)
    await count_otherwise(site, flat, FEBRUARY, -200_000)
    new = NewConcession("subsidy", "Aid", "percent", Decimal(50), FEBRUARY, MARCH, "form", flat.account_id)
    async with site.db.transaction(SYSTEM) as conn:
        row = await conceded.file_concession(conn, site.project.id, new)
        await conceded.approve_concession(conn, row.terms.id, CHIEF, "papers seen")
    (job,) = await site.rows("SELECT payload FROM job WHERE kind = 'billing.re-rate'")
    await jobs.re_rate(JobContext(1, site.project.id, job["payload"], site.db))
    half = (Decimal(50) * Decimal("0.4883") / 2).quantize(Decimal("0.01"), "ROUND_HALF_DOWN")
    assert await charged_in_all(site, flat) == yearly(Decimal("2750.5")) - half
    assert await site.rows("SELECT FROM late_usage") == []
    assert await site.proof() == []


async def test_what_was_decided_on_waits_no_longer(site: Site) -> None:
    """Somebody has February rated in spite of an open finding; nobody has decided on the neighbour's."""
    for flat in site.flats:
        await count_otherwise(site, flat, FEBRUARY, 500)
        await site.rows(
            """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
               VALUES (%s, %s, 1, 'spike', %s, %s) RETURNING 1""",
            site.project.id, flat.meters["electricity"], *Period(FEBRUARY, MARCH).instants(site.project.zone),
        )  # fmt: skip
    assert (await late(site)).waiting == 2
    decided, neighbour = site.flats
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="open finding"):
            await rerate_account(conn, decided.account_id, JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        # Not of the days before those that somebody looked at.
        await rerate_account(conn, decided.account_id, MARCH, open_findings="bill")
    assert len(await site.rows("SELECT FROM late_usage")) == 2
    async with site.db.transaction(SYSTEM) as conn:
        await rerate_account(conn, decided.account_id, FEBRUARY, open_findings="bill")
    assert await charged_in_all(site, decided) == yearly(Decimal("3051"))
    assert (await late(site)).waiting == 1
    assert await charged_in_all(site, decided) == yearly(Decimal("3051"))
    async with site.db.transaction(SYSTEM) as conn:
        standing = await standings(conn, [flat.account_id for flat in site.flats])
    assert [standing[flat.account_id].to_be_rated for flat in site.flats] == [False, True]
    assert await charged_in_all(site, neighbour) == yearly(Decimal("3050.5"))
