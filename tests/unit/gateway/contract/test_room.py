"""Room in a lot, against spaces that are marked and taken one by one."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.access import LotEntry
from gateway.contract.room import ALL_CLASSES, room_for

CLASSES = ("small", "large", "new-energy")
lots = st.tuples(
    st.integers(0, 6),
    st.dictionaries(st.sampled_from(CLASSES), st.tuples(st.integers(0, 2), st.integers(-1, 4))),
)


def entries_of(capacity: int, classes: dict[str, tuple[int, int]]) -> dict[str, LotEntry]:
    own = {name: LotEntry(name, "lot", name, at_most, kept=kept) for name, (kept, at_most) in classes.items()}
    return {ALL_CLASSES: LotEntry("all", "lot", ALL_CLASSES, capacity), **own}


class Marked:
    """A lot whose spaces carry the class that they are kept for."""

    def __init__(self, capacity: int, classes: dict[str, tuple[int, int]]) -> None:
        self.classes = classes
        kept = [name for name, (count, _) in classes.items() for _ in range(count)]
        self.possible = len(kept) <= capacity
        self.spaces = [*kept, *[ALL_CLASSES] * max(0, capacity - len(kept))]
        self.inside: Counter[str] = Counter()

    def place_of(self, vehicle_class: str) -> str | None:
        limit = self.classes.get(vehicle_class, (0, -1))[1]
        if 0 <= limit <= self.inside[vehicle_class]:
            return None
        return next((mark for mark in (vehicle_class, ALL_CLASSES) if mark in self.spaces), None)

    def enter(self, vehicle_class: str) -> bool:
        mark = self.place_of(vehicle_class)
        if mark is None:
            return False
        self.spaces.remove(mark)
        self.inside[vehicle_class] += 1
        return True


@given(lots, st.lists(st.sampled_from(CLASSES), max_size=12))
def test_there_is_room_as_long_as_a_marked_space_is_left(
    lot: tuple[int, dict[str, tuple[int, int]]], coming: list[str]
) -> None:
    marked, entries = Marked(*lot), entries_of(*lot)
    if not marked.possible:
        return
    for vehicle_class in coming:

        def inside(name: str) -> int:
            return marked.inside.total() if name == ALL_CLASSES else marked.inside[name]

        room = room_for(vehicle_class, entries, inside)
        assert room is not None
        assert (room > 0) is marked.enter(vehicle_class)
    assert marked.inside.total() <= lot[0]


def test_where_nobody_counts_there_is_no_number() -> None:
    assert room_for("small", {}, lambda _: 5) is None
    assert room_for("small", {ALL_CLASSES: LotEntry("1", "lot")}, lambda _: 5) is None
    only_large = {"large": LotEntry("2", "lot", "large", 3)}
    assert room_for("large", only_large, lambda _: 1) == 2
    assert room_for("small", only_large, lambda _: 1) is None


def test_more_inside_than_there_are_spaces_is_no_room_and_not_less() -> None:
    assert room_for("small", {ALL_CLASSES: LotEntry("1", "lot", ALL_CLASSES, 3)}, lambda _: 5) == 0
