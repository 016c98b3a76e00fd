"""Anti-passback, nested lots: inner session inside the outer one.

Inner time priced by its own rule; no double charge.
"""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from cloud.kit.db import SYSTEM
from cloud.parking import service as parking
from cloud.parking.fees.models import ParkingRule
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.nested import add_inner_lot
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"
BY_THE_HOUR = {
    "name": "Inner lot",
    "currency": "CNY",
    "leave_within_minutes": 15,
    "schedule": {"unit": {"minutes": 60, "price": "7.00"}},
}


@pytest.mark.parametrize("inner_time", ["paused", "included"])
async def test_time_in_the_inner_lot_is_priced_once(lot: ParkingLot, inner_time: str) -> None:
    inner = await add_inner_lot(lot.db, lot.site)
    async with lot.db.transaction(SYSTEM) as conn:
        await parking.publish_rule(conn, inner, ParkingRule.model_validate(BY_THE_HOUR), date(2025, 1, 1))
    await lot.has_policy(inner_time=inner_time)
    told = [
        lot.told("entry", PLATE, NOON),
        lot.told("inner-in", PLATE, NOON + minutes(10)),
        lot.told("inner-out", PLATE, NOON + minutes(250)),
        lot.told("exit", PLATE, NOON + minutes(300)),
    ]
    await lot.hears_in_disorder(told, NOON + timedelta(days=1))
    outer, within = await lot.stays()
    assert (outer["lot_id"], within["lot_id"]) == (lot.site.lot_id, inner)
    assert {outer["state"], within["state"]} == {"closed"}
    priced_by_the_other = outer if inner_time == "paused" else within
    (span,) = priced_by_the_other["covered"]
    assert (span.lower, span.upper) == (NOON + minutes(10), NOON + minutes(250))
    assert not (within if inner_time == "paused" else outer)["covered"]
    # An hour around the inner stay is within the free minutes; five hours are not.
    assert outer["fee"] == Decimal("0.00" if inner_time == "paused" else "8.00")
    assert within["fee"] == Decimal("28.00" if inner_time == "paused" else "0.00"), "four hours by its own rule"
    assert await lot.incidents() == []


async def test_nobody_is_inside_an_inner_lot_who_left_the_one_around_it(lot: ParkingLot) -> None:
    inner = await add_inner_lot(lot.db, lot.site)
    await lot.drives("entry", PLATE, NOON)
    entered = await lot.drives("inner-in", PLATE, NOON + minutes(10))
    left = await lot.drives("exit", PLATE, NOON + minutes(300))
    states = {stay["lot_id"]: (stay["state"], stay["left_at"]) for stay in await lot.stays()}
    assert states[inner] == ("unmatched", NOON + minutes(300))
    assert states[lot.site.lot_id] == ("closed", NOON + minutes(300))
    assert await lot.incidents() == [("inner-exit-unseen", left.id, entered.id)]


async def test_an_inner_entry_without_an_outer_one_is_an_incident(lot: ParkingLot) -> None:
    await add_inner_lot(lot.db, lot.site)
    entered = await lot.drives("inner-in", PLATE, NOON)
    assert await lot.incidents() == [("outer-entry-unseen", entered.id, None)]
