"""What a register counts is billed once and wholly: late readings, gaps, movers, months out of order, crashes."""

from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.runs import drafting
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, day_start
from tests.integration.billing.site import Flat, Site, failures_of, make_site, noon
from tests.worlds import World, world

AT_ONCE = billing.RunOptions(issue_at_once=True)
JANUARY, FEBRUARY, MARCH, APRIL = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)
USAGE = [300_500, 250_000, 2_500_000]


@world
async def site_world(db: Database) -> Site:
    """Three flats that pay for electricity, with three months of readings."""
    made = await make_site(db, flats=3, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", USAGE)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _charges(site: Site, flat: Flat) -> list[dict[str, Any]]:
    return await site.rows(
        """SELECT lower(period) AS start, quantity, opening_value, closing_value FROM charge
           WHERE meter_id = %s ORDER BY period""",
        flat.meters["electricity"],
    )


async def _run_over(site: Site, period: Period) -> billing.BillRun:
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, period, options=AT_ONCE)
        run = await billing.run_of_job(conn, job_id)
    return await billing.execute_run(site.db, SYSTEM, run.id, now=noon(period.end))


async def _move_boundary(site: Site, flat: Flat, day: date, wh: int) -> None:
    """A late reading becomes the boundary of `day`: from the period before it `wh` go to the one after."""
    at = day_start(day, site.project.zone)
    meter = flat.meters["electricity"]
    await site.rows(
        """WITH late AS (UPDATE store.reading SET value = value - %s WHERE meter_id = %s AND taken_at = %s),
                before AS (UPDATE store.usage SET quantity = quantity - %s
                           WHERE meter_id = %s AND start + length_s * interval '1 second' = %s)
           UPDATE store.usage SET quantity = quantity + %s WHERE meter_id = %s AND start = %s RETURNING 1""",
        wh, meter, at, wh, meter, at, wh, meter, at,
    )  # fmt: skip


@pytest.mark.parametrize("order", [(JANUARY, FEBRUARY), (FEBRUARY, JANUARY)], ids=["in order", "backwards"])
async def test_a_boundary_that_moves_between_two_bills_neither_doubles_nor_loses(
    site: Site, order: tuple[date, date]
) -> None:
    flat = site.flats[0]
    await site.run(order[0])
    await _move_boundary(site, flat, FEBRUARY, 500)
    await site.run(order[1])
    first, second = await _charges(site, flat)
    assert first["quantity"] + second["quantity"] == 300_500 + 250_000
    assert first["closing_value"] == second["opening_value"] == 5_300_500


async def test_a_month_that_neighbours_cover_wholly_is_refused(site: Site) -> None:
    await site.run(JANUARY)
    await _move_boundary(site, site.flats[0], FEBRUARY, 0)
    meter = site.flats[0].meters["electricity"]
    await site.rows("UPDATE store.reading SET value = 5_300_400 WHERE meter_id = %s AND taken_at > %s RETURNING 1",
                    meter, day_start(FEBRUARY, site.project.zone))  # fmt: skip
    await site.rows("UPDATE store.reading SET value = 5_300_300 WHERE meter_id = %s AND taken_at = %s RETURNING 1",
                    meter, day_start(FEBRUARY, site.project.zone))  # fmt: skip
    await site.rows("UPDATE store.usage SET quantity = 100 WHERE meter_id = %s AND start = %s RETURNING 1",
                    meter, day_start(FEBRUARY, site.project.zone))  # fmt: skip
    run = await site.run(FEBRUARY)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (failure.code, run.billed) == ("bills-overlap", 2)


async def test_readings_that_usage_does_not_show_yet_are_waited_for(site: Site) -> None:
    await site.rows("UPDATE store.reading SET value = value - 1 WHERE meter_id = %s AND taken_at = %s RETURNING 1",
                    site.flats[0].meters["electricity"], day_start(FEBRUARY, site.project.zone))  # fmt: skip
    run = await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (failure.code, run.billed) == ("usage-not-settled", 2)


