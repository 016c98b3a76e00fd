"""Manual open: reason, actor, image; counted per shift."""

from datetime import UTC, datetime

from cloud.kit.db import SYSTEM
from cloud.kit.periods import in_ms as ms
from cloud.parking.stays import openings
from tests.acceptance.parking.lot import ParkingLot, seconds
from tests.integration.parking.site import minutes, rows

PLATE = "京A12345"


async def test_who_opened_why_and_for_whom_is_kept_and_counted(lot: ParkingLot) -> None:
    now = datetime.now(UTC)
    waiting = await lot.waits("exit", PLATE, now - seconds(20), image="picture-1")
    path = f"parking-lanes/{lot.site.exit.id}/openings"
    await lot.post(path, 422, reason="")
    await lot.post(path, reason="ambulance")
    passed = lot.told(
        "exit", PLATE, now - seconds(20), "passed", waiting, decision="command", outcome_at=ms(now + seconds(2))
    )
    await lot.hears(passed, now=now + seconds(3))
    shift = {"since": (now - minutes(60)).isoformat(), "until": (now + minutes(60)).isoformat()}
    (opening,) = (await lot.get("parking-manual-openings", **shift))["items"]
    assert opening["opened_by"].startswith("user:")
    assert (opening["reason"], opening["plate"], opening["passage_id"]) == ("ambulance", PLATE, waiting.id)
    (seen,) = await rows(lot.db, "SELECT image FROM passage WHERE id = %s", (waiting.id,))
    assert seen["image"] == "picture-1", "also after it is told without a picture that it went through"
    async with lot.db.transaction(SYSTEM) as conn:
        counted = await openings.opening_counts(conn, lot.site.project_id, now - minutes(60), now + minutes(60))
    assert [(one.opened_by, one.openings) for one in counted] == [(opening["opened_by"], 1)]


async def test_it_is_counted_in_the_shift_of_who_opened_and_in_no_other(lot: ParkingLot) -> None:
    path = f"parking-lanes/{lot.site.exit.id}/openings"
    await lot.post(path, code="emergency")
    shift = await lot.post("parking-shifts", project_id=lot.site.project_id, desk="South gate")
    waiting = await lot.waits("exit", PLATE, datetime.now(UTC) - seconds(20), image="picture-1")
    for code, reason in (("delivery", ""), ("delivery", "piano"), ("other", "parade")):
        await lot.post(path, code=code, reason=reason)
    counted = {"delivery": 2, "other": 1}
    assert (await lot.get(f"parking-shifts/{shift['id']}"))["openings"] == counted
    handed = await lot.post(f"parking-shifts/{shift['id']}/handovers", counted=[{"method": "cash", "amount": "0.00"}])
    assert handed["openings"] == counted
    await lot.post(path, code="resident")
    assert (await lot.get(f"parking-shifts/{shift['id']}"))["openings"] == counted
    listed = (await lot.get(f"parking-shifts/{shift['id']}/openings"))["items"]
    shown = [(one["reason"], one["passage_id"], one["plate"]) for one in listed]
    assert shown == [(reason, waiting.id, PLATE) for reason in ("parade", "piano", "delivery")]


async def test_a_vehicle_that_no_camera_saw_is_found_by_the_sensor_and_is_no_tailgater(lot: ParkingLot) -> None:
    await lot.drives("exit", PLATE, datetime.now(UTC) - seconds(3))
    await lot.post(f"parking-lanes/{lot.site.exit.id}/openings", reason="plate covered with snow")
    unseen = await lot.drives("exit", "", datetime.now(UTC) + seconds(4), decision="unrecognised")
    now = datetime.now(UTC)
    shift = {"since": (now - minutes(60)).isoformat(), "until": (now + minutes(60)).isoformat()}
    (opening,) = (await lot.get("parking-manual-openings", **shift))["items"]
    assert opening["passage_id"] == unseen.id
    assert "tailgating" not in [kind for kind, *_ in await lot.incidents()]
