"""Generated stays: no vehicle inside twice, exits after entries, repeatable ids."""

from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise

from simulators.barrier.plates import Vehicle
from simulators.demo.stays import Stay, make_stays, passages_of

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
