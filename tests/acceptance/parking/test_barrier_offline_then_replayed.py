"""Barrier or camera offline, then replayed: billed by the device's time, marked offline.

The session closes correctly even if the exit arrives before the entry.
"""

from datetime import UTC, datetime, timedelta

from cloud.kit.db import SYSTEM
from cloud.parking import service
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import NOON, minutes

PLATE = "京A12345"


async def test_an_exit_that_arrives_before_its_entry_is_billed_by_the_times_of_the_devices(lot: ParkingLot) -> None:
    later = NOON + timedelta(days=1)
    await lot.hears(lot.told("exit", PLATE, NOON + minutes(300), offline=True), now=later)
    first = await lot.the_stay()
    assert first["state"] == "unmatched"
    await lot.hears(lot.told("entry", PLATE, NOON, offline=True), now=later + minutes(5))
    stay = await lot.the_stay()
    assert (stay["id"], stay["state"], str(stay["fee"])) == (first["id"], "closed", "8.00")
    detail = await lot.get(f"parking-sessions/{stay['id']}")
    assert [passage["offline"] for passage in detail["passages"]] == [True, True]
    assert await lot.incidents() == []


async def test_what_is_told_afterwards_opens_no_barrier(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    arrived = lot.told("exit", PLATE, NOON + minutes(20), "arrived", offline=True)
    await lot.hears(arrived, now=NOON + minutes(90))
    assert await lot.orders() == []


async def test_nor_does_what_is_told_after_a_short_spell(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    arrived = lot.told("exit", PLATE, NOON + minutes(20), "arrived", offline=True)
    await lot.hears(arrived, now=NOON + minutes(22))
    assert await lot.orders() == []
    # Neither do those who see to it that nobody is forgotten at an exit.
    async with lot.db.transaction(SYSTEM) as conn:
        assert await service.let_out_waiting(conn, lot.site.project_id, NOON + minutes(23)) == 0
    assert await lot.orders() == []


async def test_who_pays_at_the_exit_all_the_same_is_let_out(lot: ParkingLot) -> None:
    now = datetime.now(UTC)
    await lot.drives("entry", PLATE, now - minutes(125))
    arrived = lot.told("exit", PLATE, now - minutes(5), "arrived", offline=True)
    await lot.hears(arrived, now=now)
    assert await lot.orders() == []
    stay = await lot.the_stay()
    due = (await lot.get(f"parking-sessions/{stay['id']}/quote"))["due"]
    await lot.post("parking-payments", session_id=stay["id"], amount=due, method="cash")
    assert await lot.orders() == [arrived.id]
