"""Misread plate: edit distance <= 1 with province/letter confusion table against open sessions.

Automatic only if unique and plausible, else operator; the plate as read is kept.
"""

from datetime import timedelta

import pytest

from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import NOON, minutes, rows

PLATE, MISREAD, ALIKE = "京A12345", "京A1234S", "京A1Z34S"


async def test_the_only_vehicle_that_fits_is_meant(lot: ParkingLot) -> None:
    entered = lot.told("entry", PLATE, NOON)
    left = lot.told("exit", MISREAD, NOON + minutes(300))
    await lot.hears_in_disorder([entered, left], NOON + minutes(301))
    stay = await lot.the_stay()
    assert (stay["plate"], stay["state"], str(stay["fee"])) == (PLATE, "closed", "8.00")
    assert await lot.incidents() == [("misread", left.id, entered.id)]
    assert (await lot.get(f"parking-passages/{left.id}"))["plate_read"] == MISREAD


async def test_it_is_let_out_when_nothing_is_due(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    waiting = await lot.waits("exit", MISREAD, NOON + minutes(30))
    assert await lot.orders() == [waiting.id]


async def test_of_two_that_fit_a_person_decides_and_the_decision_survives_all_that_comes_later(lot: ParkingLot) -> None:
    first, second = lot.told("entry", PLATE, NOON), lot.told("entry", ALIKE, NOON + minutes(1))
    misread = lot.told("exit", MISREAD, NOON + minutes(200), "arrived")
    await lot.hears(first, second, misread, lot.told("entry", "京A12346", NOON))
    assert await lot.orders() == []
    candidates = (await lot.get(f"parking-passages/{misread.id}"))["candidates"]
    assert [(one["plate"], one["looks_alike"]) for one in candidates] == [
        (PLATE, True),
        (ALIKE, True),
        ("京A12346", False),
    ]

    path = f"parking-passages/{misread.id}/plate-corrections"
    said = await lot.post(path, plate=PLATE, reason="seen on the picture")
    assert said["made_by"].startswith("user:")
    passed = lot.told("exit", MISREAD, NOON + minutes(200), "passed", misread)
    await lot.hears_in_disorder([misread, passed, second, first], NOON + timedelta(days=1))
    states = {stay["plate"]: stay["state"] for stay in await lot.stays()}
    assert states == {PLATE: "closed", ALIKE: "open", "京A12346": "open"}

    await lot.post(f"plate-corrections/{said['id']}/reversals", reason="it was another vehicle")
    states = {stay["plate"]: stay["state"] for stay in await lot.stays()}
    assert states == {PLATE: "open", ALIKE: "open", "京A12346": "open", MISREAD: "unmatched"}
    (kept,) = await rows(lot.db, "SELECT reason, undone_reason FROM plate_correction")
    assert kept == {"reason": "seen on the picture", "undone_reason": "it was another vehicle"}


async def test_a_vehicle_of_another_class_is_not_meant(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON, vehicle_class="large")
    await lot.drives("exit", MISREAD, NOON + minutes(30))
    assert [stay["state"] for stay in await lot.stays()] == ["open", "unmatched"]


@pytest.mark.parametrize(("after", "meant"), [(timedelta(hours=10), True), (timedelta(hours=10, seconds=1), False)])
async def test_a_vehicle_that_came_too_long_ago_is_not_meant(lot: ParkingLot, after: timedelta, meant: bool) -> None:
    await lot.has_policy(misread_within_hours=10)
    await lot.drives("entry", PLATE, NOON)
    await lot.drives("exit", MISREAD, NOON + after)
    assert [stay["state"] for stay in await lot.stays()] == (["closed"] if meant else ["open", "unmatched"])


async def test_a_sign_that_does_not_look_alike_or_is_missing_is_for_a_person(lot: ParkingLot) -> None:
    """One edit apart is offered; only what cameras confuse is taken for it."""
    await lot.drives("entry", PLATE, NOON)
    for nth, read in enumerate(("京A12349", "京A1234", "京A112345")):
        waiting = await lot.waits("exit", read, NOON + minutes(20 + nth))
        candidates = (await lot.get(f"parking-passages/{waiting.id}"))["candidates"]
        assert [(one["plate"], one["looks_alike"]) for one in candidates] == [(PLATE, False)], read
    assert await lot.orders() == []
    assert [stay["state"] for stay in await lot.stays()] == ["open"]


async def test_provinces_that_look_alike_are_one_vehicle(lot: ParkingLot) -> None:
    await lot.drives("entry", "津A12345", NOON)
    waiting = await lot.waits("exit", "沪A12345", NOON + minutes(30))
    assert await lot.orders() == [waiting.id]


async def test_a_lot_may_leave_it_to_people_always(lot: ParkingLot) -> None:
    await lot.has_policy(misread="never")
    await lot.drives("entry", PLATE, NOON)
    await lot.waits("exit", MISREAD, NOON + minutes(30))
    assert await lot.orders() == []
