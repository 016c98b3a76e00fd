"""Reservation: two requests for the last space: one wins (constraint); hold, grace, no-show expiry."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from cloud.kit.db import SYSTEM
from tests.acceptance.parking.gate import Gate
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.app import once
from tests.integration.parking.site import minutes

PLATE, OTHER, STRANGER = "京A12345", "沪B00001", "粤C11111"
HOUR = timedelta(hours=1)


@pytest.fixture
def now() -> datetime:
    """To the second, as people and cameras say times."""
    return datetime.now(UTC).replace(microsecond=0)


async def may_reserve(lot: ParkingLot, places: int = 1, **rule: int) -> None:
    """The office says how many spaces of the lot may be reserved, and how."""
    path = f"/api/v1/parking-lots/{lot.site.lot_id}/reservation-rules"
    answer = await lot.client.put(path, json={"places": places, **rule}, headers=lot.staff)
    assert answer.status_code == 200, answer.text


def wanted(lot: ParkingLot, plate: str, since: datetime, until: datetime) -> dict[str, Any]:
    return {"lot_id": lot.site.lot_id, "plate": plate, "since": since.isoformat(), "until": until.isoformat()}


async def state(lot: ParkingLot, reservation: dict[str, Any]) -> str:
    return str((await lot.get(f"parking-reservations/{reservation['id']}"))["state"])


async def free(lot: ParkingLot) -> int:
    (counted,) = (await lot.get("parking-counts", project_id=lot.site.project_id))["items"]
    return int(counted["free"])


async def test_of_two_requests_for_the_last_space_at_once_one_wins(lot: ParkingLot, now: datetime) -> None:
    await may_reserve(lot, 1)

    async def ask(plate: str) -> tuple[int, str]:
        body = wanted(lot, plate, now + HOUR, now + 2 * HOUR)
        answer = await lot.client.post("/api/v1/parking-reservations", json=body, headers={**lot.staff, **once()})
        return answer.status_code, answer.json().get("code", "")

    assert sorted(await asyncio.gather(ask(PLATE), ask(OTHER))) == [(201, ""), (409, "fully-reserved")]
    with pytest.raises(psycopg.errors.ExclusionViolation) as refused:
        async with lot.db.transaction(SYSTEM) as conn:
            await conn.execute(
                """INSERT INTO parking_reservation (project_id, lot_id, plate, vehicle_class, pool, slot, reserved,
                                                    taken, arrival, free_until, booked_by)
                   SELECT project_id, lot_id, %s, vehicle_class, pool, slot, reserved, taken, arrival, free_until, 'x'
                   FROM parking_reservation""",
                (STRANGER,),
            )
    assert refused.value.diag.constraint_name == "one_vehicle_a_place", "whoever writes it, and however"


async def test_hold_before_it_begins_the_space_is_kept_and_not_earlier(lot: ParkingLot, now: datetime) -> None:
    await may_reserve(lot, 1, hold_minutes=15)
    await lot.drives("entry", OTHER, now - minutes(30))
    gate = Gate(lot)
    later = await lot.post("parking-reservations", **wanted(lot, PLATE, now + minutes(60), now + 2 * HOUR))
    await gate.learns(now)
    assert (await free(lot), gate.decides(STRANGER, now)) == (1, "temporary")
    await lot.post(f"parking-reservations/{later['id']}/cancellations", reason="earlier")
    await lot.post("parking-reservations", **wanted(lot, PLATE, now + minutes(10), now + 2 * HOUR))
    await gate.learns(now)
    assert (await free(lot), gate.decides(STRANGER, now)) == (0, "lot-full")
    assert gate.decides(PLATE, now) == "reservation"


async def test_a_reserved_car_is_let_in_though_the_lot_is_full_for_others(lot: ParkingLot, now: datetime) -> None:
    await may_reserve(lot, 1)
    made = await lot.post("parking-reservations", **wanted(lot, PLATE, now, now + 2 * HOUR))
    await lot.drives("entry", OTHER, now - minutes(2))
    await lot.drives("entry", "京B22222", now - minutes(1))
    gate = Gate(lot)
    await gate.learns(now)
    assert [gate.decides(plate, now) for plate in (STRANGER, PLATE)] == ["lot-full", "reservation"]
    await lot.drives("entry", PLATE, now)
    assert await state(lot, made) == "arrived"
    await gate.learns(now + minutes(1))
    assert gate.book.inside("main") == 3, "the count says so: nobody stands nowhere"
    await lot.drives("exit", PLATE, now + minutes(20))
    assert await state(lot, made) == "done"
    await gate.learns(now + minutes(21))
    assert gate.decides(PLATE, now + minutes(21)) == "lot-full", "it was for one stay"


async def test_no_show_the_space_is_given_up_when_the_time_to_come_is_over(lot: ParkingLot, now: datetime) -> None:
    await may_reserve(lot, 1, no_show_minutes=20)
    await lot.drives("entry", OTHER, now - minutes(30))
    made = await lot.post("parking-reservations", **wanted(lot, PLATE, now, now + 2 * HOUR))
    gate = Gate(lot)
    last, over = now + minutes(19), now + minutes(20)
    await gate.learns(last)
    assert [gate.decides(plate, last) for plate in (PLATE, STRANGER)] == ["reservation", "lot-full"]
    assert gate.decides(PLATE, over) == "lot-full", "a gateway that the cloud cannot reach knows it by itself"
    await gate.learns(over)
    assert await state(lot, made) == "no-show"
    assert [gate.decides(plate, over) for plate in (PLATE, STRANGER)] == ["temporary", "temporary"]


async def test_no_show_is_taken_back_when_the_entry_was_only_told_late(lot: ParkingLot, now: datetime) -> None:
    await may_reserve(lot, 1, no_show_minutes=20)
    made = await lot.post("parking-reservations", **wanted(lot, PLATE, now, now + 2 * HOUR))
    gate = Gate(lot)
    await gate.learns(now + minutes(20))
    assert await state(lot, made) == "no-show"
    await lot.hears(lot.told("entry", PLATE, now + minutes(5), offline=True), now=now + minutes(30))
    assert await state(lot, made) == "arrived"


async def test_grace_after_its_end_the_space_is_nobody_elses_for_a_while(lot: ParkingLot, now: datetime) -> None:
    await may_reserve(lot, 1, late_minutes=15, hold_minutes=10, early_minutes=0)
    until = now + 2 * HOUR
    await lot.post("parking-reservations", **wanted(lot, PLATE, now + HOUR, until))
    too_soon = wanted(lot, OTHER, until + minutes(24), until + HOUR)
    assert (await lot.post("parking-reservations", 409, **too_soon))["code"] == "fully-reserved"
    await lot.post("parking-reservations", **wanted(lot, OTHER, until + minutes(25), until + HOUR))
