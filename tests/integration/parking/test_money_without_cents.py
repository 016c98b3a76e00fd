"""Parking in a currency without cents: nothing is asked for, taxed, waived or given back that nobody could pay."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import InvalidInput
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.charging.models import QuoteOut
from cloud.parking.fees.models import ParkingRule, Schedule, Unit
from tests.integration.parking.nested import set_policy
from tests.integration.parking.site import NOON, Site, make_site, rows

PLATE = "品川300A1234"
HOUR = timedelta(hours=1)
LATER = NOON + 10 * HOUR


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A lot in Tokyo: 101 yen an hour, 10 percent of it tax."""
    schedule = Schedule(unit=Unit(minutes=60, price=Decimal(101)))
    made = await make_site(worker_db, zone="Asia/Tokyo", rule=ParkingRule(name="y", currency="JPY", schedule=schedule))
    async with worker_db.transaction(SYSTEM) as conn:
        policy = parking.MoneyPolicy(tax_percent=Decimal(10))
        await parking.set_money_policy(conn, made.project_id, policy, public=False)
    return made


async def _stayed(db: Database, site: Site, hours: int) -> int:
    left = NOON + hours * HOUR
    await site.report(db, [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, left)], LATER)
    return int((await rows(db, "SELECT id FROM parking_session"))[0]["id"])


async def _proof(db: Database, site: Site) -> list[str]:
    async with db.transaction(SYSTEM) as conn:
        return [str(one) for one in await billing.discrepancies(conn, site.project_id)]


async def test_the_tax_in_a_payment_is_whole_also_when_part_of_it_is_given_back(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    session_id = await _stayed(ingest_db, site, 3)
    async with worker_db.transaction(SYSTEM) as conn:
        price = await parking.quote(conn, session_id, LATER)
        assert QuoteOut.of(price).total.amount == "303"
        await parking.pay(conn, session_id, Decimal(303), "cash", "user:1", at=LATER)
    assert [row["tax"] for row in await rows(worker_db, "SELECT tax FROM parking_payment")] == [Decimal(28)]
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + HOUR)], LATER)
    async with worker_db.transaction(SYSTEM) as conn:
        assert await debts.release_surplus(conn, site.project_id, LATER + timedelta(days=2)) == 1
    assert await rows(worker_db, "SELECT amount, tax FROM parking_payment") == [
        {"amount": Decimal(101), "tax": Decimal(9)}
    ]
    assert await _proof(worker_db, site) == []


async def test_nothing_less_than_the_smallest_unit_is_waived(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    session_id = await _stayed(ingest_db, site, 2)
    async with worker_db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput):
            await parking.waive(conn, session_id, Decimal("0.50"), "so be it", "user:1")
        await parking.waive(conn, session_id, Decimal(2), "so be it", "user:1")
        assert (await parking.quote(conn, session_id, LATER)).due == Decimal(200)


async def test_a_fixed_price_has_no_decimals_either(worker_db: Database, site: Site) -> None:
    with pytest.raises(InvalidInput):
        await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.50"}])
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
