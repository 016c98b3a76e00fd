"""Bill runs on a real database: what is billed, what is refused, and what repeating them does."""

from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import LiteralString

import psycopg
import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period
from cloud.kit.yaml_files import load_yaml
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent, content_hash
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import explain, total
from cloud.tariffs.rating.month_shares import MONTH
from cloud.tariffs.rating.plan import plan
from tests.integration.billing.site import TARIFFS, Site, failures_of, make_site, noon
from tests.unit.cloud.tariffs import reference
from tests.worlds import World, world

AT_ONCE = billing.RunOptions(issue_at_once=True)
JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)


@world
async def site_world(db: Database) -> Site:
    """Two flats with three months of readings."""
    made = await make_site(db)
    for flat in made.flats:
        await made.read(flat, "electricity", [300_500, 250_000, 2_500_000])
        await made.read(flat, "water", [12_000_000, 11_345_678, 9_000_000])
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def test_a_bill_explains_itself_and_cites_its_readings(site: Site) -> None:
    run = await site.run(JANUARY)
    assert (run.state, run.accounts, run.billed, run.failed) == ("issued", 2, 2, 0)
    first, second = await site.bills()
    assert (first.number, second.number) == ("2026-000001", "2026-000002")
    assert (first.issued_on, first.due_on, first.state) == (date(2026, 2, 1), date(2026, 2, 16), "issued")
    async with site.db.transaction(SYSTEM) as conn:
        bill = await billing.get_bill(conn, first.id)
    electricity, water, fee = bill.charges
    assert (electricity.opening_value, electricity.closing_value, electricity.quantity) == (
        5_000_000,
        5_300_500,
        300_500,
    )
    assert (electricity.amount, fee.amount) == (Decimal("146.73"), Decimal("210.33"))
    assert [(line.quantity, line.unit, line.price, line.amount) for line in electricity.lines] == [
        (Decimal("300.5"), "kWh", Decimal("0.4883"), Decimal("146.73"))
    ]
    assert sum((line.amount for line in bill.lines), Decimal(0)) == bill.summary.total == first.total
    assert water.amount == Decimal("60.00")
    assert bill.inputs["charges"][0]["opening"]["value"] == 5_000_000
    assert bill.inputs["charges"][0]["tariff_version"] == electricity.tariff_version_id
    assert await site.proof() == []


async def test_what_came_since_the_first_of_the_month_is_judged_before_it_is_billed(site: Site) -> None:
    """March is ten times February, and nobody has looked at it since its last readings came."""
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, Period(MARCH, date(2026, 4, 1)))
    (job,) = await site.rows("SELECT payload FROM job WHERE id = %s", job_id)
    done = await jobs.run(JobContext(job_id, site.project.id, job["payload"], site.db))
    assert (done["billed"], done["failed"]) == (0, 2)
    failures = await site.rows("SELECT account_id, code, detail FROM bill_run_failure ORDER BY account_id")
    assert [(row["account_id"], row["code"]) for row in failures] == [
        (flat.account_id, "open-exceptions") for flat in site.flats
    ]
    assert all("high-low" in row["detail"] for row in failures)


async def test_the_tiers_of_the_year_fill_month_by_month(site: Site) -> None:
    for month in (JANUARY, FEBRUARY, MARCH):
        await site.run(month, noon(date(2026, 4, 1)))
    march = (await site.bills(account_id=site.flats[0].account_id))[2]
    async with site.db.transaction(SYSTEM) as conn:
        charge = (await billing.get_bill(conn, march.id)).charges[0]
    assert [(line.tier, line.quantity) for line in charge.lines if line.kind == "usage"] == [
        (1, Decimal("2329.5")),
        (2, Decimal("170.5")),
    ]


async def test_a_month_that_was_never_billed_still_counts_for_the_tiers(site: Site) -> None:
    await site.run(MARCH)
    rows = await site.rows("SELECT inputs -> 'charges' -> 0 ->> 'used_before' AS before FROM bill ORDER BY id")
    assert [row["before"] for row in rows] == ["550500", "550500"]


async def test_a_repeated_run_adds_nothing(site: Site) -> None:
    await site.run(JANUARY)
    before = await site.rows("SELECT count(*), sum(amount) FROM bill_line")
    again = await site.run(JANUARY)
    assert (again.state, again.accounts, again.billed) == ("issued", 0, 0)
    assert await site.rows("SELECT count(*), sum(amount) FROM bill_line") == before
    assert len(await site.bills()) == 2


