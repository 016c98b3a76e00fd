"""Promise 4: "Double billing is impossible by constraint, not merely checked: unique `(agreement, service, period)` and
no overlapping periods."
"""

import asyncio
from datetime import date
from typing import LiteralString

import psycopg
import pytest

from cloud.kit.db import SYSTEM, Conn
from tests.acceptance.money.office import Office
from tests.integration.billing.late import count_otherwise
from tests.integration.billing.site import Site

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
REFUSED = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)
CHARGE_AGAIN: LiteralString = """
    WITH draft AS (
        INSERT INTO bill (project_id, account_id, period, currency, total, engine_version, inputs)
        SELECT project_id, account_id, %(period)s::daterange, currency, 1, 'by hand', '{}' FROM bill ORDER BY id LIMIT 1
        RETURNING id)
    INSERT INTO charge (project_id, bill_id, agreement_id, service, period, tariff_version_id, amount, exact_amount)
    SELECT c.project_id, draft.id, c.agreement_id, c.service, %(period)s::daterange, c.tariff_version_id, 1, 1
    FROM (SELECT * FROM charge ORDER BY id LIMIT 1) AS c, draft
"""


async def _charge(conn: Conn, period: str) -> None:
    """Straight past everything that checks: the first agreement once more, on a bill of its own."""
    await conn.execute(CHARGE_AGAIN, {"period": period})


@pytest.mark.parametrize(
    "period",
    ["[2026-01-01,2026-02-01)", "[2026-01-31,2026-02-10)", "[2025-12-01,2026-01-02)", "[2026-01-10,2026-01-11)",
     "[2025-01-01,2027-01-01)"],
    ids=["the same", "its last day", "its first day", "a day within", "all around it"],
)  # fmt: skip
async def test_the_database_refuses_to_charge_a_day_twice(office: Office, period: str) -> None:
    await office.bill(JANUARY)
    with pytest.raises(REFUSED):
        async with office.site.db.transaction(SYSTEM) as conn:
            await _charge(conn, period)
    # Its neighbours are free.
    async with office.site.db.transaction(SYSTEM) as conn:
        await _charge(conn, "[2026-02-01,2026-03-01)")
        await _charge(conn, "[2025-12-31,2026-01-01)")


async def test_of_two_that_charge_at_the_same_time_one_is_refused(office: Office) -> None:
    """Neither sees the other's charge when it looks; the constraint does."""
    site = office.site
    await office.bill(JANUARY)

    async def charge(period: str) -> None:
        async with site.db.transaction(SYSTEM) as conn:
            await _charge(conn, period)

    async with site.db.transaction(SYSTEM) as first:
        await _charge(first, "[2026-02-01,2026-03-01)")
        second = asyncio.create_task(charge("[2026-02-28,2026-03-31)"))
        await _waits(site, second)
    with pytest.raises(REFUSED):
        await second
    (row,) = await site.rows("SELECT count(*) AS charges FROM charge WHERE period && '[2026-02-01,2026-04-01)'")
    assert row == {"charges": 1}


async def _waits(site: Site, task: "asyncio.Task[None]") -> None:
    """Until the other connection waits for the first one."""
    async with asyncio.timeout(60):
        while not await site.rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not task.done()
            await asyncio.sleep(0.01)


async def test_a_meter_is_never_charged_to_two_agreements_on_one_day(office: Office) -> None:
    site = office.site
    flat, other = site.flats
    body = {
        "project_id": site.project.id, "account_id": other.account_id, "service": "electricity",
        "tariff_id": site.tariffs["electricity"], "meter_id": flat.meters["electricity"], "valid_from": "2026-01-15",
    }  # fmt: skip
    assert await office.refused("service-agreements", **body) == (409, "overlap")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        await site.rows(
            """INSERT INTO service_agreement (project_id, account_id, service, tariff_id, meter_id, valid)
               SELECT project_id, account_id, service, tariff_id, meter_id, '[2026-01-15,)' FROM service_agreement
               WHERE meter_id = %s RETURNING 1""",
            flat.meters["electricity"],
        )


async def test_what_a_preview_charges_is_not_charged_by_another_run_before_it_is_cancelled(office: Office) -> None:
    preview = await office.preview(JANUARY)
    other = await office.preview(JANUARY)
    assert (preview["billed"], other["billed"]) == (2, 0)
    await office.post(f"bill-runs/{preview['id']}/cancellations")
    assert (await office.bill(JANUARY))["billed"] == 2
    assert len(await office.bills()) == 2


async def test_an_adjustment_is_billed_once(office: Office) -> None:
    site = office.site
    await office.bill(JANUARY)
    await count_otherwise(site, site.flats[0], JANUARY, 100_000)
    await office.nightly("billing.re-rate")
    await office.bill(FEBRUARY)
    assert len((await office.whole((await office.bills(site.flats[0]))[1]))["corrections"]) == 1
    with pytest.raises(psycopg.errors.UniqueViolation):
        await site.rows(
            """WITH draft AS (
                   INSERT INTO bill (project_id, account_id, period, currency, total, engine_version, inputs)
                   SELECT project_id, account_id, period, currency, 0, 'by hand', '{}' FROM bill LIMIT 1 RETURNING id)
               INSERT INTO billed_adjustment
               SELECT b.adjustment_id, b.project_id, draft.id FROM billed_adjustment b, draft RETURNING 1"""
        )
