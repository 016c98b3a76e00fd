"""Passages from the future or the last century are set aside, visible, and put right by people.

A device that lost its clock says 1970 or 2000; before 2000 the wire has no time, and the gateway says so itself.
"""

from datetime import UTC, datetime

from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import minutes

PLATE = "京A12345"


async def test_a_passage_of_25_years_ago_waits_until_somebody_says_when_it_was(lot: ParkingLot) -> None:
    now = datetime.now(UTC)
    wrong = lot.told("entry", PLATE, datetime(2000, 1, 1, 0, 5, tzinfo=UTC), offline=True)
    await lot.hears(wrong, now=now)
    assert await lot.stays() == []
    (aside,) = (await lot.get("set-aside-passages"))["items"]
    assert (aside["id"], aside["reason"], aside["plate"]) == (wrong.id, "clock", PLATE)
    path = f"set-aside-passages/{wrong.id}/time-repairs"
    true = now - minutes(300)
    await lot.post(path, 422, taken_at="2001-01-01T00:00:00Z", reason="?")
    await lot.post(path, taken_at=true.isoformat(), reason="clock reset by a power cut")
    await lot.hears(wrong, now=now)
    stay = await lot.the_stay()
    assert abs(stay["entered_at"] - true).total_seconds() < 0.001
    assert (await lot.get("set-aside-passages"))["items"] == [], "told again, it is that of the repaired time"


async def test_a_passage_of_the_future_opens_and_closes_nothing(lot: ParkingLot) -> None:
    now = datetime.now(UTC)
    await lot.hears(lot.told("entry", PLATE, now - minutes(30)), now=now)
    await lot.hears(lot.told("exit", PLATE, now + minutes(60)), now=now)
    assert (await lot.the_stay())["state"] == "open"
    assert [one["reason"] for one in (await lot.get("set-aside-passages"))["items"]] == ["clock"]