async def test_an_issued_run_is_not_done_twice_and_a_failed_one_goes_on(site: Site) -> None:
    run = await site.run(JANUARY)
    assert await billing.execute_run(site.db, SYSTEM, run.id) == run
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE bill_run SET state = 'failed' WHERE id = %s", (run.id,))
    resumed = await billing.execute_run(site.db, SYSTEM, run.id)
    assert (resumed.state, resumed.billed) == ("issued", 2)


async def test_a_bill_follows_from_its_inputs_alone(site: Site) -> None:
    for month in (JANUARY, FEBRUARY, MARCH):
        await site.run(month)
    for summary in await site.bills():
        async with site.db.transaction(SYSTEM) as conn:
            bill = await billing.get_bill(conn, summary.id)
            versions = await tariffs.versions_of(conn, sorted(site.tariffs.values()))
        contents = {version.id: version for found in versions.values() for version in found}
        for inputs, charge in zip(bill.inputs["charges"], bill.charges, strict=True):
            version = contents[inputs["tariff_version"]]
            assert content_hash(version.content).hex() == inputs["tariff_hash"]
            prepared = plan(version.content)
            usages = Usages(
                quantity=[[inputs["quantity"]]] if version.content.energy else [],
                before=[inputs.get("used_before", 0)],
                **{name: [parts] for name, parts in inputs["window_parts"].items()},
                area=[int(Decimal(inputs["basis"]["area"]).scaleb(2))],
                months=[MONTH],
                carry=[int(Decimal(inputs["carry"]).scaleb(prepared.places))],
            )
            rated = rate_batch(prepared, usages, 1)
            assert total(rated, 0) == charge.amount
            assert [line.amount for line in explain(rated, 0)] == [line.amount for line in charge.lines]


async def test_one_bad_account_fails_alone(worker_db: Database) -> None:
    site = await make_site(worker_db, flats=3)
    for flat in site.flats:
        await site.read(flat, "water", [1_000_000])
    for flat in (site.flats[0], site.flats[2]):
        await site.read(flat, "electricity", [100_000])
    run = await site.run(JANUARY)
    assert (run.accounts, run.billed, run.failed) == (3, 2, 1)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (failure.account_id, failure.code) == (site.flats[1].account_id, "missing-reading")
    assert "E1" in failure.detail
    assert {bill.account_id for bill in await site.bills()} == {site.flats[0].account_id, site.flats[2].account_id}
    await site.read(site.flats[1], "electricity", [100_000])
    healed = await site.run(JANUARY)
    assert (healed.billed, healed.failed) == (1, 0)
    assert [bill.number for bill in await site.bills()] == ["2026-000001", "2026-000002", "2026-000003"]


