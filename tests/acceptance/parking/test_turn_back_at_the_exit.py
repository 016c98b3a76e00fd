"""Turn-back at the exit: session stays open."""

from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"


async def test_a_car_that_turns_back_is_still_inside_and_pays_for_its_whole_stay(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    waiting = await lot.waits("exit", PLATE, NOON + minutes(120))
    await lot.hears(lot.told("exit", PLATE, NOON + minutes(120), "turned-back", waiting))
    assert (await lot.the_stay())["state"] == "open"
    await lot.hears(waiting)
    assert (await lot.the_stay())["state"] == "open", "an old report that comes again changes nothing"
    await lot.drives("exit", PLATE, NOON + minutes(300))
    stay = await lot.the_stay()
    assert (stay["state"], stay["left_at"], str(stay["fee"])) == ("closed", NOON + minutes(300), "8.00")
