"""What is left of a balance: the same money that a bill over the same days would come to."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start
from cloud.prepaid import service
from cloud.prepaid.records import Policy
from tests.integration.prepaid.home import DAYS, Home, make_home
from tests.worlds import World, world


@world
async def home_world(db: Database) -> Home:
    return await make_home(db)


@pytest.fixture
def home(home_world: World[Home], worker_db: Database) -> Home:
    """That world, which only this test changes."""
    return home_world.of(worker_db)


def cost(days: int) -> Decimal:
    """Of 10 kWh a day in the first tier."""
    return (Decimal("4.883") * days).quantize(Decimal("0.01"), rounding="ROUND_HALF_UP")


async def test_use_without_a_bill_is_taken_off_what_is_held(home: Home) -> None:
    found = await home.value(home.at())
    assert (found.held, found.owed, found.accrued) == (Decimal(0), Decimal(0), cost(DAYS))
    assert (found.available, found.days_left, found.flaw, found.through) == (-cost(DAYS), 0, "", home.day)
    await home.pay("300.00")
    found = await home.value(home.at())
    assert (found.held, found.available) == (Decimal(300), 300 - cost(DAYS))
    assert found.days_left == (300 - cost(DAYS)) // (cost(DAYS) / DAYS)
    # A second look at the same moment changes nothing.
    assert await home.value(home.at()) == found


async def test_a_silent_meter_is_valued_up_to_its_last_whole_day(home: Home) -> None:
    zone = home.site.project.zone
    last = day_start(home.day - timedelta(days=3), zone)
    await home.site.rows("DELETE FROM store.usage WHERE start >= %s RETURNING 1", last)
    await home.site.rows("DELETE FROM store.reading WHERE taken_at > %s RETURNING 1", last)
    found = await home.value(home.at())
    assert (found.through, found.flaw, found.accrued) == (
        home.day - timedelta(days=3),
        "missing-reading",
        cost(DAYS - 3),
    )
    # Weeks later it still counts what it knew.
    later = await home.value(home.at(60))
    assert (later.through, later.accrued) == (found.through, found.accrued)


async def test_what_a_bill_charges_is_owed_and_not_accrued(home: Home) -> None:
    before = await home.value(home.at())
    first = home.day.replace(day=1)
    await home.site.run((first - timedelta(days=1)).replace(day=1), home.at())
    (bill,) = await home.site.bills()
    found = await home.value(home.at())
    assert (found.owed, found.accrued) == (bill.total, before.accrued - bill.total)
    assert found.available == before.available
    await home.pay("500.00")
    assert (await home.value(home.at())).available == before.available + 500


async def test_a_low_balance_is_told_once(home: Home) -> None:
    async def told() -> int:
        rows = await home.site.rows("SELECT count(*) AS n FROM notice WHERE kind = 'prepaid.low'")
        return int(rows[0]["n"])

    # Marking it has valued it, and it was low.
    assert await told() == 1
    for days in (-12, -11, 0):
        await home.value(home.at(days))
    assert await told() == 1
    await home.pay("500.00")
    assert (await home.value(home.at(1, 9))).warned_at is None
    assert await told() == 1


async def test_without_settings_nobody_is_warned_and_no_case_opens(worker_db: Database) -> None:
    home = await make_home(worker_db, Policy())
    assert (await home.value(home.at())).below
    assert await home.site.rows("SELECT 1 FROM supply_case") == []
    assert await home.site.rows("SELECT 1 FROM notice") == []


async def test_an_agreement_that_is_not_prepaid_any_more_is_forgotten(home: Home) -> None:
    async with home.db.transaction(SYSTEM) as conn:
        await service.unmark(conn, home.agreement_id, home.at())
        assert await service.refresh(conn, home.account_id, home.at()) is None
    assert await home.site.rows("SELECT 1 FROM prepaid_position") == []
