"""Free places by class: vehicle by vehicle as a reference, and what gateways make of what they are told."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.counts.counting import ClassCount, LotCounts
from cloud.parking.edge.repository import LotPlace
from cloud.parking.edge.telling import as_gateways_count
from cloud.parking.records import LotClass
from gateway.access.index import AccessIndex
from gateway.contract.access import LotEntry, StayEntry

CLASSES = ("large", "new-energy", "disabled")
OTHER = "small"
few = st.integers(0, 6)
limits_ = st.fixed_dictionaries({}, optional={name: st.tuples(few, st.none() | few) for name in CLASSES}).map(
    lambda found: tuple(
        LotClass(name, kept, None if more is None else kept + more) for name, (kept, more) in found.items()
    )
)
counted_ = st.fixed_dictionaries({name: st.tuples(few, few, st.integers(0, 3)) for name in (*CLASSES, OTHER)})


def lot(capacity: int, limits: tuple[LotClass, ...], counted: dict[str, tuple[int, int, int]]) -> LotCounts:
    """A lot where (standing, in a lot inside, awaited) vehicles of each class are."""
    found = (ClassCount(name, here + within, here, held) for name, (here, within, held) in counted.items())
    return LotCounts(1, 1, "main", "Main", None, capacity, tuple(found), limits)


def one_by_one(found: LotCounts, vehicle_class: str) -> int:
    """Lets vehicles of a class in until there is no place: on one of its own first, then on a common one."""
    kept = {one.vehicle_class: one.kept for one in found.limits}
    most = {one.vehicle_class: one.at_most for one in found.limits}.get(vehicle_class)
    common = found.capacity - sum(kept.values())
    there = 0
    for one in found.classes:
        for _ in range(one.standing + one.held):
            there += one.vehicle_class == vehicle_class
            if kept.get(one.vehicle_class, 0):
                kept[one.vehicle_class] -= 1
            else:
                common -= 1
    came = 0
    while (kept.get(vehicle_class, 0) or common > 0) and (most is None or there < most):
        if kept.get(vehicle_class, 0):
            kept[vehicle_class] -= 1
        else:
            common -= 1
        there, came = there + 1, came + 1
    return came


@given(st.integers(0, 30), limits_, counted_)
def test_free_is_as_many_as_come_in_one_after_the_other(
    more: int, limits: tuple[LotClass, ...], counted: dict[str, tuple[int, int, int]]
) -> None:
    found = lot(more + sum(one.kept for one in limits), limits, counted)
    for name in (*CLASSES, OTHER):
        assert found.free_for(name) == one_by_one(found, name)
    assert found.free_for() == found.free_for("bus")


@given(st.integers(0, 30), limits_, counted_)
def test_a_gateway_that_counts_stays_says_full_when_the_cloud_says_that_nothing_is_free(
    more: int, limits: tuple[LotClass, ...], counted: dict[str, tuple[int, int, int]]
) -> None:
    found = lot(more + sum(one.kept for one in limits), limits, counted)
    beside = {name: within - held for name, (_, within, held) in counted.items()}
    told = as_gateways_count(LotPlace(1, "main", found.capacity, True, limits), beside)
    index = AccessIndex([LotEntry("all", "main", "", told.capacity)])
    for one in told.classes:
        most = -1 if one.at_most is None else one.at_most
        index.put(LotEntry(one.vehicle_class, "main", one.vehicle_class, most, kept=one.kept))
    for name, (here, within, _) in counted.items():
        for number in range(here + within):
            index.entered(StayEntry(f"{name}-{number}", f"{name}{number}", "main", name, 1))
    for name in (*CLASSES, OTHER):
        assert index.state("京A00000", name, "main", 0).full is (found.free_for(name) == 0)
