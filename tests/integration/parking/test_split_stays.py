"""What was paid for a stay that turns out to be two, or none, pays what the plate stayed instead."""

from datetime import timedelta
from decimal import Decimal

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from cloud.parking.charging import debts
from tests.integration.parking.nested import set_policy
from tests.integration.parking.site import NOON, Site, minutes, openings, rows

PLATE = "京A12345"
HOUR = timedelta(hours=1)
LATER = NOON + 10 * HOUR


async def _paid_at(db: Database, site: Site, at_hour: int) -> None:
    """All that the vehicle owes at that hour, 9 percent of it tax."""
    async with db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(tax_percent=Decimal(9)), public=False)
        (stay,) = await (await conn.execute("SELECT id FROM parking_session")).fetchall()
        now = NOON + at_hour * HOUR
        due = (await parking.quote(conn, stay["id"], now)).due
        assert due == Decimal("8.00")
        await parking.pay(conn, stay["id"], due, "cash", "user:1", at=now)


async def _money(db: Database) -> list[tuple[Decimal | None, Decimal, Decimal]]:
    """(fee, paid, unpaid) of the stays, in order of time."""
    query = """SELECT s.fee, coalesce(sum(p.amount), 0) AS paid, s.unpaid
               FROM parking_session s LEFT JOIN parking_payment p ON p.session_id = s.id
               GROUP BY s.id ORDER BY coalesce(s.entered_at, s.left_at)"""
    return [(row["fee"], row["paid"], row["unpaid"]) for row in await rows(db, query)]


async def _proof(db: Database, site: Site) -> list[str]:
    async with db.transaction(SYSTEM) as conn:
        return [str(one) for one in await billing.discrepancies(conn, site.project_id)]


async def test_one_stay_that_was_paid_turns_out_to_be_two_that_are_paid(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    await _paid_at(worker_db, site, 5)
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + 5 * HOUR + minutes(5))], LATER)
    assert await _money(worker_db) == [(Decimal(8), Decimal(8), Decimal(0))]
    between = [site.passage("exit", PLATE, NOON + HOUR), site.passage("entry", PLATE, NOON + 2 * HOUR)]
    await site.report(ingest_db, between, LATER)
    # An hour is free, and three cost 6.00: it left in time after paying up to then.
    assert await _money(worker_db) == [(Decimal(0), Decimal(2), Decimal(-2)), (Decimal(6), Decimal(6), Decimal(0))]
    assert await _proof(worker_db, site) == []


async def test_who_paid_and_waits_at_the_exit_is_let_out_although_his_stay_was_two(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    await _paid_at(worker_db, site, 5)
    between = [site.passage("exit", PLATE, NOON + HOUR), site.passage("entry", PLATE, NOON + 2 * HOUR)]
    at = NOON + 5 * HOUR + minutes(5)
    await site.report(ingest_db, [*between, site.passage("exit", PLATE, at, "arrived")], at)
    assert len(await openings(worker_db)) == 1
    assert await _proof(worker_db, site) == []


async def test_what_was_paid_for_time_after_a_second_entry_is_paid(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Its exit was never seen: nobody can say what the first stay cost, but the second one was paid."""
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    await _paid_at(worker_db, site, 5)
    told = [site.passage("exit", PLATE, NOON + 5 * HOUR), site.passage("entry", PLATE, NOON + 3 * HOUR)]
    await site.report(ingest_db, told, LATER)
    assert await _money(worker_db) == [(None, Decimal(3), Decimal(0)), (Decimal(5), Decimal(5), Decimal(0))]
    assert await _proof(worker_db, site) == []


async def test_what_was_too_much_for_one_stay_pays_the_next_one_that_is_not_paid(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    await _paid_at(worker_db, site, 5)
    told = [site.passage("exit", PLATE, NOON + 1 * HOUR)]
    told += [site.passage("entry", PLATE, NOON + 6 * HOUR), site.passage("exit", PLATE, NOON + 8 * HOUR)]
    await site.report(ingest_db, told, LATER)
    assert await _money(worker_db) == [(Decimal(0), Decimal(3), Decimal(-3)), (Decimal(5), Decimal(5), Decimal(0))]
    async with worker_db.transaction(SYSTEM) as conn:
        assert await debts.release_surplus(conn, site.project_id, LATER + timedelta(days=1)) == 1
    (back,) = await rows(worker_db, "SELECT amount FROM payment_refund")
    assert back["amount"] == Decimal(3)
    assert await _proof(worker_db, site) == []


async def test_money_for_a_stay_of_which_nothing_is_left_pays_what_the_vehicle_stayed(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """It was seen at the exit once more after it had left by it, and nobody knew that it had been inside."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "8.00"}])
    seen = NOON + 5 * HOUR
    await site.report(ingest_db, [site.passage("exit", PLATE, seen, "arrived")], seen)
    await _paid_at(worker_db, site, 5)
    told = [site.passage("entry", PLATE, NOON + 2 * HOUR), site.passage("exit", PLATE, seen - minutes(2))]
    await site.report(ingest_db, told, LATER)
    assert await _money(worker_db) == [(Decimal(6), Decimal(6), Decimal(0)), (Decimal(0), Decimal(2), Decimal(-2))]
    async with worker_db.transaction(SYSTEM) as conn:
        assert await debts.release_surplus(conn, site.project_id, LATER + timedelta(days=1)) == 1
    assert await _proof(worker_db, site) == []
