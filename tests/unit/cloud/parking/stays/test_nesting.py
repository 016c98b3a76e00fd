"""Time of a stay in nested lots is priced exactly once, minute by minute."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.stays.matching import LotRules, Stay
from cloud.parking.stays.nesting import InnerTime, Span, priced_elsewhere

START = datetime(2026, 5, 1, tzinfo=UTC)
OUTER, MIDDLE, INNER = 1, 2, 3
LOTS = {OUTER: LotRules(), MIDDLE: LotRules(OUTER), INNER: LotRules(MIDDLE)}


def _at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def _stay(lot_id: int, since: int, until: int | None) -> Stay:
    return Stay("small", _at(since), None if until is None else _at(until), lot_id=lot_id, plate="京A1")


def _covers(spans: tuple[Span, ...], minute: int) -> bool:
    at = _at(minute)
    return any(span.start <= at and (span.end is None or at < span.end) for span in spans)


def test_the_outer_lot_pauses_or_includes() -> None:
    stays = [_stay(OUTER, 0, 100), _stay(MIDDLE, 10, 50)]
    assert priced_elsewhere(stays, LOTS, {}) == {0: (Span(_at(10), _at(50)),)}
    assert priced_elsewhere(stays, LOTS, {OUTER: "included"}) == {1: (Span(_at(10), _at(50)),)}


def test_a_stay_whose_end_nobody_saw_covers_nothing_of_the_one_around_it() -> None:
    """Nobody can price it: its time would be charged by no lot."""
    stays = [_stay(OUTER, 0, 100), replace(_stay(MIDDLE, 10, 100), matched=False)]
    assert priced_elsewhere(stays, LOTS, {}) == {}


def test_what_goes_on_has_no_end() -> None:
    assert priced_elsewhere([_stay(OUTER, 0, None), _stay(MIDDLE, 10, None)], LOTS, {}) == {0: (Span(_at(10), None),)}


@given(
    st.lists(st.integers(0, 30), min_size=6, max_size=6, unique=True),
    st.sampled_from(["paused", "included"]),
    st.sampled_from(["paused", "included"]),
)
def test_no_minute_is_priced_twice_or_not_at_all(minutes: list[int], outer: InnerTime, middle: InnerTime) -> None:
    times = sorted(minutes)
    stays = [_stay(lot, times[depth], times[5 - depth]) for depth, lot in enumerate((OUTER, MIDDLE, INNER))]
    covered = priced_elsewhere(stays, LOTS, {OUTER: outer, MIDDLE: middle})
    for minute in range(times[0], times[5]):
        inside = [i for i, stay in enumerate(stays) if stay.entered_at <= _at(minute) < stay.left_at]  # type: ignore[operator]
        assert sum(not _covers(covered.get(i, ()), minute) for i in inside) == 1, (minute, covered)
