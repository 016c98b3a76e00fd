"""Duplicate recognition / re-entry within n minutes: same session, no second entry."""

from datetime import timedelta

from tests.acceptance.parking.lot import ParkingLot, seconds
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"


async def test_a_camera_that_sees_a_car_twice_has_seen_one_entry(lot: ParkingLot) -> None:
    first = await lot.drives("entry", PLATE, NOON)
    await lot.drives("entry", PLATE, NOON + seconds(20))
    await lot.hears(first)
    stay = await lot.the_stay()
    assert (stay["state"], stay["entered_at"]) == ("open", NOON)
    assert await lot.incidents() == []


async def test_back_within_n_minutes_is_the_same_stay_and_one_price(lot: ParkingLot) -> None:
    await lot.has_policy(reentry_within_minutes=15)
    told = [
        lot.told("entry", PLATE, NOON),
        lot.told("exit", PLATE, NOON + minutes(60)),
        lot.told("entry", PLATE, NOON + minutes(75)),
        lot.told("exit", PLATE, NOON + minutes(300)),
    ]
    await lot.hears_in_disorder(told, NOON + timedelta(days=1))
    stay = await lot.the_stay()
    assert (stay["state"], stay["entered_at"], stay["left_at"]) == ("closed", NOON, NOON + minutes(300))
    assert str(stay["fee"]) == "8.00", "five hours, with one free allowance"


async def test_back_later_than_that_is_a_second_stay(lot: ParkingLot) -> None:
    await lot.has_policy(reentry_within_minutes=15)
    await lot.drives("entry", PLATE, NOON)
    await lot.drives("exit", PLATE, NOON + minutes(60))
    await lot.drives("entry", PLATE, NOON + minutes(76))
    assert [stay["state"] for stay in await lot.stays()] == ["closed", "open"]
