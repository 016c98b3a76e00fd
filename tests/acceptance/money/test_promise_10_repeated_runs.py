"""Promise 10: "A run over a period may be repeated: no duplicates; one bad account fails alone, with its reason, and
the rest are billed."
"""

from datetime import date

import psycopg

from cloud.kit.db import Database
from tests.acceptance.money.office import Office
from tests.integration.billing.site import make_site

JANUARY = date(2026, 1, 1)


async def test_a_run_over_a_period_may_be_repeated_without_duplicates(office: Office) -> None:
    first = await office.bill(JANUARY)
    assert (first["billed"], first["failed"]) == (2, 0)
    everything = await office.site.rows(
        """SELECT (SELECT count(*) FROM bill) AS bills, (SELECT count(*) FROM charge) AS charges,
                  (SELECT sum(amount) FROM bill_line) AS amount, (SELECT count(*) FROM journal) AS journals"""
    )
    for _ in range(2):
        again = await office.bill(JANUARY)
        assert (again["accounts"], again["billed"], again["failed"]) == (0, 0, 0)
    assert everything == await office.site.rows(
        """SELECT (SELECT count(*) FROM bill) AS bills, (SELECT count(*) FROM charge) AS charges,
                  (SELECT sum(amount) FROM bill_line) AS amount, (SELECT count(*) FROM journal) AS journals"""
    )
    assert [bill["number"] for bill in await office.bills()] == [
        (await office.bills())[0]["number"],
        (await office.bills())[1]["number"],
    ]


async def test_a_period_that_overlaps_what_is_billed_bills_only_the_rest(office: Office) -> None:
    await office.bill(JANUARY)
    body = {"project_id": office.site.project.id, "start": "2026-01-01", "end": "2026-03-01"}
    started = await office.post("bill-runs", **body)
    await office.work(started["job_id"])
    await office.approve({"id": started["run_id"]})
    for flat in office.site.flats:
        first, second = [await office.whole(bill) for bill in await office.bills(flat)]
        assert {(charge["period"]["start"], charge["period"]["end"]) for charge in second["charges"]} == {
            ("2026-02-01", "2026-03-01")
        }
        assert len(first["charges"]) == len(second["charges"]) == 3


async def test_one_bad_account_fails_alone_with_its_reason_and_the_rest_are_billed(
    office: Office, worker_db: Database
) -> None:
    site = await make_site(worker_db, flats=3, services=("electricity",), code="three")
    office = Office(site, office.client, office.auth)
    good, bad, other = site.flats
    for flat in (good, other):
        await site.read(flat, "electricity", [100_000])
    run = await office.preview(JANUARY)
    assert (run["accounts"], run["billed"], run["failed"]) == (3, 2, 1)
    (failure,) = run["failures"]
    assert (failure["account_id"], failure["code"]) == (bad.account_id, "missing-reading")
    assert "E1" in failure["detail"], "it names the meter"
    assert "2026-01-01" in failure["detail"], "and the day"
    run = await office.approve(run)
    assert {bill["account_id"] for bill in await office.items("bills", run_id=run["id"])} == {
        good.account_id,
        other.account_id,
    }
    # Once the reading is there a repetition bills the rest, and only the rest.
    await site.read(bad, "electricity", [100_000])
    healed = await office.bill(JANUARY)
    assert (healed["accounts"], healed["billed"], healed["failed"]) == (1, 1, 0)
    assert await site.proof() == []


async def test_an_account_that_the_database_itself_refuses_fails_alone_and_leaves_no_hole_in_the_numbers(
    office: Office, owner_dsn: str
) -> None:
    bad, good = office.site.flats
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute(f"ALTER TABLE bill ADD CONSTRAINT refuse CHECK (account_id <> {bad.account_id})".encode())
    run = await office.preview(JANUARY)
    assert [(one["account_id"], one["code"]) for one in run["failures"]] == [(bad.account_id, "refused")]
    await office.approve(run)
    (bill,) = await office.bills()
    assert (bill["account_id"], bill["number"][-7:]) == (good.account_id, "-000001")
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute("ALTER TABLE bill DROP CONSTRAINT refuse")
    await office.bill(JANUARY)
    assert [one["number"][-7:] for one in await office.bills()] == ["-000001", "-000002"]
