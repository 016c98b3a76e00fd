"""Left without paying: a debt on the plate, collected at the next entry or exit, or waived by staff with a reason."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cloud.kit.db import SYSTEM
from cloud.kit.errors import Conflict, InvalidInput
from cloud.parking import service as parking
from tests.acceptance.parking.till import PLATE, Till

LATER = timedelta(hours=2)


async def _owing_inside(till: Till) -> int:
    """A vehicle that left without paying 8.00 and is in again, for nothing so far; its new stay."""
    await till.enter(hours=5)
    await till.leave()
    till.now += LATER
    return await till.enter(hours=0)


async def test_the_debt_is_collected_at_the_next_exit_with_one_payment(till: Till) -> None:
    stay = await _owing_inside(till)
    assert await till.owed() == Decimal("8.00")
    assert await till.told_owing() == [f"owing-{PLATE}"], "no lane opens for it by itself"
    passage = await till.arrive(timedelta(minutes=10))
    assert await till.opened() == 0
    price = await till.quote(stay, timedelta(minutes=10))
    assert (price.due, price.total, [debt.due for debt in price.debts]) == (
        Decimal(0),
        Decimal("8.00"),
        [Decimal("8.00")],
    )
    paid = await till.pay(stay, "8.00", timedelta(minutes=10))
    assert paid.command_id is not None
    await till.leave(passage, timedelta(minutes=10))
    assert (await till.owed(), await till.told_owing(), await till.proof()) == (Decimal(0), [], [])


async def test_the_debt_is_collected_at_the_next_entry(till: Till) -> None:
    owing = await till.enter(hours=5)
    await till.leave()
    till.now += LATER
    assert (await till.quote(owing)).total == Decimal("8.00"), "what the guard asks for before he lets it in"
    await till.pay(owing, "8.00")
    assert (await till.owed(), await till.told_owing()) == (Decimal(0), [])
    await till.enter(hours=0)
    await till.arrive(timedelta(minutes=10))
    assert (await till.opened(), await till.proof()) == (1, [])


async def test_a_stay_and_a_debt_are_paid_online_at_once(till: Till) -> None:
    await _owing_inside(till)
    till.now += timedelta(hours=5)
    till.providers.ahead = LATER + timedelta(hours=5)
    await till.arrive()
    stay = (await till.stay()).id
    intent = await till.intent(stay)
    assert intent.amount == Decimal("16.00")
    await till.paid(intent)
    assert (await till.opened(), await till.owed()) == (1, Decimal(0))
    assert await till.payments() == [Decimal("16.00")]
    assert await till.proof() == []


async def test_a_project_that_only_shows_debts_lets_out(till: Till) -> None:
    stay = await _owing_inside(till)
    async with till.db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, till.site.project_id, parking.MoneyPolicy(debts="show"), public=False)
    assert await till.told_owing() == []
    await till.arrive(timedelta(minutes=10))
    assert await till.opened() == 1
    assert (await till.quote(stay)).total == Decimal("8.00"), "shown all the same"


async def test_staff_waive_a_debt_with_a_reason(till: Till) -> None:
    await _owing_inside(till)
    async with till.db.transaction(SYSTEM) as conn:
        (debt,) = (await parking.owing(conn, till.site.project_id, [PLATE]))[PLATE]
        with pytest.raises(InvalidInput):
            await parking.waive(conn, debt.session_id, None, "  ", "user:1")
        with pytest.raises(Conflict):
            await parking.waive(conn, debt.session_id, Decimal("9.00"), "too much", "user:1")
        await parking.waive(conn, debt.session_id, Decimal("3.00"), "barrier was broken", "user:1")
    assert await till.owed() == Decimal("5.00")
    async with till.db.transaction(SYSTEM) as conn:
        await parking.waive(conn, debt.session_id, None, "the rest, too", "user:1")
    assert (await till.owed(), await till.told_owing()) == (Decimal(0), [])
    await till.arrive(timedelta(minutes=10))
    assert (await till.opened(), await till.proof()) == (1, [])
