"""Rents to their end, by floor area and with taxes: however they are cut, ended and corrected, they add up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.agreements.due import AgreedPiece, AgreedTerms
from cloud.billing.agreements.rents import AreaStep, Rent, RentStep, instalment
from cloud.billing.agreements.taxes import TaxStep, taxed
from cloud.billing.charges.rows import line_rows
from cloud.billing.concessions.applying import Concessions
from cloud.billing.corrections.adjustments import differences
from cloud.billing.records import Agreement
from cloud.estate.records import Project
from cloud.kit.db import as_json
from cloud.kit.periods import Period
from cloud.tariffs.rating.explain import Line

START = date(2026, 1, 1)
YEAR = Period(START, date(2027, 1, 1))
PROJECT = Project(1, "demo", "Demo", "Asia/Shanghai", "CNY", "")
LEASE = Agreement(1, 1, 1, "rent", None, None, None, START, None, kind="rent")


def rent(*steps: tuple[date, str], areas: Sequence[tuple[date, str]] = (), months: int = 1) -> Rent:
    amounts = tuple(RentStep(day, Decimal(amount)) for day, amount in steps)
    filed = tuple(AreaStep(day, Decimal(area)) for day, area in areas)
    return Rent(months, 1, True, START, amounts, bool(areas), filed)


def charged(terms: Rent, agreement: Agreement, period: Period, taxes: tuple[TaxStep, ...] = ()) -> AgreedPiece:
    return AgreedTerms(PROJECT, {1: terms}, {1: taxes}, Concessions(), {}).piece(agreement, period, ())


def test_a_rent_by_floor_area_changes_with_amount_and_area() -> None:
    terms = rent((START, "80"), (date(2026, 3, 1), "84"), areas=[(date.min, "89.50"), (date(2026, 2, 15), "91.5")])
    found = instalment(terms, START, Period(START, date(2026, 4, 1)), 2)
    assert [(str(line.quantity), line.unit, str(line.price), str(line.amount)) for line in found] == [
        ("134.25", "m2_month", "80", "10740.00"),
        ("45.75", "m2_month", "80", "3660.00"),
        ("91.5", "m2_month", "84", "7686.00"),
    ]


def test_there_is_no_rent_by_area_without_one() -> None:
    terms = replace(rent((START, "80")), per_area=True)
    with pytest.raises(ValueError, match="no floor area on 2026-01-01"):
        instalment(terms, START, YEAR, 2)


def test_an_agreement_that_ended_before_a_charge_leaves_nothing_of_it() -> None:
    ended = replace(LEASE, valid_until=date(2026, 2, 1))
    piece = charged(rent((START, "8000")), ended, Period(date(2026, 2, 1), date(2026, 3, 1)))
    assert piece.lines == ()
    assert piece.amount == 0


cents = st.integers(1, 10**7).map(lambda amount: str(Decimal(amount).scaleb(-2)))
days = st.integers(1, 364).map(lambda n: START + timedelta(days=n))


def corrected(piece: AgreedPiece, then: AgreedPiece) -> Decimal:
    """What differs between two states of a charge, by the lines that say so."""
    before, after = (as_json(line_rows(one, "CNY")) for one in (then, piece))
    return sum((one.amount[1] - one.amount[0] for one in differences(before, after)), Decimal(0))


@given(cents, st.lists(days, max_size=5, unique=True), days, st.sampled_from([1, 3, 12]))
def test_charges_and_what_is_given_back_are_the_rent_of_the_time_lived(
    amount: str, cuts: list[date], ended: date, months: int
) -> None:
    """However a year was billed in advance, once it ends the bills add up to what one bill of the days would say."""
    terms = rent((START, amount), months=months)
    periods = [Period(*one) for one in pairwise([START, *sorted(cuts), YEAR.end])]
    billed = [charged(terms, LEASE, period) for period in periods]
    over = replace(LEASE, valid_until=ended)
    again = [charged(terms, over, period) for period in periods]
    paid = sum((one.amount for one in billed), Decimal(0))
    given_back = sum((corrected(now, then) for now, then in zip(again, billed, strict=True)), Decimal(0))
    lived = sum((line.amount for line in instalment(terms, START, Period(START, ended), 2)), Decimal(0))
    assert paid + given_back == lived
    for now, then in zip(again, billed, strict=True):
        if then.period.end <= ended:
            assert corrected(now, then) == 0


@given(st.lists(st.tuples(days, cents), max_size=4, unique_by=lambda one: one[0]), cents, days)
def test_a_rent_that_was_always_so_and_one_that_became_so_cost_the_same(
    later: list[tuple[date, str]], first: str, cut: date
) -> None:
    """Correcting the steps of a rent afterwards comes to what it had cost with these steps from the beginning."""
    old, new = rent((START, first)), rent((START, first), *sorted(later))
    periods = [Period(START, cut), Period(cut, YEAR.end)]
    found = sum((charged(old, LEASE, period).amount for period in periods), Decimal(0))
    found += sum((corrected(charged(new, LEASE, one), charged(old, LEASE, one)) for one in periods), Decimal(0))
    assert found == sum((charged(new, LEASE, period).amount for period in periods), Decimal(0))
    assert all(corrected(charged(new, LEASE, one), charged(new, LEASE, one)) == 0 for one in periods)


@given(
    st.integers(-(10**7), 10**7),
    st.lists(st.tuples(days, st.integers(0, 2500), st.booleans()), max_size=3, unique_by=lambda one: one[0]),
)
def test_taxes_are_what_plain_fractions_say(minor: int, rates: list[tuple[date, int, bool]]) -> None:
    base = Decimal(minor).scaleb(-2)
    steps = [TaxStep(day, Decimal(hundredths).scaleb(-2), inclusive) for day, hundredths, inclusive in sorted(rates)]

    def flat(period: Period) -> list[Line]:
        return [Line("fixed", "rent", None, None, None, None, None, base)]

    found = taxed(flat, YEAR, steps, "CNY", 2)
    expected_lines: list[Decimal] = []
    expected_contained: list[Decimal] = []
    for step in steps:
        share = Fraction(step.percent) / 100
        amount = half_up(Fraction(base) * share / (1 + share if step.inclusive else 1))
        if share and base:
            (expected_contained if step.inclusive else expected_lines).append(amount)
    assert [line.amount for line in found.lines if line.kind == "tax"] == expected_lines
    assert [tax.amount for tax in found.contained] == expected_contained
    assert len([line for line in found.lines if line.kind == "fixed"]) == len(steps) + 1


def half_up(value: Fraction) -> Decimal:
    """Halves away from zero."""
    return (Decimal(value.numerator) / value.denominator).quantize(Decimal("0.01"), ROUND_HALF_UP)


def test_a_contained_tax_of_what_remains() -> None:
    taxes = (TaxStep(START, Decimal(9), inclusive=True),)
    piece = charged(rent((START, "1090")), LEASE, Period(START, date(2026, 2, 1)), taxes)
    assert piece.taxes_within == {"vat": Decimal("90.00")}
    half = charged(rent((START, "1090")), replace(LEASE, valid_until=date(2026, 1, 16)), piece.period, taxes)
    assert half.taxes_within == {"vat": Decimal("43.55")}
