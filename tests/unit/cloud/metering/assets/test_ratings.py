"""Faces and ratings of meters become exact integers, and what is no meter is refused."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.metering.assets.ratings import Digits, bounds_of, check_bounds, digits_of, max_per_hour_of, product
from cloud.metering.records import Medium

_MEDIA = st.sampled_from(["electricity", "water", "heat"])
_EXPONENT = {"electricity": 3, "water": 6, "heat": 3}


@given(_MEDIA, st.integers(1, 9), st.data())
def test_a_register_counts_as_far_as_its_digits_reach(medium: Medium, digits: int, data: st.DataObject) -> None:
    decimals = data.draw(st.integers(0, _EXPONENT[medium]))
    modulus, resolution = bounds_of(medium, Digits(digits, decimals))
    largest = Decimal("9" * digits + "." + "9" * decimals) if decimals else Decimal("9" * digits)
    assert largest.scaleb(_EXPONENT[medium]) + resolution == modulus
    found = digits_of(medium, modulus, resolution)
    assert found is not None
    assert (found.digits, found.decimals) == (digits, decimals)


@pytest.mark.parametrize(
    ("medium", "face", "expected"),
    [
        ("electricity", Digits(6, 2), (10**9, 10)),
        ("electricity", Digits(5, 0, "MWh"), (10**11, 10**6)),
        ("water", Digits(5, 3, "m³"), (10**11, 10**3)),
        ("water", Digits(8, 0, "L"), (10**11, 10**3)),
    ],
)
def test_faces(medium: Medium, face: Digits, expected: tuple[int, int]) -> None:
    assert bounds_of(medium, face) == expected


@pytest.mark.parametrize(
    ("medium", "face", "field"),
    [
        ("electricity", Digits(6, 0, "m³"), "unit"),
        ("electricity", Digits(6, 0, "horses"), "unit"),
        ("electricity", Digits(0), "digits"),
        ("electricity", Digits(13), "digits"),
        ("water", Digits(10), "digits"),
        ("electricity", Digits(6, 4), "decimals"),
        ("electricity", Digits(6, -1), "decimals"),
    ],
)
def test_faces_that_no_register_has(medium: Medium, face: Digits, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bounds_of(medium, face)
    assert caught.value.field == field


@given(st.integers(1, 400), st.integers(1, 10**6), st.sampled_from([1, 3]))
def test_power_for_an_hour_rounded_up(volts: int, milliamperes: int, phases: int) -> None:
    rating = {"voltage_v": volts, "max_current_ma": milliamperes, "phases": phases}
    assert max_per_hour_of("electricity", rating) == ceil(Fraction(volts * milliamperes * phases, 1000))


@given(st.integers(1, 10**9))
def test_q4_is_five_quarters_of_q3_unless_it_is_known(q3: int) -> None:
    assert max_per_hour_of("water", {"q3_ml_per_h": q3}) == ceil(Fraction(5, 4) * q3)
    assert max_per_hour_of("water", {"q3_ml_per_h": q3, "q4_ml_per_h": q3 + 7}) == q3 + 7
    assert max_per_hour_of("heat", {"max_power_w": q3}) == q3


@pytest.mark.parametrize(
    ("medium", "rating"),
    [
        ("electricity", {}),
        ("electricity", {"voltage_v": 230, "max_current_ma": 60_000}),
        ("electricity", {"voltage_v": 230, "max_current_ma": 60_000, "phases": 2}),
        ("electricity", {"voltage_v": 0, "max_current_ma": 60_000, "phases": 1}),
        ("electricity", {"voltage_v": 10**6, "max_current_ma": 10**10, "phases": 3}),
        ("electricity", {"q3_ml_per_h": 1}),
        ("water", {"q3_ml_per_h": 5, "q4_ml_per_h": 4}),
        ("heat", {"max_power_w": -1}),
    ],
)
def test_ratings_that_no_meter_has(medium: Medium, rating: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=r"expected"):
        max_per_hour_of(medium, rating)


@pytest.mark.parametrize("multiplier", ["0", "-1", "1.00001", "NaN", "100000000"])
def test_multipliers_that_cannot_be_counted(multiplier: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_bounds(10**9, 1, Decimal(multiplier))
    assert caught.value.field == "multiplier"


@given(st.integers(0, 10**12), st.decimals(Decimal("0.0001"), 10**4, places=4))
def test_products_are_rounded_half_up(value: int, multiplier: Decimal) -> None:
    exact = Fraction(value) * Fraction(multiplier)
    assert product(value, multiplier) == (exact + Fraction(1, 2)) // 1
