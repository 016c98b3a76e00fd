"""Lot full: the remaining count is reconciled from sessions, not from +1 and -1."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from tests.acceptance.parking.gate import Gate
from tests.acceptance.parking.lot import ParkingLot, seconds
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import minutes

PLATE, OTHER, STRANGER = "京A12345", "沪B00001", "粤C11111"


@pytest.fixture
def now() -> datetime:
    """To the second, as cameras say times."""
    return datetime.now(UTC).replace(microsecond=0)


async def free(lot: ParkingLot, vehicle_class: str = "") -> int:
    """Places that are left in the lot of two, or for a class."""
    (counted,) = (await lot.get("parking-counts", project_id=lot.site.project_id))["items"]
    by_class = {one["vehicle_class"]: one["free"] for one in counted["classes"]}
    return int(by_class.get(vehicle_class, counted["free_other"]) if vehicle_class else counted["free"])


async def test_full_the_gateway_refuses_and_lets_in_permits_lists_and_nobody_else(
    lot: ParkingLot, now: datetime
) -> None:
    await make_permit(lot.db, lot.site, ("京P00001",), since=now - minutes(60), until=now + minutes(600), at=now)
    listed: dict[str, Any] = {
        "listing": "white",
        "plate": "京W00001",
        "reason": "fire brigade",
        "valid_from": now.isoformat(),
    }
    await lot.post("parking-list-entries", project_id=lot.site.project_id, **listed)
    await lot.drives("entry", PLATE, now - minutes(2))
    gate = Gate(lot)
    await gate.learns(now)
    assert (await free(lot), gate.decides(STRANGER, now)) == (1, "temporary")
    await lot.drives("entry", OTHER, now - minutes(1))
    await gate.learns(now)
    assert await free(lot) == 0
    came = [gate.decides(plate, now) for plate in (STRANGER, "京P00001", "京W00001")]
    assert came == ["lot-full", "permit", "whitelist"]
    await lot.drives("exit", PLATE, now)
    await gate.learns(now)
    assert (await free(lot), gate.decides(STRANGER, now)) == (1, "temporary")


async def test_a_lane_that_lets_the_last_one_in_says_full_without_the_cloud(lot: ParkingLot, now: datetime) -> None:
    gate = Gate(lot)
    await gate.learns(now)
    for nth, plate in enumerate((PLATE, OTHER)):
        assert gate.decides(plate, now) == "temporary"
        gate.book.passed("main", lot.told("entry", plate, now + seconds(nth)))
    assert gate.decides(STRANGER, now + seconds(9)) == "lot-full"
    gate.book.passed("main", lot.told("exit", PLATE, now + seconds(10)))
    assert gate.decides(STRANGER, now + seconds(11)) == "temporary"


async def test_an_exit_that_was_lost_is_made_up_for_when_the_vehicle_is_seen_again(
    lot: ParkingLot, now: datetime
) -> None:
    await lot.drives("entry", PLATE, now - minutes(300))
    assert await free(lot) == 1
    await lot.drives("entry", PLATE, now - minutes(100))
    assert await free(lot) == 1, "it left unseen: a counter would say that the lot is full"
    await lot.drives("exit", PLATE, now - minutes(60))
    assert await free(lot) == 2


async def test_an_exit_that_nobody_saw_enter_frees_no_place(lot: ParkingLot, now: datetime) -> None:
    await lot.drives("entry", PLATE, now - minutes(30))
    await lot.drives("entry", OTHER, now - minutes(20))
    unseen = await lot.drives("exit", "晋Z98765", now - minutes(10))
    assert await free(lot) == 0, "a counter would let one in"
    await lot.post(f"parking-passages/{unseen.id}/plate-corrections", plate=PLATE, reason="seen on the picture")
    assert await free(lot) == 1, "it was one of them after all"


async def test_passages_replayed_in_disorder_and_twice_leave_the_count_that_is_true(
    lot: ParkingLot, now: datetime
) -> None:
    plates = [f"京Q{nth:05}" for nth in range(6)]
    told = [lot.told("entry", plate, now - minutes(500 - nth)) for nth, plate in enumerate(plates)]
    told += [lot.told("exit", plate, now - minutes(60 - nth)) for nth, plate in enumerate(plates[:5])]
    chance = Random(5)
    for seed in range(3):
        await lot.hears_in_disorder(told[: chance.randrange(3, 9)], now, seed)
    await lot.hears_in_disorder(told, now)
    assert await free(lot) == 1
    gate = Gate(lot)
    await gate.learns(now)
    assert gate.book.inside("main") == 1


async def test_full_for_a_class_and_not_for_another(lot: ParkingLot, now: datetime) -> None:
    path = f"/api/v1/parking-lots/{lot.site.lot_id}"
    kept = {"classes": [{"vehicle_class": "new-energy", "kept": 1, "at_most": 1}]}
    answer = await lot.client.patch(path, json=kept, headers=lot.staff)
    assert answer.status_code == 200, answer.text
    await lot.drives("entry", PLATE, now - minutes(9))
    gate = Gate(lot)
    await gate.learns(now)
    assert [await free(lot, name) for name in ("small", "new-energy")] == [0, 1]
    assert [gate.decides(STRANGER, now, name) for name in ("small", "new-energy")] == ["lot-full", "temporary"]
    await lot.drives("entry", "京AD12345", now - minutes(8), vehicle_class="new-energy")
    await lot.drives("exit", PLATE, now - minutes(7))
    await gate.learns(now)
    assert [await free(lot, name) for name in ("small", "new-energy")] == [1, 0]
    assert [gate.decides(STRANGER, now, name) for name in ("small", "new-energy")] == ["temporary", "lot-full"]
