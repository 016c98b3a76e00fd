"""Generated stays: no vehicle inside twice, exits after entries, repeatable ids."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from cloud.parking.stays.matching import Direction, SeenPassage
from cloud.parking.stays.misreads import match_vehicles
from simulators.barrier.plates import Vehicle
from simulators.demo.stays import Stay, make_stays, odd_passages, passages_of

UNTIL = datetime(2026, 11, 24, 3, tzinfo=UTC)
RESIDENTS = [Vehicle(f"京A0000{number}", "small") for number in range(9)]


def test_no_vehicle_is_inside_twice_at_a_time() -> None:
    by_plate: dict[str, list[Stay]] = defaultdict(list)
    for stay in make_stays(3, RESIDENTS, UNTIL):
        by_plate[stay.vehicle.plate].append(stay)
    for stays in by_plate.values():
        for earlier, later in pairwise(stays):
            assert earlier.left_at is not None
            assert earlier.left_at < later.entered_at


def test_some_vehicles_are_inside_and_everything_is_past() -> None:
    stays = make_stays(3, RESIDENTS, UNTIL)
    inside = [stay for stay in stays if stay.left_at is None]
    assert len(inside) == 12
    assert len(stays) > 100
    assert all(stay.entered_at < UNTIL and (stay.left_at or stay.entered_at) < UNTIL for stay in stays)


def test_passages_are_in_order_of_time_and_the_same_again() -> None:
    stays = make_stays(3, RESIDENTS, UNTIL)
    passages = passages_of(3, stays, "lane-in", "lane-out")
    assert passages == passages_of(3, stays, "lane-in", "lane-out")
    assert [p.taken_at for p in passages] == sorted(p.taken_at for p in passages)
    assert len({p.id for p in passages}) == len(passages) == 2 * len(stays) - 12
    assert {(p.device, p.direction) for p in passages} == {("lane-in", "entry"), ("lane-out", "exit")}


def test_an_estate_without_vehicles_still_has_visitors() -> None:
    assert make_stays(3, [], UNTIL)


def test_each_odd_vehicle_is_an_incident_of_its_kind() -> None:
    seen: dict[str, list[SeenPassage]] = defaultdict(list)
    for one in odd_passages(3, UNTIL, "lane-in", "lane-out"):
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=one.taken_at)
        direction: Direction = "exit" if one.device == "lane-out" else "entry"
        lane = len(one.device)
        seen[one.plate[-3:]].append(SeenPassage(UUID(one.id), lane, direction, at, "passed", plate=one.plate))
    found = [incident for passages in seen.values() for incident in match_vehicles(passages, {}).incidents.values()]
    assert sorted(found) == ["exit-without-entry", "misread", "second-entry"]
