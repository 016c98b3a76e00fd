"""Two at once work on one stay: who comes second sees what the first has done, and no money goes astray."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.coupons import giving
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import NewBatch
from cloud.parking.coupons.redeeming import note_charging, redeem
from cloud.parking.stays import corrections
from cloud.parking.stays.service import close_session, locked_session
from cloud.payments.channels.base import Paid as ProviderPaid
from cloud.payments.intents import WantedPayment
from tests.integration.parking.nested import set_policy
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import GATEWAY, NOON, Site, minutes, openings, rows, until_waiting

PLATE, OTHER = "京A12345", "粤B67890"
HOUR = timedelta(hours=1)
NOW = NOON + 10 * HOUR

Deed = Callable[[Conn, int], Awaitable[object]]


async def _waive(conn: Conn, session_id: int) -> object:
    return await parking.waive(conn, session_id, Decimal("1.00"), "so be it", "user:1")


async def _charge(conn: Conn, session_id: int) -> None:
    await note_charging(conn, session_id, Decimal(5), 10, "user:1", NOW)


async def _close(conn: Conn, session_id: int) -> None:
    await close_session(conn, session_id, "towed away", "user:1", NOW)


@asynccontextmanager
async def _while_another_waits(
    db: Database, deed: Deed, session_id: int
) -> AsyncIterator[tuple[Conn, "asyncio.Task[object]"]]:
    """Within it `deed` waits for the plate in a transaction of its own; it goes on once the one given is committed."""

    async def second() -> object:
        async with db.transaction(SYSTEM) as other:
            return await deed(other, session_id)

    async with db.transaction(SYSTEM) as conn:
        await locked_session(conn, session_id)
        task = asyncio.create_task(second())
        await until_waiting(db)
        yield conn, task


@pytest.mark.parametrize("deed", [_waive, _charge, _close])
async def test_a_stay_that_became_anothers_meanwhile_is_left_alone(
    ingest_db: Database, worker_db: Database, site: Site, deed: Deed
) -> None:
    told = [site.passage("entry", PLATE, NOON)]
    if deed is _waive:
        told.append(site.passage("exit", PLATE, NOON + 5 * HOUR))
    await site.report(ingest_db, told, NOW)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    async with _while_another_waits(worker_db, deed, stay["id"]) as (conn, second):
        for passage in told:
            await corrections.correct_plate(conn, UUID(passage.id), OTHER, "misread", "guard", NOW)
    with pytest.raises(Conflict) as refused:
        await second
    assert refused.value.code == "changed-meanwhile"
    (after,) = await rows(worker_db, "SELECT id, plate, closed_at FROM parking_session")
    assert after == {"id": stay["id"], "plate": OTHER, "closed_at": None}
    assert await rows(worker_db, "SELECT FROM vehicle_charging") == []
    assert await rows(worker_db, "SELECT FROM parking_waiver") == []


async def test_who_waits_at_the_exit_goes_although_his_stay_turns_out_to_be_part_of_another(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """It came back at once: the policy says that this is one stay, and late news make it one while the job waits."""
    back = NOON + 2 * HOUR + minutes(5)
    now = NOON + 5 * HOUR
    told = [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, NOON + 2 * HOUR)]
    told += [site.passage("entry", PLATE, back), site.passage("exit", PLATE, now, "arrived")]
    await site.report(ingest_db, told, now)
    await make_permit(worker_db, site, (PLATE,), since=NOON - HOUR, at=now)
    assert await openings(worker_db) == [], "nobody asked whether it may go now"
    (first, second) = await rows(worker_db, "SELECT id FROM parking_session ORDER BY entered_at")
    await set_policy(worker_db, site.lot_id, reentry_within_minutes=15)

    async def let_out(conn: Conn, _: int) -> object:
        return await parking.let_out_waiting(conn, site.project_id, now)

    async with _while_another_waits(worker_db, let_out, second["id"]) as (conn, job):
        late = site.passage("exit", PLATE, NOON + HOUR, "turned-back")
        await parking.apply_passages(conn, site.project_id, GATEWAY, [late], NOON + 9 * HOUR)
        assert await (await conn.execute("SELECT id FROM parking_session")).fetchall() == [first]
    assert await job == 1
    assert len(await openings(worker_db)) == 1


async def test_a_surplus_that_became_anothers_meanwhile_is_given_back_another_time(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    told = [site.passage("entry", PLATE, NOON)]
    await site.report(ingest_db, told, NOON)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.pay(conn, stay["id"], Decimal("8.00"), "cash", "user:1", at=NOON + 5 * HOUR)
    told.append(site.passage("exit", PLATE, NOON + HOUR))
    await site.report(ingest_db, told, NOW)
    later = NOON + timedelta(days=3)

    async def release(conn: Conn, _: int) -> object:
        return await debts.release_surplus(conn, site.project_id, later)

    async with _while_another_waits(worker_db, release, stay["id"]) as (conn, job):
        for passage in told:
            await corrections.correct_plate(conn, UUID(passage.id), OTHER, "misread", "guard", later)
    assert await job == 0
    async with worker_db.transaction(SYSTEM) as conn:
        assert await release(conn, 0) == 1
    assert await rows(worker_db, "SELECT subject FROM payment_refund") == [{"subject": OTHER}]


async def test_a_vehicle_without_a_plate_is_paid_for_while_a_guard_says_whose_plate_it_has(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """The camera saw it twice, once without its plate: what is paid for the stay of the second is for the first."""
    told = [site.passage("entry", PLATE, NOON), site.passage("entry", "", NOON + timedelta(seconds=5))]
    await site.report(ingest_db, told, NOON)
    (unread,) = await rows(worker_db, "SELECT id FROM parking_session WHERE plate = ''")

    async def correct(conn: Conn, _: int) -> object:
        return await corrections.correct_plate(conn, UUID(told[1].id), PLATE, "seen", "guard", NOW)

    async with _while_another_waits(worker_db, correct, unread["id"]) as (conn, correction):
        await parking.pay(conn, unread["id"], Decimal("8.00"), "cash", "user:1", at=NOON + 5 * HOUR)
    await correction
    (stay,) = await rows(worker_db, "SELECT id, plate FROM parking_session")
    assert stay["plate"] == PLATE
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await parking.quote(conn, stay["id"], NOON + 5 * HOUR)).paid == Decimal("8.00")


async def test_a_coupon_is_given_at_the_counter_while_the_customer_hands_the_last_one_in(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Neither waits for the other for ever: one is told that it is used."""
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    day = NOON.date()
    async with worker_db.transaction(SYSTEM) as conn:
        merchant = await coupons.create_merchant(conn, site.project_id, "Noodles", "monthly")
        new = NewBatch(merchant.id, "hours", Decimal(2), Decimal(1), 1, day, day + timedelta(days=1))
        batch = await coupons.issue(conn, new, "user:1", NOON)
        (coupon,) = (await coupons.list_coupons(conn, PageRequest(9), batch.id)).items

    async def give(conn: Conn, _: int) -> object:
        return await giving.give(conn, merchant.id, batch.id, PLATE, "user:2", NOON + HOUR)

    async with _while_another_waits(worker_db, give, stay["id"]) as (conn, gift):
        await redeem(conn, site.project_id, PLATE, coupon.code, "public", NOON + HOUR)
    with pytest.raises(Conflict) as refused:
        await gift
    assert refused.value.code == "no-coupon-left"
    assert await rows(worker_db, "SELECT redeemed_by FROM coupon_redemption") == [{"redeemed_by": "public"}]


