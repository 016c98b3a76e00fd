"""Bills by estimate in a tariff by time of use: hours are estimated too, and trued up whichever way they fill tiers."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.explanation.models import ExplanationOut
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, month_of
from tests.integration.billing.late import charged_in_all, late
from tests.integration.billing.site import Site
from tests.integration.billing.test_estimates import ESTIMATE, charges, run
from tests.integration.billing.test_time_of_use import JANUARY, PRICES, metered_site, tariff_of
from tests.unit.cloud.billing.by_hand import add_up

SILENT_FROM = date(2026, 1, 21)
ALLOCATIONS: list[dict[str, Any]] = [
    {"method": "proportional"},
    {"method": "chronological"},
    {"method": "priority", "order": [*PRICES]},
]


async def _measured_total(site: Site) -> Decimal:
    """What the month comes to with all its readings; nothing of it stays."""
    async with site.db.transaction(SYSTEM) as conn:
        made = await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, month_of(JANUARY)))
    total = (await billing.execute_run(site.db, SYSTEM, made.id)).total
    async with site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, made.id)
    return total


async def _put_back(site: Site, usage: list[dict[str, Any]], readings: list[dict[str, Any]]) -> None:
    place = {"meter_id": site.flats[0].meters["electricity"], "project_id": site.project.id}
    async with site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               VALUES (%(meter_id)s, 1, %(start)s, %(length_s)s, %(quantity)s, %(project_id)s)""",
            [place | row for row in usage],
        )
        await cursor.executemany(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
               VALUES (%(meter_id)s, 1, %(taken_at)s, %(value)s, %(project_id)s)""",
            [place | row for row in readings],
        )


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=[one["method"] for one in ALLOCATIONS])
async def test_estimated_hours_are_trued_up(worker_db: Database, allocation: dict[str, Any]) -> None:
    site = await metered_site(worker_db, tariff_of(allocation), minutes=60)
    flat, meter, since = site.flats[0], site.flats[0].meters["electricity"], day_start(SILENT_FROM, site.project.zone)
    # From the 21st on twice as much is used as anybody would have thought.
    await site.rows("UPDATE store.usage SET quantity = 2 * quantity WHERE start >= %s RETURNING 1", since)
    await site.rows(
        """UPDATE store.reading SET value = 2 * value - (SELECT value FROM store.reading WHERE taken_at = %s)
           WHERE taken_at > %s RETURNING 1""",
        since, since,
    )  # fmt: skip
    total = await _measured_total(site)
    # The meter is not heard of then; what it counted is there later.
    usage = await site.rows("DELETE FROM store.usage WHERE start >= %s RETURNING start, length_s, quantity", since)
    readings = await site.rows("DELETE FROM store.reading WHERE taken_at > %s RETURNING taken_at, value", since)
    done, why = await run(site, JANUARY, ESTIMATE)
    assert (done.estimated, why) == (1, {})
    async with site.db.transaction(SYSTEM) as conn:
        bill = await billing.get_bill(conn, (await site.bills())[0].id)
        told = ExplanationOut.of(bill, await billing.explain(conn, bill)).model_dump(mode="json")
    add_up(told)
    estimated = told["charges"][0]["estimated"]
    assert (estimated["kind"], estimated["days"], estimated["method"]) == ("open", 11, 4)
    # Ten or eleven days more at the mean of like days: the hours of the day are where they were.
    hours = {one["time_period"]: Decimal(one["quantity"]) for one in told["charges"][0]["hours"]}
    assert sum(hours.values()) == Decimal(estimated["quantity"])
    assert all(hours.values())
    await _put_back(site, usage, readings)
    await site.rows(
        """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        meter, site.project.id, since, day_start(date(2026, 2, 1), site.project.zone),
    )  # fmt: skip
    assert (await late(site)).adjusted == 1
    (january,) = await charges(site, flat)
    assert january["estimate"] is None
    assert await charged_in_all(site, flat) == total
    assert await site.proof() == []
