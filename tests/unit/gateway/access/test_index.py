"""What the edge knows of a plate, and how full the lot is."""

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.decision import Stay
from gateway.access.index import AccessIndex
from gateway.contract.access import ListEntry, Listing, LotEntry, ReservationEntry, StayEntry
from tests.unit.gateway.access.updates import DAY, LOT, MINUTE, NOW, permit, stay

A, B, C = "京A11111", "京B22222", "京C33333"


def test_lists_name_a_lot_or_all_and_end() -> None:
    index = AccessIndex([
        ListEntry("1", A, Listing.BLACK, LOT),
        ListEntry("2", B, Listing.WHITE),
        ListEntry("3", C, Listing.OWING, "", NOW),
    ])  # fmt: skip
    assert index.state(A, "small", LOT, NOW).blacklisted
    assert not index.state(A, "small", "lot-2", NOW).blacklisted
    assert index.state(B, "small", "lot-2", NOW).whitelisted
    assert index.state(C, "small", LOT, NOW - 1).owing
    assert not index.state(C, "small", LOT, NOW).owing
    assert not index.state("", "small", LOT, NOW).whitelisted


def test_a_list_begins_when_it_says_although_it_was_told_before() -> None:
    index = AccessIndex([ListEntry("1", A, Listing.BLACK, LOT, NOW + 5, NOW)])
    at = [index.state(A, "small", LOT, at).blacklisted for at in (NOW - 1, NOW, NOW + 4, NOW + 5)]
    assert at == [False, True, True, False]


def test_a_closed_lot_is_known_as_closed_and_no_other() -> None:
    index = AccessIndex([LotEntry("all", LOT, "", 3, closed=True), LotEntry("x", "lot-2")])
    assert index.state(A, "small", LOT, NOW).closed
    assert not index.state(A, "small", "lot-2", NOW).closed
    assert not index.state(A, "small", "lot-3", NOW).closed
    index.replace(LotEntry("all", LOT, "", 3, closed=True), LotEntry("all", LOT, "", 3))
    assert not index.state(A, "small", LOT, NOW).closed


def test_spaces_that_are_kept_for_a_class_are_not_taken_by_others() -> None:
    index = AccessIndex([LotEntry("all", LOT, "", 2), LotEntry("large", LOT, "large", kept=1)])
    index.entered(stay(A, number=1))
    assert index.state(B, "small", LOT, NOW).full
    assert not index.state(B, "large", LOT, NOW).full
    index.entered(stay(B, number=2, vehicle_class="large"))
    assert index.state(C, "large", LOT, NOW).full


def test_a_permit_holds_in_its_lots_for_each_of_its_plates_until_it_is_dropped() -> None:
    index = AccessIndex([permit("p", A, B, lots=(LOT,))])
    assert [len(index.state(plate, "small", LOT, NOW).permits) for plate in (A, B, C)] == [1, 1, 0]
    assert index.state(A, "small", "lot-2", NOW).permits == ()
    index.drop(permit("p", A, B, lots=(LOT,)))
    assert index.state(A, "small", LOT, NOW).permits == ()


def test_cars_beyond_the_spaces_of_a_permit_have_none() -> None:
    index = AccessIndex([permit("p", A, B, C, spaces=1)])
    index.entered(stay(A, covered=True))
    assert index.state(A, "small", LOT, NOW).permits[0].space_free
    assert not index.state(B, "small", LOT, NOW).permits[0].space_free
    index.entered(stay(B, number=2))  # as a temporary vehicle: it takes none
    index.left(LOT, A, NOW + 1)
    assert index.state(C, "small", LOT, NOW + 2).permits[0].space_free


def test_only_a_permit_of_more_plates_than_spaces_is_shared() -> None:
    index = AccessIndex([permit("p", A, B, spaces=1), permit("q", C, spaces=1)])
    assert [index.state(plate, "small", LOT, NOW).permits[0].shared for plate in (A, B, C)] == [True, True, False]


def test_spaces_of_a_permit_lie_in_all_of_its_lots_together() -> None:
    index = AccessIndex([permit("p", A, B, C, spaces=1, lots=(LOT, "lot-2"))])
    index.entered(msgspec.structs.replace(stay(A, covered=True), lot="lot-2"))
    assert not index.state(B, "small", LOT, NOW).permits[0].space_free
    index.entered(stay(A, number=2, covered=True))  # the lot around the other one: still one space
    assert index.state(A, "small", LOT, NOW).permits[0].space_free
    index.left("lot-2", A, NOW + 1)
    index.left(LOT, A, NOW + 2)
    assert index.state(B, "small", "lot-2", NOW + 3).permits[0].space_free


def test_a_reservation_holds_at_its_lot_in_its_time() -> None:
    index = AccessIndex([ReservationEntry("r", A, LOT, NOW, NOW + MINUTE)])
    held = [index.state(A, "small", LOT, at).reserved for at in (NOW - 1, NOW, NOW + MINUTE)]
    assert held == [False, True, False]
    assert not index.state(A, "small", "lot-2", NOW).reserved


