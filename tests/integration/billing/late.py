"""Bills of months whose readings turn out to be wrong afterwards, and what is charged once they were rated again."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing.corrections.late_usage import Outcome, rerate_late
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, next_month
from tests.integration.billing.site import Flat, Site, make_site, noon
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH, APRIL = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)
USAGE = [300_500, 250_000, 2_500_000]


@world
async def site_world(db: Database) -> Site:
    """Two flats that pay for electricity, with three months of readings, all billed.

    The third reaches into the second tier. A test file imports `site` as well and names both in `__all__`.
    """
    made = await make_site(db, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", USAGE)
    for month in (JANUARY, FEBRUARY, MARCH):
        await made.run(month, noon(APRIL))
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def count_otherwise(site: Site, flat: Flat, month: date, wh: int) -> None:
    """A reading late in the month was wrong: `wh` more were counted in it, and all later registers stand higher."""
    meter, at, end = (
        flat.meters["electricity"],
        day_start(month, site.project.zone),
        day_start(next_month(month), site.project.zone),
    )
    await site.rows(
        """WITH readings AS (UPDATE store.reading SET value = value + %s WHERE meter_id = %s AND taken_at >= %s),
                usage AS (UPDATE store.usage SET quantity = quantity + %s WHERE meter_id = %s AND start = %s)
           INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        wh, meter, end, wh, meter, at, meter, site.project.id, at, end,
    )  # fmt: skip


async def late(site: Site) -> Outcome:
    """Rates again what changed since it was billed."""
    return await rerate_late(site.db, SYSTEM, site.project.id)


async def revisions(site: Site, flat: Flat) -> list[dict[str, Any]]:
    """What was charged otherwise, by month."""
    return await site.rows(
        """SELECT lower(c.period) AS month, a.revision, a.old_quantity, a.quantity, a.difference, a.differences
           FROM adjustment a JOIN charge c ON c.id = a.charge_id WHERE a.account_id = %s AND a.difference <> 0
           ORDER BY c.period, revision""",
        flat.account_id,
    )


async def charged_in_all(site: Site, flat: Flat) -> Decimal:
    """What the account was charged for, with all adjustments."""
    (row,) = await site.rows(
        """SELECT (SELECT sum(c.amount) FROM charge c JOIN bill b ON b.id = c.bill_id WHERE b.account_id = %s)
                  + coalesce((SELECT sum(difference) FROM adjustment WHERE account_id = %s), 0) AS amount""",
        flat.account_id, flat.account_id,
    )  # fmt: skip
    return Decimal(row["amount"])


def yearly(kwh: Decimal) -> Decimal:
    """What a year of the Beijing tariff costs, the obvious way."""
    first, second = min(kwh, Decimal(2880)), max(min(kwh, Decimal(4800)) - 2880, Decimal(0))
    third = max(kwh - 4800, Decimal(0))
    exact = first * Decimal("0.4883") + second * Decimal("0.5383") + third * Decimal("0.7883")
    return exact.quantize(Decimal("0.01"), "ROUND_HALF_UP")


async def corrected_january(db: Database) -> Site:
    """Two flats; January is billed, and 100 kWh more of the first one become known afterwards."""
    made = await make_site(db, services=("electricity", "property"))
    for flat in made.flats:
        await made.read(flat, "electricity", USAGE[:2])
    await made.run(JANUARY)
    await count_otherwise(made, made.flats[0], JANUARY, 100_000)
    await late(made)
    return made
