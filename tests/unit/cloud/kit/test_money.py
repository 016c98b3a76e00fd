"""Rounding, minor units and sharing out without loss."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.money import from_minor, minor_digits, round_half_up, share_out, to_minor

AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=6)


@pytest.mark.parametrize(
    ("amount", "digits", "expected"),
    [("0.005", 2, "0.01"), ("-0.005", 2, "-0.01"), ("2.345", 2, "2.35"), ("2.5", 0, "3"), ("1.2344", 3, "1.234")],
)
def test_halves_go_away_from_zero(amount: str, digits: int, expected: str) -> None:
    assert round_half_up(Decimal(amount), digits) == Decimal(expected)


@given(AMOUNTS, st.integers(0, 4))
def test_rounding_moves_by_half_a_unit_at_most_and_mirrors(amount: Decimal, digits: int) -> None:
    rounded = round_half_up(amount, digits)
    assert abs(rounded - amount) <= Decimal(1).scaleb(-digits) / 2
    assert round_half_up(-amount, digits) == -rounded
    assert from_minor(to_minor(rounded, digits), digits) == rounded


def test_more_decimals_than_the_currency_has_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 2 decimals"):
        to_minor(Decimal("0.001"))


def test_currencies_know_their_decimals() -> None:
    assert [minor_digits(code) for code in ("CNY", "EUR", "JPY", "KWD")] == [2, 2, 0, 3]


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**9), min_size=1).filter(any))
def test_shares_add_up_and_are_fair_to_one_unit(total: int, weights: list[int]) -> None:
    shares = share_out(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * whole - total * weight) < whole
        assert weight or share == 0


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_nothing_can_be_shared_by_no_weight(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        share_out(1, weights)


def test_nothing_is_shared_as_nothing() -> None:
    assert share_out(0, [0, 0]) == [0, 0]
