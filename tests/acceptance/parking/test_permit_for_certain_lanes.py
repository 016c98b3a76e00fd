"""Permit for certain lanes: it holds for who comes in by one of them, with the cloud and without; else he pays."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM
from cloud.parking import service as parking
from gateway.contract.messages import Outcome
from tests.acceptance.parking.gate import Gate
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import minutes

PLATE, OTHER = "京A12345", "沪B00001"
HOURS = timedelta(hours=5)


@pytest.fixture
def now() -> datetime:
    """To the second, as cameras say times."""
    return datetime.now(UTC).replace(microsecond=0)


async def goods_only(lot: ParkingLot, *plates: str) -> int:
    """A supplier's permit: its vehicles come in by the goods entrance. Gives the permit's id."""
    async with lot.db.transaction(SYSTEM) as conn:
        gateway_id = (await devices.get_device(conn, lot.site.entry.device_id)).gateway_id
        device = await devices.create_device(conn, lot.site.project_id, gateway_id, "goods", "barrier")
        lane = await parking.create_lane(conn, lot.site.lot_id, "goods", "Goods entrance", "entry", device.id)
    made = await lot.post(
        "parking-permits",
        project_id=lot.site.project_id,
        kind="staff",
        lot_ids=[lot.site.lot_id],
        lane_ids=[lane.id],
        plates=plates,
        note="supplier",
        valid_from="2026-01-01T00:00:00Z",
    )
    return int(made["id"])


async def fees(lot: ParkingLot) -> dict[str, str]:
    return {stay["plate"]: str(stay["fee"]) for stay in await lot.stays()}


async def test_by_the_lane_it_is_covered_and_by_another_it_pays(lot: ParkingLot, now: datetime) -> None:
    await goods_only(lot, PLATE, OTHER)
    gate = Gate(lot)
    await gate.learns(now - HOURS)
    came = now - HOURS
    assert [gate.decides(PLATE, came, lane=lane) for lane in ("goods", "entry")] == ["permit", "temporary"]
    await lot.drives("goods", PLATE, came, decision="permit")
    await lot.drives("entry", OTHER, came, decision="temporary")
    await gate.learns(now)
    assert [gate.decides(plate, now, lane="exit") for plate in (PLATE, OTHER)] == ["permit", "await-cloud"]
    waiting = [await lot.waits("exit", plate, at) for plate, at in ((PLATE, now), (OTHER, now + minutes(1)))]
    assert await lot.orders() == [waiting[0].id], "the other one has to pay"
    for one in waiting:
        await lot.hears(msgspec.structs.replace(one, outcome=Outcome.PASSED))
    assert await fees(lot) == {PLATE: "0.00", OTHER: "9.00"}, "five hours and a minute"


async def test_without_the_cloud_the_lanes_decide_the_same(lot: ParkingLot, now: datetime) -> None:
    await goods_only(lot, PLATE, OTHER)
    gate = Gate(lot)
    await gate.learns(now)
    for plate, lane in ((PLATE, "goods"), (OTHER, "entry")):
        rule = gate.decides(plate, now, lane=lane)
        gate.book.passed("main", lot.told(lane, plate, now, decision=rule))
    later = now + HOURS
    assert gate.decides(PLATE, later, lane="exit", silent=True) == "permit"
    assert gate.decides(OTHER, later, lane="exit", silent=True) == "cloud-silent", "a person decides: it is not free"


async def test_other_lanes_from_now_on(lot: ParkingLot, now: datetime) -> None:
    permit_id = await goods_only(lot, PLATE)
    gate = Gate(lot)
    await gate.learns(now)
    assert gate.decides(PLATE, now) == "temporary"
    await lot.post(f"parking-permits/{permit_id}/lane-changes", lane_ids=[])
    await gate.learns(now)
    assert gate.decides(PLATE, now) == "permit"
