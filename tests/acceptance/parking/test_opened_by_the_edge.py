"""A vehicle that its lane let go is never held by the cloud: what is due after all is owed."""

from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"


async def test_it_is_let_out_although_something_is_due(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    waiting = await lot.waits("exit", PLATE, NOON + minutes(300), decision="free")
    assert await lot.orders() == [waiting.id]
    await lot.hears(lot.told("exit", PLATE, NOON + minutes(300), "passed", waiting, decision="free"))
    stay = await lot.the_stay()
    assert (stay["state"], str(stay["fee"])) == ("closed", "8.00"), "it is gone, and its price is known"


async def test_one_that_the_edge_did_not_let_go_waits_for_its_payment(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    await lot.waits("exit", PLATE, NOON + minutes(300), decision="await-cloud")
    assert await lot.orders() == []


async def test_the_last_decision_of_a_lane_is_the_one_shown(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    first = await lot.waits("exit", PLATE, NOON + minutes(300), decision="await-cloud")
    await lot.hears(lot.told("exit", PLATE, NOON + minutes(300), "arrived", first, decision="cloud-silent"))
    await lot.hears(first)
    assert (await lot.get(f"parking-passages/{first.id}"))["decision"] == "cloud-silent"
