"""Money of stays that change after it was asked for or paid: it follows them, and everybody is told the same."""

import asyncio
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.security import Keys, Sealer
from cloud.kit.yaml_files import load_yaml
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.charging.debts import DebtFilter
from cloud.parking.fees.models import ParkingRule
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.stays import corrections
from cloud.parking.stays import repository as stays_repository
from cloud.parking.visitors import service as visitors
from cloud.payments.channels.base import Paid as ProviderPaid
from cloud.payments.intent_records import Intent
from cloud.payments.intents import WantedPayment
from tests.integration.parking.nested import add_inner_lot, set_policy
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import MALL, NOON, Site, minutes, openings, rows, until_waiting
from tests.integration.parking.test_circumstances import MORNING, QUOTA, _publish, _stay

PLATE, OTHER = "京A12345", "粤B67890"
HOUR = timedelta(hours=1)


async def _ask(db: Database, session_id: int, now: datetime) -> Intent:
    async with db.transaction(SYSTEM) as conn:
        return await parking.ask_to_pay(conn, session_id, WantedPayment("wechat"), {"wechat"}, now)


async def _paid(db: Database, intent: Intent, now: datetime) -> None:
    told = ProviderPaid(intent.reference, "wx-1", intent.amount, intent.currency, now)
    async with db.transaction(SYSTEM) as conn:
        await parking.take_paid(conn, intent, told, now.date(), now)


async def _queue(db: Database) -> list[tuple[Decimal, str]]:
    return [
        (row["amount"], row["reason"])
        for row in await rows(db, "SELECT amount, reason FROM payment_refund ORDER BY id")
    ]


async def _proof(db: Database, site: Site) -> list[str]:
    async with db.transaction(SYSTEM) as conn:
        return [str(one) for one in await billing.discrepancies(conn, site.project_id)]


async def test_a_fixed_price_is_paid_online_and_the_vehicle_goes(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON, "arrived")], NOON)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    intent = await _ask(worker_db, stay["id"], NOON)
    assert intent.amount == Decimal("20.00")
    await _paid(worker_db, intent, NOON)
    assert await _queue(worker_db) == []
    assert len(await openings(worker_db)) == 1


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_fixed_price_that_was_not_paid_is_owed_until_it_is_paid_or_waived(
    ingest_db: Database, worker_db: Database, site: Site, arrived: bool
) -> None:
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    at_exit = site.passage("exit", PLATE, NOON, "arrived")
    if arrived:
        await site.report(ingest_db, [at_exit], NOON)
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON, known=at_exit)], NOON)
    now = NOON + HOUR
    async with worker_db.transaction(SYSTEM) as conn:
        (debt,) = (await parking.owing(conn, site.project_id, [PLATE]))[PLATE]
        assert debt.due == (await parking.quote(conn, debt.session_id, now)).due == Decimal("20.00")
        await parking.waive(conn, debt.session_id, Decimal("5.00"), "a regular", "user:1")
    await site.report(ingest_db, [site.passage("entry", PLATE, now)], now)
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await debts.debt_totals(conn, DebtFilter(site.project_id)))[0].due == Decimal("15.00")
        (inside,) = await rows(worker_db, "SELECT id FROM parking_session WHERE state = 'open'")
        assert (await parking.quote(conn, inside["id"], now)).total == Decimal("15.00")
        await parking.pay(conn, inside["id"], Decimal("15.00"), "cash", "user:1", at=now)
        assert await parking.owing(conn, site.project_id, [PLATE]) == {}
    assert await _proof(worker_db, site) == []