async def test_a_provider_tells_of_a_payment_while_the_desk_takes_the_same_for_the_corrected_plate(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    told = site.passage("entry", PLATE, NOON)
    await site.report(ingest_db, [told], NOON)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    at = NOON + 5 * HOUR
    async with worker_db.transaction(SYSTEM) as conn:
        intent = await parking.ask_to_pay(conn, stay["id"], WantedPayment("wechat"), {"wechat"}, at)
    async with worker_db.transaction(SYSTEM) as conn:
        await corrections.correct_plate(conn, UUID(told.id), OTHER, "misread", "guard", at)

    async def told_of(conn: Conn, _: int) -> object:
        paid = ProviderPaid(intent.reference, "wx-1", intent.amount, intent.currency, at)
        return await parking.take_paid(conn, intent, paid, at.date(), at)

    async with _while_another_waits(worker_db, told_of, stay["id"]) as (conn, second):
        await parking.pay(conn, stay["id"], Decimal("8.00"), "cash", "user:1", at=at)
    await second
    (paid,) = await rows(worker_db, "SELECT sum(amount) AS amount FROM parking_payment")
    assert paid == {"amount": Decimal("8.00")}
    assert await rows(worker_db, "SELECT amount, reason FROM payment_refund") == [
        {"amount": Decimal("8.00"), "reason": "paid-twice"}
    ]
