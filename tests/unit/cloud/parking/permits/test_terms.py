"""What gateways are told of a permit says the same as its terms, moment for moment; months follow one another."""

import itertools
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.periods import Period
from cloud.parking.permits.months import MonthsFrom, months_of
from cloud.parking.permits.terms import Terms, segments, spans_of
from tests.unit.cloud.parking.permits import facts
from tests.unit.cloud.parking.permits.facts import HOURS, PLATES, hour, span
from tests.unit.cloud.parking.permits.test_coverage import ONE_SPACE


@given(facts.terms())
def test_segments_and_spans_say_when_a_plate_is_covered(terms: Terms) -> None:
    told, spans = segments(terms), spans_of(terms)
    for count in range(HOURS + 60):
        at = hour(count)
        expected = {plate for plate in PLATES if facts.allowed(terms, plate, at)}
        assert {plate for plate, times in spans.items() if any(one.start <= at < one.end for one in times)} == expected
        now = [one for one in told if one.start <= at < one.end]
        assert len(now) <= 1
        assert {plate for one in now for plate in one.plates} == expected


@given(facts.terms())
def test_days_of_grace_are_those_outside_of_the_periods(terms: Terms) -> None:
    for one in segments(terms):
        assert one.start <= one.valid_to <= one.end
        for count in range(HOURS + 60):
            at = hour(count)
            if one.start <= at < one.end:
                assert (at < one.valid_to) == any(period.start <= at < period.end for period in terms.periods)


def test_a_suspension_and_a_plate_that_is_exchanged_cut_the_time() -> None:
    terms = replace(ONE_SPACE, suspended=(span(10, 20),), plates=ONE_SPACE.plates[:1], grace=timedelta(hours=5))
    assert [(one.start, one.valid_to, one.end) for one in segments(terms)] == [
        (hour(0), hour(10), hour(10)),
        (hour(20), hour(100), hour(105)),
    ]


def test_months_of_a_sale_keep_their_day() -> None:
    found = months_of(date(2026, 1, 31), 3, Decimal("300.00"), "sale", 31, 2)
    assert [one.days.end for one in found] == [date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]
    later = months_of(date(2026, 2, 28), 1, Decimal("300.00"), "sale", 31, 2)
    assert later[0].days.end == date(2026, 3, 31)


def test_the_rest_of_a_calendar_month_is_charged_by_its_days() -> None:
    rest, whole = months_of(date(2026, 5, 21), 1, Decimal("300.00"), "calendar", 21, 2)
    assert (rest.days, rest.amount) == (Period(date(2026, 5, 21), date(2026, 6, 1)), Decimal("106.45"))
    assert (whole.days, whole.amount) == (Period(date(2026, 6, 1), date(2026, 7, 1)), Decimal("300.00"))
    assert len(months_of(date(2026, 6, 1), 1, Decimal("300.00"), "calendar", 1, 2)) == 1


@given(
    st.dates(date(2020, 1, 1), date(2040, 1, 1)),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(("sale", "calendar")),
)
def test_renewed_in_parts_is_as_sold_at_once(start: date, first: int, second: int, months_from: MonthsFrom) -> None:
    price = Decimal("123.45")
    at_once = months_of(start, first + second, price, months_from, start.day, 2)
    sold = months_of(start, first, price, months_from, start.day, 2)
    renewed = months_of(sold[-1].days.end, second, price, months_from, start.day, 2)
    assert [*sold, *renewed] == at_once
    assert all(one.days.end == another.days.start for one, another in itertools.pairwise(at_once))