async def test_what_was_asked_for_two_stays_pays_the_one_that_they_are(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """It went out and came back in at once: the policy says that this is one stay, and a late passage makes it one."""
    began = [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, NOON + 5 * HOUR)]
    now = NOON + 10 * HOUR
    await site.report(ingest_db, [*began, site.passage("entry", PLATE, NOON + 5 * HOUR + minutes(10))], now)
    (inside,) = await rows(worker_db, "SELECT id FROM parking_session WHERE plate = %s AND state = 'open'", (PLATE,))
    intent = await _ask(worker_db, inside["id"], now)
    assert intent.amount == Decimal("16.00"), "8.00 owed and 8.00 due"
    await set_policy(worker_db, site.lot_id, reentry_within_minutes=15)
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + 4 * HOUR, "turned-back")], now)
    (stay,) = await rows(worker_db, "SELECT id, state FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        due = (await parking.quote(conn, stay["id"], now)).due
    await _paid(worker_db, intent, now)
    async with worker_db.transaction(SYSTEM) as conn:
        after = await parking.quote(conn, stay["id"], now)
    assert (due, after.due, after.paid) == (Decimal("13.00"), Decimal(0), Decimal("13.00"))
    assert await _queue(worker_db) == [(Decimal("3.00"), "paid-twice")]
    assert await _proof(worker_db, site) == []


async def test_a_stay_that_turns_out_to_be_anothers_gives_its_free_minutes_back(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await _publish(worker_db, site, QUOTA)
    now = MORNING + timedelta(days=1)
    first, second = _stay(site, 0, 100), _stay(site, 300, 100)
    await site.report(ingest_db, [*first, *second], now)
    query = "SELECT plate, fee FROM parking_session ORDER BY entered_at"
    assert [row["fee"] for row in await rows(worker_db, query)] == [Decimal(0), Decimal(4)]
    async with worker_db.transaction(SYSTEM) as conn:
        for passage in first:
            await corrections.correct_plate(conn, passage.id, OTHER, "misread", "guard", now)  # type: ignore[arg-type]
    assert [tuple(row.values()) for row in await rows(worker_db, query)] == [(OTHER, Decimal(0)), (PLATE, Decimal(0))]


@pytest.mark.parametrize("way", ["permit", "inner lot"])
async def test_what_was_covered_of_an_earlier_stay_took_nothing_of_the_days_quota(
    ingest_db: Database, worker_db: Database, site: Site, way: str
) -> None:
    """30 of its 100 minutes were not covered: 90 of the 120 free ones are left."""
    await _publish(worker_db, site, QUOTA)
    first = _stay(site, 0, 100)
    if way == "permit":
        await make_permit(worker_db, site, (PLATE,), since=MORNING, until=MORNING + minutes(70), at=MORNING)
    else:
        await add_inner_lot(worker_db, site)
        first.insert(1, site.passage("inner-in", PLATE, MORNING + minutes(10)))
        out = site.passage("inner-out", PLATE, MORNING + minutes(80))
        first.insert(2, msgspec.structs.replace(out, direction="exit"))
    later = MORNING + timedelta(hours=9)
    for told in (first, _stay(site, 300, 90)):
        await site.report(ingest_db, told, later)
    query = "SELECT id, fee FROM parking_session WHERE lot_id = %s ORDER BY entered_at DESC"
    last = (await rows(worker_db, query, (site.lot_id,)))[0]
    async with worker_db.transaction(SYSTEM) as conn:
        assert ((await parking.quote(conn, last["id"], later)).fee, last["fee"]) == (Decimal(0), Decimal(0))


async def test_a_stay_that_is_over_is_owed_as_it_is_quoted_whenever_a_permit_was_made(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """A card that is bought at noon holds from the morning: who left without paying between owes nothing."""
    await site.report(
        ingest_db, [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, NOON + 5 * HOUR)], NOON + 5 * HOUR
    )
    await make_permit(worker_db, site, (PLATE,), since=NOON - HOUR, at=NOON + 6 * HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        (stay,) = await rows(worker_db, "SELECT id, unpaid FROM parking_session")
        quote = await parking.quote(conn, stay["id"], NOON + 7 * HOUR)
    assert quote.due == stay["unpaid"]


async def test_who_pays_what_a_stay_that_is_over_costs_now_owes_no_more(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site
) -> None:
    """A pass that was given afterwards covers part of it: its price is what the quote says."""
    told = [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, NOON + 5 * HOUR)]
    await site.report(ingest_db, told, NOON + 5 * HOUR)
    now = NOON + 6 * HOUR
    async with web_db.transaction(site.staff) as conn:
        wanted = visitors.WantedPass(PLATE, NOON + 3 * HOUR, now + HOUR)
        await visitors.give_pass(conn, site.project_id, wanted, now=now)
        (stay,) = await (await conn.execute("SELECT id FROM parking_session")).fetchall()
        due = (await parking.quote(conn, stay["id"], now)).due
        assert due == Decimal("6.00")
        await parking.pay(conn, stay["id"], due, "cash", "user:1", at=now)
        assert await debts.owing(conn, site.project_id, [PLATE]) == {}
    assert await _proof(worker_db, site) == []


async def test_a_surplus_is_looked_at_again_once_the_plate_is_locked(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Between finding it and the lock a late passage may have made the stay dear again."""
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.pay(conn, stay["id"], Decimal("8.00"), "cash", "user:1", at=NOON + 5 * HOUR)
    early = site.passage("exit", PLATE, NOON + 2 * HOUR)
    await site.report(ingest_db, [early], NOON + 6 * HOUR)
    now = NOON + timedelta(days=3)
    async with worker_db.transaction(SYSTEM) as conn:
        await stays_repository.lock_plates(conn, site.project_id, [PLATE])

        async def release() -> int:
            async with worker_db.transaction(SYSTEM) as other:
                return await debts.release_surplus(other, site.project_id, now)

        released = asyncio.create_task(release())
        await until_waiting(worker_db)
        await corrections.correct_plate(conn, early.id, OTHER, "misread", "guard", now)  # type: ignore[arg-type]
    assert await released == 0
    assert await _queue(worker_db) == []


@pytest.mark.parametrize("inner_time", ["included", "paused"])
async def test_a_vehicle_in_a_lot_inside_another_is_told_what_both_cost(
    ingest_db: Database, worker_db: Database, site: Site, inner_time: str
) -> None:
    """While the inner stay goes on, the time that one of the two prices for both has no end."""
    inner = await add_inner_lot(worker_db, site)
    await set_policy(worker_db, site.lot_id, inner_time=inner_time)
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.publish_rule(conn, inner, load_yaml(MALL, ParkingRule), date(2025, 1, 1))
    told = [site.passage("entry", PLATE, NOON), site.passage("inner-in", PLATE, NOON + HOUR)]
    await site.report(ingest_db, told, NOON + HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        found = await rows(worker_db, "SELECT id FROM parking_session ORDER BY entered_at")
        due = [(await parking.quote(conn, row["id"], NOON + 5 * HOUR)).due for row in found]
    assert due == ([Decimal("8.00"), Decimal(0)] if inner_time == "included" else [Decimal(0), Decimal("7.00")])


async def _resident(db: Database, site: Site, since: datetime) -> Asker:
    async with db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(Keys.generate()), site.project_id, "Wang")
        await parking.register_vehicle(conn, site.project_id, PLATE, person.id, valid_from=since)
    return Asker("resident", (site.project_id,), (person.id,), user_id=1)


@pytest.mark.parametrize("way", ["white list", "pass of staff", "earlier stay"])
async def test_a_resident_is_told_what_staff_are_told(
    ingest_db: Database, web_db: Database, worker_db: Database, site: Site, way: str
) -> None:
    resident = await _resident(worker_db, site, MORNING + 2 * HOUR if way == "earlier stay" else NOON - HOUR)
    if way == "earlier stay":
        await _publish(worker_db, site, QUOTA)
        await site.report(ingest_db, _stay(site, 0, 100), MORNING + timedelta(hours=3))
    began = MORNING + 3 * HOUR if way == "earlier stay" else NOON
    async with worker_db.transaction(SYSTEM) as conn:
        if way == "white list":
            entry = NewEntry(site.project_id, "white", PLATE, "doctor", None, NOON - HOUR, None)
            await lists.add(conn, entry, "user:1", NOON - HOUR)
        elif way == "pass of staff":
            wanted = visitors.WantedPass(PLATE, NOON - HOUR, NOON + 20 * HOUR)
            await visitors.give_pass(conn, site.project_id, wanted, now=NOON - HOUR)
    await site.report(ingest_db, [site.passage("entry", PLATE, began)], began)
    told: list[Any] = []
    for asker in (site.staff, resident):
        async with web_db.transaction(asker) as conn:
            (stay,) = await (await conn.execute("SELECT id FROM parking_session WHERE state = 'open'")).fetchall()
            told.append((await parking.quote(conn, stay["id"], began + 2 * HOUR)).due)
    assert told[0] == told[1]
    assert told[0] == (Decimal("4.00") if way == "earlier stay" else Decimal(0))


async def test_another_stay_of_the_vehicle_whose_stay_changed_is_priced_anew_too(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Told late that it stayed longer: the other one never got the space, which is its own again when it comes back."""
    await make_permit(worker_db, site, (PLATE, OTHER), spaces=1, when_freed="never")
    short = site.passage("exit", PLATE, NOON + 3 * HOUR)
    now = NOON + 12 * HOUR
    told = [
        [site.passage("entry", PLATE, NOON), short],
        [site.passage("entry", OTHER, NOON + 4 * HOUR), site.passage("exit", OTHER, NOON + 10 * HOUR)],
        [site.passage("entry", PLATE, NOON + 6 * HOUR), site.passage("exit", PLATE, NOON + 9 * HOUR)],
    ]
    for passages in told:
        await site.report(ingest_db, passages, now)
    query = "SELECT id, fee FROM parking_session WHERE fee IS NOT NULL ORDER BY entered_at"
    assert [row["fee"] for row in await rows(worker_db, query)] == [Decimal(0), Decimal(0), Decimal("6.00")]
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + 5 * HOUR)], now)
    async with worker_db.transaction(SYSTEM) as conn:
        await corrections.correct_plate(conn, UUID(short.id), "粤Z99999", "misread", "guard", now)
    async with worker_db.transaction(SYSTEM) as conn:
        quoted = [(await parking.quote(conn, row["id"], now)).fee for row in await rows(worker_db, query)]
    assert quoted == [row["fee"] for row in await rows(worker_db, query)]
