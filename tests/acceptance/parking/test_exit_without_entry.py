"""Exit without entry, per class: open free, last-known session, fixed charge, or refuse to operator."""

from datetime import UTC, datetime

from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"


async def test_usually_a_person_decides(lot: ParkingLot) -> None:
    waiting = await lot.waits("exit", PLATE, NOON)
    assert (await lot.stays(), await lot.orders()) == ([], [])
    passed = lot.told("exit", PLATE, NOON, "passed", waiting)
    await lot.hears(passed)
    stay = await lot.the_stay()
    assert (stay["state"], stay["fee"]) == ("unmatched", None)
    assert await lot.incidents() == [("exit-without-entry", passed.id, None)]


async def test_open_free(lot: ParkingLot) -> None:
    await lot.has_policy(unseen_entry=[{"then": "open-free"}])
    waiting = await lot.waits("exit", PLATE, NOON)
    assert await lot.orders() == [waiting.id]
    await lot.hears(lot.told("exit", PLATE, NOON, "passed", waiting))
    stay = await lot.the_stay()
    assert (stay["state"], str(stay["fee"])) == ("unmatched", "0.00")


async def test_a_fixed_charge_is_paid_and_opens_the_barrier(lot: ParkingLot) -> None:
    await lot.has_policy(
        unseen_entry=[
            {"then": "fixed-charge", "amount": "20.00"},
            {"then": "open-free", "vehicle_class": "new-energy"},
        ]
    )
    waiting = await lot.waits("exit", PLATE, datetime.now(UTC))
    assert await lot.orders() == [], "nobody paid yet"
    stay = await lot.the_stay()
    await lot.post(
        "parking-payments",
        session_id=stay["id"],
        amount={"amount": "20.00", "currency": "CNY"},
        method="cash",
    )
    assert await lot.orders() == [waiting.id]
    await lot.hears(lot.told("exit", PLATE, datetime.now(UTC), "passed", waiting))
    left = await lot.the_stay()
    assert (left["id"], left["state"], str(left["fee"])) == (stay["id"], "unmatched", "20.00")


async def test_the_class_decides(lot: ParkingLot) -> None:
    await lot.has_policy(unseen_entry=[{"then": "open-free", "vehicle_class": "new-energy"}])
    green = await lot.waits("exit", "京AD12345", NOON, vehicle_class="new-energy")
    await lot.waits("exit", PLATE, NOON + minutes(1))
    assert await lot.orders() == [green.id]


async def test_the_last_known_session_goes_on(lot: ParkingLot) -> None:
    await lot.has_policy(unseen_entry=[{"then": "last-known"}])
    await lot.drives("entry", PLATE, NOON)
    await lot.drives("exit", PLATE, NOON + minutes(30))
    waiting = await lot.waits("exit", PLATE, NOON + minutes(300))
    assert (await lot.the_stay())["state"] == "open"
    await lot.hears(lot.told("exit", PLATE, NOON + minutes(300), "passed", waiting))
    stay = await lot.the_stay()
    assert (stay["state"], stay["left_at"], str(stay["fee"])) == ("closed", NOON + minutes(300), "8.00")
    assert [kind for kind, *_ in await lot.incidents()] == ["exit-without-entry"]