async def test_without_a_reading_at_the_first_instant_both_months_are_billed_together(site: Site) -> None:
    flat = site.flats[0]
    meter, at = flat.meters["electricity"], day_start(FEBRUARY, site.project.zone)
    # The next reading came 40 minutes later: usage has one row over the whole gap.
    await site.rows("UPDATE store.reading SET taken_at = taken_at + interval '40 minutes' WHERE meter_id = %s "
                    "AND taken_at = %s RETURNING 1", meter, at)  # fmt: skip
    await site.rows("DELETE FROM store.usage WHERE meter_id = %s AND start = %s RETURNING 1", meter, at)
    await site.rows("UPDATE store.usage SET quantity = %s, length_s = 59 * 86400, method = 2 WHERE meter_id = %s "
                    "AND start = %s RETURNING 1", 550_500, meter, day_start(JANUARY, site.project.zone))  # fmt: skip
    for month in (JANUARY, FEBRUARY):
        run = await site.run(month)
        async with site.db.transaction(SYSTEM) as conn:
            (failure,) = await failures_of(conn, run.id)
        assert failure.code == "missing-reading"
    assert (await _run_over(site, Period(JANUARY, MARCH))).billed == 1
    assert (await site.run(MARCH)).billed == 3
    both, march = await _charges(site, flat)
    assert (both["quantity"], march["quantity"]) == (550_500, 2_500_000)
    assert both["closing_value"] == march["opening_value"]


async def test_months_billed_out_of_order_fill_the_tiers_as_if_in_order(site: Site) -> None:
    for month in (JANUARY, MARCH, FEBRUARY):
        await site.run(month, noon(APRIL))
    rows = await site.rows(
        """SELECT inputs -> 'charges' -> 0 ->> 'used_before' AS before FROM bill WHERE account_id = %s
           ORDER BY period""",
        site.flats[0].account_id,
    )
    assert [row["before"] for row in rows] == ["0", "300500", "550500"]


async def test_who_moves_out_and_who_moves_in_share_a_month_without_a_hole(site: Site) -> None:
    """Two agreements of one meter in one month: each its days, tiers anew for the newcomer."""
    leaver, newcomer = site.flats[0], site.flats[1]
    meter, zone = leaver.meters["electricity"], site.project.zone
    moved = date(2026, 1, 11)
    start, at, end = (day_start(day, zone) for day in (JANUARY, moved, FEBRUARY))
    await site.rows("UPDATE store.usage SET length_s = %s, quantity = 100_000 WHERE meter_id = %s AND start = %s "
                    "RETURNING 1", int((at - start).total_seconds()), meter, start)  # fmt: skip
    await site.rows(
        """WITH added AS (INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                          VALUES (%s, 1, %s, %s, 200_500, %s))
           INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
           VALUES (%s, 1, %s, 5_100_000, %s) RETURNING 1""",
        meter, at, int((end - at).total_seconds()), site.project.id, meter, at, site.project.id,
    )  # fmt: skip
    await site.rows(
        "UPDATE service_agreement SET valid = daterange(lower(valid), %s) WHERE meter_id = %s RETURNING 1", moved, meter
    )
    async with site.db.transaction(SYSTEM) as conn:
        tariff = site.tariffs["electricity"]
        await billing.create_agreement(
            conn, site.project.id, newcomer.account_id, "electricity", tariff, meter, leaver.unit_id, moved
        )
    assert (await site.run(JANUARY)).failed == 0
    first, second = await _charges(site, leaver)
    assert [(one["start"], one["quantity"]) for one in (first, second)] == [(JANUARY, 100_000), (moved, 200_500)]
    assert first["closing_value"] == second["opening_value"] == 5_100_000
    assert await site.proof() == []