def test_a_lot_is_full_by_its_stays_all_together_or_of_one_class() -> None:
    index = AccessIndex([LotEntry("all", LOT, "", 3), LotEntry("large", LOT, "large", 1), LotEntry("x", "lot-2")])
    assert not index.state(A, "large", LOT, NOW).full
    index.entered(stay(A, number=1, vehicle_class="large"))
    assert index.state(B, "large", LOT, NOW).full
    assert not index.state(B, "small", LOT, NOW).full
    for number in (2, 3):
        index.entered(stay(f"京D0000{number}", number=number))
    assert index.state(B, "small", LOT, NOW).full
    assert not index.state(B, "small", "lot-2", NOW).full
    index.left(LOT, A, NOW + 1)
    assert not index.state(B, "small", LOT, NOW).full


def test_the_free_minutes_are_those_of_the_class_and_of_the_first_stay_of_a_day() -> None:
    index = AccessIndex([LotEntry("all", LOT, "", free_ms=15 * MINUTE), LotEntry("l", LOT, "large", free_ms=MINUTE)])
    index.entered(stay(A))
    index.entered(stay(B, number=2, vehicle_class="large"))
    assert index.state(A, "small", LOT, NOW).stay == Stay(NOW, free_ms=15 * MINUTE, vehicle_class="small")
    assert index.state(B, "large", LOT, NOW).stay == Stay(NOW, free_ms=MINUTE, vehicle_class="large")
    index.left(LOT, A, NOW + MINUTE)
    index.entered(stay(A, NOW + 2 * MINUTE, 3))
    again = index.state(A, "small", LOT, NOW).stay
    assert again is not None
    assert again.free_ms == 0
    index.left(LOT, A, NOW + 3 * MINUTE)
    index.entered(stay(A, NOW + DAY + 4 * MINUTE, 4))
    tomorrow = index.state(A, "small", LOT, NOW).stay
    assert tomorrow is not None
    assert tomorrow.free_ms == 15 * MINUTE


def test_who_was_seen_leaving_does_not_come_back_by_what_is_told_late() -> None:
    index = AccessIndex()
    assert index.left(LOT, A, NOW + MINUTE) is None  # the exit is told before the entry
    assert not index.entered(stay(A, NOW))
    index.put(stay(A, NOW))
    assert index.inside(LOT) == 0
    assert index.entered(stay(A, NOW + 2 * MINUTE, 2))
    assert index.left(LOT, A, NOW + MINUTE) is None  # an old exit ends no younger stay
    assert index.inside(LOT) == 1


def test_an_older_stay_of_a_vehicle_that_is_told_late_ends_no_younger_one() -> None:
    """It left by the lane of another gateway in between, and came in again here."""
    index = AccessIndex([stay(A, NOW + MINUTE, 2)])
    index.put(stay(A, NOW, 1))
    known = index.state(A, "small", LOT, NOW).stay
    assert known is not None
    assert (known.entered_at, index.inside(LOT)) == (NOW + MINUTE, 1)


def test_vehicles_without_a_plate_are_counted_and_never_taken_for_each_other() -> None:
    index = AccessIndex()
    for number in (1, 2):
        index.entered(stay("", number=number))
    assert index.inside(LOT) == 2
    assert index.state("", "small", LOT, NOW).stay is None
    assert index.left(LOT, "", NOW + 1) is None
    index.drop(stay("", number=1))
    assert index.inside(LOT) == 1


plates = st.sampled_from([A, B, C, ""])
steps = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "told", "gone"]), plates, st.integers(0, 20), st.integers(1, 8)),
    max_size=30,
)


@given(steps)
def test_counts_are_those_of_the_stays_whatever_comes_in_whatever_order(
    moves: list[tuple[str, str, int, int]],
) -> None:
    index = AccessIndex()
    for kind, plate, at, number in moves:
        one: StayEntry = stay(plate, at, number, vehicle_class="large" if number % 2 else "small")
        match kind:
            case "enter":
                index.entered(one)
            case "leave":
                index.left(LOT, plate, at)
            case "told":
                index.put(one)
            case _:
                index.drop(one)
        stays = list(index._stays.values())
        counted = Counter(each.vehicle_class for each in stays)
        assert index.inside(LOT) == len(stays)
        assert {name: index.inside(LOT, name) for name in ("small", "large")} == {
            name: counted[name] for name in ("small", "large")
        }
        named = [each.plate for each in stays if each.plate]
        assert len(named) == len(set(named))
        assert set(index._inside) == {(LOT, plate) for plate in named}


def test_a_permit_for_certain_lanes_names_them_and_one_that_needs_none_holds_at_all() -> None:
    by_lane = msgspec.structs.replace(permit("p", A), needs=("lanes",), lanes=("goods",))
    at_none = msgspec.structs.replace(permit("q", B), needs=("lanes",))
    index = AccessIndex([by_lane, at_none, msgspec.structs.replace(permit("r", C), lanes=("goods",))])
    told = [index.state(plate, "small", LOT, NOW).permits[0].lanes for plate in (A, B, C)]
    assert told == [("goods",), (), None]
    index.drop(by_lane)
    assert index.state(A, "small", LOT, NOW).permits == ()
