"""Numbers of places: refused only when none is left, and never two vehicles on one."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.reservations.numbering import NEW, Taken, numbers_with

START = datetime(2026, 5, 1, tzinfo=UTC)
PLACES = st.integers(0, 4)
SPANS = st.tuples(st.integers(0, 12), st.integers(1, 6))


def hour(count: int) -> datetime:
    return START + timedelta(hours=count)


def at_once(taken: list[Taken], start: int, end: int) -> int:
    """Hour by hour: the slow way."""
    return max(sum(one.start <= hour(at) < one.end for one in taken) for at in range(start, end))


@given(PLACES, st.lists(st.tuples(SPANS, st.booleans()), max_size=14))
def test_a_place_is_refused_only_when_all_are_taken_at_some_moment(
    places: int, asked: list[tuple[tuple[int, int], bool]]
) -> None:
    taken: list[Taken] = []
    for nth, ((start, hours), cancel_one) in enumerate(asked, start=1):
        if cancel_one and taken:
            taken.pop(nth % len(taken))
        found = numbers_with(taken, hour(start), hour(start + hours), places)
        assert (found is None) == (at_once(taken, start, start + hours) >= places)
        if found is None:
            continue
        taken = [Taken(one.id, one.start, one.end, found.get(one.id, one.number)) for one in taken]
        taken.append(Taken(nth, hour(start), hour(start + hours), found[NEW]))
        for one in taken:
            assert one.number in range(1, places + 1)
            for other in taken:
                apart = one.end <= other.start or other.end <= one.start
                assert one is other or apart or one.number != other.number


def test_others_change_their_places_when_only_that_makes_room() -> None:
    taken = [Taken(1, hour(0), hour(1), 1), Taken(2, hour(1), hour(2), 2)]
    assert numbers_with(taken, hour(0), hour(2), 2) == {1: 2, NEW: 1}


def test_one_without_a_number_takes_a_place_and_gets_none() -> None:
    taken = [Taken(1, hour(0), hour(2), None), Taken(2, hour(0), hour(2), 1)]
    assert numbers_with(taken, hour(0), hour(2), 2) is None
    assert numbers_with(taken, hour(0), hour(2), 3) == {NEW: 2}