async def test_a_run_that_dies_in_the_middle_is_finished_by_another_worker(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafting, "CHUNK", 1)

    class Killed(BaseException):
        pass

    async def die(done: int, total: int) -> None:
        if done:
            raise Killed

    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, Period(JANUARY, FEBRUARY), options=AT_ONCE)
        run = await billing.run_of_job(conn, job_id)
    with pytest.raises(Killed):
        await billing.execute_run(site.db, SYSTEM, run.id, progress=die, now=noon(FEBRUARY))
    # A killed process says nothing: the run is left as it was.
    await site.rows("UPDATE bill_run SET state = 'running' WHERE id = %s RETURNING 1", run.id)
    assert len(await site.bills()) in (1, 2)  # the other one under way may have come to its end
    done = await billing.execute_run(site.db, SYSTEM, run.id, now=noon(FEBRUARY))
    assert (done.state, done.accounts, done.billed, done.failed) == ("issued", 3, 3, 0)
    assert sorted(str(bill.number) for bill in await site.bills()) == [f"2026-{n:06}" for n in (1, 2, 3)]
    assert await site.proof() == []


async def test_an_amount_that_the_database_cannot_hold_fails_alone_and_leaves_no_hole(
    site: Site, owner_dsn: str
) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                         $$ BEGIN RAISE EXCEPTION 'too large' USING ERRCODE = 'numeric_value_out_of_range'; END $$""")
        owner.execute(
            f"""CREATE TRIGGER refuse BEFORE UPDATE ON bill FOR EACH ROW
                          WHEN (NEW.account_id = {site.flats[0].account_id}) EXECUTE FUNCTION refuse()""".encode()
        )
    run = await site.run(JANUARY)
    assert (run.billed, run.failed) == (2, 1)
    assert [bill.number for bill in await site.bills()] == ["2026-000001", "2026-000002"]


async def test_nothing_can_be_moved_into_an_issued_bill(site: Site) -> None:
    await site.run(JANUARY)
    bill = (await site.bills())[0]
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute(
            """WITH draft AS (
                       INSERT INTO bill (project_id, account_id, period, currency, total, engine_version, inputs)
                       SELECT project_id, account_id, '[2027-01-01,2027-02-01)', currency, 1, 'x', '{}' FROM bill
                       WHERE id = %s RETURNING id, project_id)
                   INSERT INTO charge (project_id, bill_id, agreement_id, service, period, tariff_version_id, amount,
                                       exact_amount)
                   SELECT draft.project_id, draft.id, c.agreement_id, c.service, '[2027-01-01,2027-02-01)',
                          c.tariff_version_id, 1, 1
                   FROM draft, charge c WHERE c.bill_id = %s""",
            (bill.id, bill.id),
        )
    with pytest.raises(psycopg.IntegrityError, match="is issued"):
        await site.rows("UPDATE charge SET bill_id = %s WHERE period = '[2027-01-01,2027-02-01)'", bill.id)


@pytest.mark.parametrize("table", ["bill", "charge", "bill_line", "journal", "posting", "payment_allocation"])
async def test_no_process_may_empty_a_table_of_money(site: Site, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with site.db.transaction(SYSTEM) as conn:
            await conn.execute(f"TRUNCATE {table} CASCADE".encode())


async def test_the_proof_finds_a_bill_that_was_tampered_with(site: Site, owner_dsn: str) -> None:
    await site.run(JANUARY)
    bill = (await site.bills())[0]
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("ALTER TABLE posting DISABLE TRIGGER USER")
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE bill_line SET amount = amount + 1 WHERE bill_id = %s", (bill.id,))
        owner.execute("UPDATE posting SET amount = amount - 1 WHERE ledger_account = 'revenue:electricity' "
                      "AND journal_id = (SELECT id FROM journal WHERE source_id = %s)", (bill.id,))  # fmt: skip
    found = await site.proof()
    assert {(one.what, one.found - one.expected) for one in found} == {
        ("journal", Decimal(-1)), ("ledger", Decimal(-1)), ("bill", Decimal(1)),
    }  # fmt: skip
