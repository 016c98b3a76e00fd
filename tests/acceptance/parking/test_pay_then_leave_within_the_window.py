"""Pay, then leave within the window: no further charge; who stays longer owes the whole stay less what he paid."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.acceptance.parking.till import Till

QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize("online", [False, True])
async def test_who_leaves_in_time_pays_nothing_more(till: Till, online: bool) -> None:
    stay = await till.enter(hours=5)
    if online:
        await till.paid(await till.intent(stay))
    else:
        await till.pay(stay, "8.00")
    passage = await till.arrive(QUARTER)
    assert await till.opened() == 1
    await till.leave(passage, QUARTER)
    closed = await till.stay()
    assert (closed.state, closed.fee, closed.paid) == ("closed", Decimal("8.00"), Decimal("8.00"))
    assert (await till.owed(), await till.queue(), await till.proof()) == (Decimal(0), [], [])


async def test_a_minute_too_long_costs_the_whole_stay_less_what_was_paid(till: Till) -> None:
    """Never a fresh clock, never free minutes again: compared with a vehicle that came at the same time."""
    stay = await till.enter(hours=5)
    await till.pay(stay, "8.00")
    other = await till.enter(hours=5, plate="京B99999")
    for late in (QUARTER + timedelta(minutes=1), timedelta(minutes=125), timedelta(hours=3)):
        price, whole = await till.quote(stay, late), await till.quote(other, late)
        assert (price.fee, price.paid) == (whole.fee, Decimal("8.00"))
        assert price.due == max(whole.fee - Decimal("8.00"), Decimal(0))
    await till.arrive(timedelta(minutes=125))
    assert await till.opened() == 0
    await till.pay(stay, "3.00", timedelta(minutes=126))
    assert await till.opened() == 1


async def test_the_window_begins_when_the_price_was_fixed_not_when_the_provider_told_us(till: Till) -> None:
    stay = await till.enter(hours=5)
    intent = await till.intent(stay)
    till.providers.ahead = timedelta(minutes=10)
    await till.paid(intent)
    assert (await till.quote(stay)).leave_by == till.now + QUARTER
