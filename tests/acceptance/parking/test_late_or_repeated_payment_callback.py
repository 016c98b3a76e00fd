"""Late or repeated payment callback: one payment; what is too much goes to the refund queue, and from there back."""

from datetime import timedelta
from decimal import Decimal

from cloud.kit.db import SYSTEM
from cloud.parking import service as parking
from cloud.parking.stays import session_repository as stays
from tests.acceptance.parking.till import PLATE, Till
from tests.integration.parking.nested import set_policy
from tests.integration.parking.site import rows


async def _end(till: Till, intent_id: int, state: str = "expired") -> None:
    """Its time is over for us; the provider does not know yet."""
    async with till.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE payment_intent SET state = %s WHERE id = %s", (state, intent_id))


async def test_a_callback_told_three_times_is_one_payment_and_opens_once(till: Till) -> None:
    stay = await till.enter(hours=5)
    await till.arrive()
    intent = await till.intent(stay)
    assert (intent.amount, await till.opened()) == (Decimal("8.00"), 0)
    await till.paid(intent, "EV-1", "EV-1", "EV-2")
    assert await till.payments() == [Decimal("8.00")]
    assert await till.opened() == 1, "let out in the transaction that booked it"
    assert (await till.queue(), await till.proof()) == ([], [])


async def test_two_payers_are_one_payment_and_one_refund_by_the_provider(till: Till) -> None:
    stay = await till.enter(hours=5)
    first, second = await till.intent(stay), await till.intent(stay, "alipay")
    again = await till.intent(stay)
    assert again.id == first.id, "who asks the same is shown the same code"
    await till.paid(first)
    await till.paid(second)
    assert (await till.stay()).paid == Decimal("8.00")
    (back,) = await till.queue()
    assert (back.amount, back.reason, back.subject, back.state) == (Decimal("8.00"), "paid-twice", PLATE, "open")
    assert await till.proof() == []
    assert (await till.decide(back.id, decision="refund", note="paid by two"))["state"] == "asked"
    await till.decide(back.id, 409, decision="keep", note="no")
    await till.collector.step()
    (back,) = await till.queue()
    assert (back.state, back.method) == ("refunded", "alipay")
    assert back.provider_id
    assert await till.proof() == []


async def test_money_that_comes_after_the_vehicle_left_pays_its_debt(till: Till) -> None:
    stay = await till.enter(hours=5)
    intent = await till.intent(stay)
    await _end(till, intent.id)
    await till.leave()
    assert await till.owed() == Decimal("8.00")
    await till.paid(intent, "EV-1", "EV-2")
    assert (await till.owed(), await till.payments()) == (Decimal(0), [Decimal("8.00")])
    assert (await till.queue(), await till.proof()) == ([], [])


async def test_money_that_comes_after_the_cashier_took_it_goes_back(till: Till) -> None:
    stay = await till.enter(hours=5)
    intent = await till.intent(stay)
    await _end(till, intent.id, "cancelled")
    await till.pay(stay, "8.00")
    await till.leave()
    await till.paid(intent)
    (back,) = await till.queue()
    assert (back.amount, back.reason) == (Decimal("8.00"), "order-over")
    await till.decide(back.id, 422, decision="refund", note="cash", method="promise")
    assert (await till.decide(back.id, decision="refund", note="given in cash", method="cash"))["state"] == "refunded"
    assert await till.proof() == []


async def test_money_for_a_stay_that_is_no_more_follows_the_plate(till: Till) -> None:
    """A late passage may show that what was paid for is part of another stay, or of none that can take it."""
    stay = await till.enter(hours=5)
    intent = await till.intent(stay)
    await till.leave()
    async with till.db.transaction(SYSTEM) as conn:
        await parking.waive(conn, stay, Decimal("1.00"), "barrier was slow", "user:1")
    other = await till.enter(hours=0)
    async with till.db.transaction(SYSTEM) as conn:
        await stays.merge_sessions(conn, [(stay, other)])
    assert [row["session_id"] for row in await rows(till.db, "SELECT session_id FROM parking_waiver")] == [other]
    await till.paid(intent)
    assert await till.payments() == [Decimal("8.00")]
    paid = sum((row["amount"] for row in await rows(till.db, "SELECT amount FROM parking_payment")), Decimal(0))
    back = sum((one.amount for one in await till.queue()), Decimal(0))
    assert paid + back == Decimal("8.00")
    assert await till.proof() == []


async def test_money_for_a_stay_of_which_nothing_is_left_pays_what_the_plate_owes(till: Till) -> None:
    """It stood at the exit with nobody having seen it come in; late news: it had gone through just before."""
    await set_policy(till.db, till.site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    await till.arrive()
    stay = (await till.stay()).id
    intent = await till.intent(stay)
    await till.leave(after=timedelta(minutes=-2))
    left = await till.stay()
    assert (left.id != stay, left.state, await till.owed()) == (True, "unmatched", Decimal("20.00"))
    await till.paid(intent)
    assert (await till.owed(), await till.payments()) == (Decimal(0), [Decimal("20.00")])
    assert (await till.queue(), await till.proof()) == ([], [])


async def test_of_money_for_several_stays_each_gets_its_part_and_the_plate_owes_the_rest(till: Till) -> None:
    """One of two that were paid together turns out to be no stay, and the vehicle came and left once more meanwhile."""
    await set_policy(till.db, till.site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    await till.enter(hours=12)
    await till.leave(after=timedelta(hours=-7))
    await till.arrive()
    intent = await till.intent((await till.stay()).id)
    assert intent.amount == Decimal("28.00")
    await till.leave(after=timedelta(minutes=-2))
    await till.enter(hours=-1)
    await till.leave(after=timedelta(hours=6))
    assert await till.owed() == Decimal("36.00")
    await till.paid(intent)
    assert (await till.owed(), await till.payments()) == (Decimal("8.00"), [Decimal("28.00")])
    assert (await till.queue(), await till.proof()) == ([], [])
