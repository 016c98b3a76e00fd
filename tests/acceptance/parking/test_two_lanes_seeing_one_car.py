"""Two lanes seeing one car: same plate within seconds at a neighbouring lane is one passage."""

from datetime import timedelta

from tests.acceptance.parking.lot import ParkingLot, seconds
from tests.integration.parking.nested import add_inner_lot
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"


async def test_the_second_camera_makes_no_second_stay(lot: ParkingLot) -> None:
    await add_inner_lot(lot.db, lot.site)
    told = [
        lot.told("entry", PLATE, NOON),
        lot.told("entry-2", PLATE, NOON + seconds(3)),
        lot.told("exit", PLATE, NOON + minutes(300)),
    ]
    await lot.hears_in_disorder(told, NOON + timedelta(days=1))
    stay = await lot.the_stay()
    assert (stay["state"], stay["entered_at"], str(stay["fee"])) == ("closed", NOON, "8.00")
    assert await lot.incidents() == []


async def test_one_that_only_looked_at_it_makes_no_passage_at_all(lot: ParkingLot) -> None:
    await add_inner_lot(lot.db, lot.site)
    await lot.waits("entry-2", PLATE, NOON)
    await lot.drives("entry", PLATE, NOON + seconds(3))
    assert (await lot.the_stay())["entered_at"] == NOON + seconds(3)
