"""Tailgating: incident with both passages."""

from tests.acceptance.parking.lot import ParkingLot, seconds
from tests.integration.parking.site import NOON, minutes

PLATE, OTHER = "京A12345", "沪B00001"


async def test_the_sensor_sees_a_second_vehicle_that_no_camera_saw(lot: ParkingLot) -> None:
    first = lot.told("entry", PLATE, NOON, decision="temporary")
    second = lot.told("entry", "", NOON + seconds(4), decision="unrecognised")
    await lot.hears(second)
    assert await lot.incidents() == []
    await lot.hears(first, now=NOON + minutes(5))
    assert await lot.incidents() == [("tailgating", second.id, first.id)]


async def test_a_recognised_vehicle_goes_through_on_the_opening_of_another(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON, decision="temporary")
    await lot.drives("entry", OTHER, NOON + minutes(9), decision="temporary")
    first = await lot.drives("exit", PLATE, NOON + minutes(60), decision="free")
    second = await lot.drives("exit", OTHER, NOON + minutes(60) + seconds(5), decision="await-cloud")
    assert await lot.incidents() == [("tailgating", second.id, first.id)]
    assert [stay["state"] for stay in await lot.stays()] == ["closed", "closed"], "it is gone all the same"


async def test_who_was_let_through_by_hand_follows_nobody(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON, decision="temporary")
    await lot.drives("entry", OTHER, NOON + seconds(60), decision="await-cloud")
    assert await lot.incidents() == []


async def test_somebody_looks_at_it_and_says_what_it_was(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON, decision="temporary")
    second = await lot.drives("entry", "", NOON + seconds(4), decision="unrecognised")
    path = f"parking-passages/{second.id}/incident-handlings"
    await lot.post(path, 422, kind="tailgating", state="resolved")
    await lot.post(path, kind="tailgating", state="seen")
    done = await lot.post(path, kind="tailgating", state="resolved", note="a trailer")
    assert (done["state"], done["note"]) == ("resolved", "a trailer")
    assert (await lot.get("parking-incidents", state="open"))["items"] == []
    await lot.hears(second)
    (kept,) = (await lot.get("parking-incidents", state="resolved"))["items"]
    assert kept["note"] == "a trailer", "what was done is kept when the passage comes again"