async def test_an_account_that_the_database_refuses_fails_alone(site: Site, owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute(
            f"ALTER TABLE bill ADD CONSTRAINT refuse CHECK (account_id <> {site.flats[0].account_id})".encode()
        )
    run = await site.run(JANUARY)
    assert (run.billed, run.failed) == (1, 1)
    assert [bill.number for bill in await site.bills()] == ["2026-000001"]


async def test_a_missing_tariff_version_is_named(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        content = load_yaml(TARIFFS / "property-fee.yaml", TariffContent)
        late = await tariffs.publish(conn, site.project.id, "late", "Late", "property", content, FEBRUARY)
        account = site.flats[0].account_id
        await billing.create_agreement(conn, site.project.id, account, "property", late.tariff_id, None, None, JANUARY)
    run = await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (run.billed, failure.code) == (1, "missing-tariff-version")


async def test_a_new_price_takes_over_at_its_day(site: Site) -> None:
    content = load_yaml(TARIFFS / "beijing-electricity.yaml", TariffContent)
    document = content.model_dump(mode="json")
    document["components"][0]["prices"]["all"] = ["1.0", "2.0", "3.0"]
    async with site.db.transaction(SYSTEM) as conn:
        dearer = TariffContent.model_validate(document)
        await tariffs.publish(conn, site.project.id, "electricity", "Electricity", "electricity", dearer, FEBRUARY)
        with pytest.raises(Conflict, match="begins on or after"):
            await tariffs.publish(conn, site.project.id, "electricity", "Electricity", "electricity", dearer, FEBRUARY)
    await site.run(JANUARY)
    await site.run(FEBRUARY)
    january, february = await site.bills(account_id=site.flats[0].account_id)
    async with site.db.transaction(SYSTEM) as conn:
        prices = [(await billing.get_bill(conn, bill.id)).lines[0].price for bill in (january, february)]
    assert prices == [Decimal("0.4883"), Decimal("1")]


async def test_one_run_of_a_project_at_a_time(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        await billing.start_run(conn, site.project.id, Period(JANUARY, FEBRUARY))
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="another bill run"):
            await billing.start_run(conn, site.project.id, Period(FEBRUARY, MARCH))


async def test_a_run_whose_worker_gave_up_does_not_block_the_next(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, Period(JANUARY, FEBRUARY), options=AT_ONCE)
        await conn.execute("UPDATE job SET state = 'failed' WHERE id = %s", (job_id,))
    assert (await site.run(JANUARY)).billed == 2
    async with site.db.transaction(SYSTEM) as conn:
        given_up = await billing.run_of_job(conn, job_id)
        await billing.start_run(conn, site.project.id, Period(FEBRUARY, MARCH))
    assert given_up.state == "failed"
    with pytest.raises(Conflict, match="another bill run"):
        await billing.execute_run(site.db, SYSTEM, given_up.id)


@pytest.mark.parametrize("period", ["[2026-01-01,2026-02-01)", "[2026-01-31,2026-02-10)"])
async def test_double_billing_is_impossible_by_constraint(site: Site, period: str) -> None:
    await site.run(JANUARY)
    with pytest.raises((psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)):
        await site.rows(
            """WITH draft AS (
                   INSERT INTO bill (project_id, account_id, period, currency, total, engine_version, inputs)
                   SELECT project_id, account_id, period, currency, 1, 'x', '{}' FROM bill LIMIT 1
                   RETURNING id)
               INSERT INTO charge (project_id, bill_id, agreement_id, service, period, tariff_version_id, amount,
                                   exact_amount)
               SELECT c.project_id, draft.id, c.agreement_id, c.service, %s::daterange, c.tariff_version_id, 1, 1
               FROM charge c, draft LIMIT 1""",
            period,
        )


async def test_what_is_issued_and_booked_never_changes(site: Site) -> None:
    await site.run(JANUARY)
    changes: tuple[LiteralString, ...] = (
        "UPDATE bill SET total = total + 1",
        "UPDATE bill SET state = 'draft'",
        "DELETE FROM bill",
        "UPDATE bill_line SET amount = amount + 1",
        "DELETE FROM bill_line",
        "UPDATE charge SET quantity = 0",
    )
    for change in changes:
        with pytest.raises(psycopg.IntegrityError):
            await site.rows(change)


async def test_a_resident_sees_only_his_bills(site: Site, web_db: Database) -> None:
    await site.run(JANUARY)
    flat = site.flats[1]
    async with web_db.transaction(Asker("resident", (site.project.id,), (flat.person_id,))) as conn:
        page = await billing.list_bills(conn, PageRequest(10))
        assert [bill.account_id for bill in page.items] == [flat.account_id]
        bill = await billing.get_bill(conn, page.items[0].id)
        assert len(bill.charges) == 3
        assert (await billing.list_runs(conn, PageRequest(10))).items == []


async def test_two_hundred_accounts_equal_the_decimal_reference(worker_db: Database) -> None:
    site = await make_site(worker_db, flats=200, services=("electricity",))
    random = Random(5)
    usage = {flat.account_id: [random.randrange(0, 3_000_000) for _ in range(2)] for flat in site.flats}
    for flat in site.flats:
        await site.read(flat, "electricity", usage[flat.account_id])
    await site.run(JANUARY)
    await site.run(FEBRUARY)
    content = load_yaml(TARIFFS / "beijing-electricity.yaml", TariffContent)
    for account_id, (first, second) in usage.items():
        accounts = [
            reference.Account(usage={"all": Decimal(first).scaleb(-3)}),
            reference.Account(usage={"all": Decimal(second).scaleb(-3)}, before=Decimal(first).scaleb(-3)),
        ]
        found = [bill.total for bill in await site.bills(account_id=account_id)]
        assert found == [reference.rate(content, account).total for account in accounts]
    assert await site.proof() == []
    numbers = [bill.number for bill in await site.bills()]
    assert numbers == [f"2026-{n:06}" for n in range(1, 401)]


async def test_the_gauge_says_how_far_the_next_tier_is(site: Site, web_db: Database) -> None:
    flat = site.flats[0]
    async with web_db.transaction(Asker("staff", (site.project.id,))) as conn:
        gauge = await billing.tier_gauge(conn, flat.meters["electricity"], noon(date(2026, 3, 1) + timedelta(days=1)))
        assert await billing.tier_gauge(conn, flat.meters["electricity"], noon(date(2025, 6, 1))) is None
    assert gauge is not None
    assert (gauge.tier, gauge.used, gauge.tier_upper, gauge.remaining) == (
        1,
        Decimal("550.5"),
        Decimal(2880),
        Decimal("2329.5"),
    )
    assert gauge.price_now == Decimal("0.4883")
    assert [band.upper for band in gauge.tiers] == [Decimal(2880), Decimal(4800), None]
