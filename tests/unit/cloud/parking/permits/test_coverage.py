"""Who stands on the spaces of permits: the plainest reference, any order of the facts, never more than spaces."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.permits.coverage import Stay, covered_by
from cloud.parking.permits.terms import ClassUntil, PlateTime, Span, Terms, joined
from tests.unit.cloud.parking.permits import facts
from tests.unit.cloud.parking.permits.facts import HOURS, INNER, OUTER, hour, span

ONE_SPACE = Terms(
    permit_id=1,
    lots=frozenset({OUTER}),
    spaces=1,
    when_freed="never",
    grace=timedelta(0),
    ended_at=None,
    periods=(span(0, 100),),
    suspended=(),
    plates=(PlateTime("A", (span(0, None),)), PlateTime("B", (span(0, None),)), PlateTime("C", (span(0, None),))),
)


def alone(plate: str, start: int, end: int | None, lot: int = OUTER) -> Stay:
    return Stay(plate, lot, hour(start), None if end is None else hour(end))


def covered_times(permits: Sequence[Terms], stays: Sequence[Stay]) -> dict[Stay, list[Span]]:
    """What permits cover together, by stay."""
    found: dict[Stay, list[Span]] = {}
    for _, stay, spans in covered_by(permits, stays):
        found.setdefault(stay, []).extend(spans)
    return {stay: joined(spans) for stay, spans in found.items()}


def on_spaces(found: dict[Stay, list[Span]], at: int) -> set[str]:
    """Plates that are covered in an hour."""
    return {stay.plate for stay, spans in found.items() if any(one.start <= hour(at) < one.end for one in spans)}


@given(facts.terms(), facts.stays())
def test_every_hour_is_as_if_it_were_looked_at_by_itself(terms: Terms, stays: list[Stay]) -> None:
    found = covered_times([terms], stays)
    expected = facts.by_the_hour(terms, stays)
    for count in range(HOURS + 60):
        assert on_spaces(found, count) == {plate for (plate, at), on in expected.items() if at == count and on}


@given(facts.terms(), facts.stays(), st.randoms(use_true_random=False))
def test_any_order_of_the_facts_gives_the_same(terms: Terms, stays: list[Stay], random: Random) -> None:
    mixed, plates, periods = list(stays), list(terms.plates), list(terms.periods)
    for one in (mixed, plates, periods):
        random.shuffle(one)
    other = replace(terms, plates=tuple(plates), periods=tuple(periods))
    assert covered_times([other], [*mixed, *mixed[:2]]) == covered_times([terms], stays)


@given(facts.terms(), facts.stays())
def test_never_more_vehicles_than_spaces(terms: Terms, stays: list[Stay]) -> None:
    found = covered_times([terms], stays)
    if terms.spaces:
        assert max(len(on_spaces(found, count)) for count in range(HOURS + 60)) <= terms.spaces
    for stay, spans in found.items():
        assert all(stay.start <= one.start < one.end <= stay.span.end for one in spans)
        assert all(one.end < another.start for one, another in itertools.pairwise(spans))


@given(facts.terms(), facts.stays())
def test_a_single_vehicle_is_covered_whenever_its_permit_holds(terms: Terms, stays: Sequence[Stay]) -> None:
    terms = replace(terms, plates=terms.plates[:1])
    found = covered_times([terms], stays)
    for stay in stays:
        hours = range(HOURS + 60)
        inside = {at for at in hours if stay.start <= hour(at) < stay.span.end}
        expected = {at for at in inside if facts.allowed(terms, stay.plate, hour(at))}
        expected = {at for at in expected if facts.meant(terms, stay, hour(at))}
        assert {at for at in hours if any(one.start <= hour(at) < one.end for one in found.get(stay, []))} == expected


def test_a_permit_that_ends_in_mid_stay_splits_it_there_and_days_of_grace_shift_that() -> None:
    stay = alone("A", 90, 200)
    assert covered_times([ONE_SPACE], [stay]) == {stay: [span(90, 100)]}
    gracious = replace(ONE_SPACE, grace=timedelta(days=1))
    assert covered_times([gracious], [stay]) == {stay: [span(90, 124)]}
    assert covered_times([replace(gracious, ended_at=hour(100))], [stay]) == {stay: [span(90, 100)]}


def test_the_second_car_of_one_space_is_temporary_until_the_rule_converts_it() -> None:
    first, second, third = alone("A", 1, 5), alone("B", 2, 9), alone("C", 3, None)
    assert covered_times([ONE_SPACE], [third, second, first]) == {first: [span(1, 5)]}
    converting = replace(ONE_SPACE, when_freed="from-then")
    assert covered_times([converting], [third, second, first]) == {
        first: [span(1, 5)],
        second: [span(5, 9)],
        third: [span(9, 100)],
    }


def test_a_car_in_an_inner_lot_of_the_permit_takes_one_space() -> None:
    nested = replace(ONE_SPACE, lots=frozenset({OUTER, INNER}))
    outer, inner, other = alone("A", 1, 8), alone("A", 2, 7, INNER), alone("B", 3, 6)
    assert covered_times([nested], [outer, inner, other]) == {outer: [span(1, 8)], inner: [span(2, 7)]}


def test_a_permit_of_the_outer_lot_covers_nothing_in_the_inner_one() -> None:
    outer, inner = alone("A", 1, 8), alone("A", 2, 7, INNER)
    assert covered_times([ONE_SPACE], [outer, inner]) == {outer: [span(1, 8)]}


def test_a_permit_that_becomes_one_of_another_class_covers_each_in_its_time() -> None:
    terms = replace(ONE_SPACE, spaces=0, classes_before=(ClassUntil(hour(50), "small"),), vehicle_class="large")
    small, large = (Stay("A", OUTER, hour(40), hour(60), name) for name in ("small", "large"))
    assert covered_times([terms], [small]) == {small: [span(40, 50)]}
    assert covered_times([terms], [large]) == {large: [span(50, 60)]}


def test_permits_one_after_the_other_cover_without_a_gap() -> None:
    stay = alone("A", 90, 120)
    following = replace(ONE_SPACE, permit_id=2, periods=(span(100, 200),))
    assert covered_times([ONE_SPACE, following], [stay]) == {stay: [span(90, 120)]}
