"""Rents: instalments, steps, parts of months, and amounts that add up over the year."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.agreements.rents import Rent, RentStep, instalment, months_later, rises
from cloud.kit.periods import Period

START = date(2026, 1, 1)


def rent(amount: str, *, per: int = 1, every: int = 1, anchor: date = START, steps: tuple[RentStep, ...] = ()) -> Rent:
    return Rent(per, every, True, anchor, (RentStep(anchor, Decimal(amount)), *steps))


def lines(of: Rent, start: date, end: date) -> list[tuple[str, str, str, str]]:
    found = instalment(of, of.anchor, Period(start, end), 2)
    return [(line.kind, str(line.quantity), str(line.price), str(line.amount)) for line in found]


def total(of: Rent, start: date, end: date) -> Decimal:
    return sum((line.amount for line in instalment(of, of.anchor, Period(start, end), 2)), Decimal(0))


def test_a_quarter_of_a_monthly_rent() -> None:
    quarter = rent("8000", every=3)
    assert lines(quarter, START, date(2026, 4, 1)) == [("fixed", "3", "8000", "24000.00")]


def test_months_of_the_lease_count_from_its_first_day() -> None:
    middle = rent("8000", anchor=date(2026, 1, 15))
    assert lines(middle, date(2026, 1, 15), date(2026, 2, 15)) == [("fixed", "1", "8000", "8000.00")]
    # The month from 15 February has 28 days.
    assert lines(middle, date(2026, 2, 15), date(2026, 3, 1)) == [("fixed", "0.5", "8000", "4000.00")]


def test_a_step_within_an_instalment_gives_a_line_each() -> None:
    stepped = rent("8000", every=3, steps=(RentStep(date(2026, 3, 1), Decimal("8400")),))
    assert lines(stepped, START, date(2026, 4, 1)) == [
        ("fixed", "2", "8000", "16000.00"),
        ("fixed", "1", "8400", "8400.00"),
    ]


def test_twelve_instalments_add_up_to_the_rent_of_a_year() -> None:
    yearly = rent("100000", per=12)
    months = [total(yearly, months_later(START, n), months_later(START, n + 1)) for n in range(12)]
    assert sum(months) == Decimal("100000.00")
    assert set(months) == {Decimal("8333.33"), Decimal("8333.34")}
    assert ("rounding", "None", "None", "0.01") in lines(yearly, date(2026, 2, 1), date(2026, 3, 1))


def test_a_rise_in_percent_becomes_steps() -> None:
    lease = Period(date(2026, 3, 31), date(2029, 3, 31))
    assert rises(Decimal("8333.33"), Decimal(5), 12, lease, 2) == (
        RentStep(date(2026, 3, 31), Decimal("8333.33")),
        RentStep(date(2027, 3, 31), Decimal("8750.00")),
        RentStep(date(2028, 3, 31), Decimal("9187.50")),
    )
    assert len(rises(Decimal(100), Decimal(0), 12, lease, 2)) == 1
    with pytest.raises(ValueError, match="above 0"):
        rises(Decimal(100), Decimal(-100), 12, lease, 2)


def test_there_is_no_rent_before_the_first_step() -> None:
    with pytest.raises(ValueError, match="no rent on 2025-12-31"):
        instalment(rent("1"), START, Period(date(2025, 12, 31), START), 2)


@pytest.mark.parametrize(("months", "day"), [(1, date(2026, 2, 28)), (2, date(2026, 3, 31)), (13, date(2027, 2, 28))])
def test_the_last_day_of_a_month_stays_the_last(months: int, day: date) -> None:
    assert months_later(date(2026, 1, 31), months) == day


@given(
    st.integers(1, 10**8),
    st.sampled_from([1, 3, 6, 12]),
    st.lists(st.integers(1, 364), max_size=6),
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
)
def test_however_a_year_is_cut_it_costs_what_a_year_costs(cents: int, per: int, cuts: list[int], anchor: date) -> None:
    amount = Decimal(cents).scaleb(-2)
    yearly = rent(str(amount), per=per, anchor=anchor)
    edges = [anchor, *(anchor + timedelta(days=n) for n in sorted(set(cuts))), months_later(anchor, 12)]
    found = sum((total(yearly, start, end) for start, end in pairwise(edges)), Decimal(0))
    assert found == amount * (12 // per)
