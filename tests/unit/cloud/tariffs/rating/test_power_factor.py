"""The power factor in hundredths equals the same in decimals of many places."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.tariffs.rating.power_factor import power_factor


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_equals_the_formula_in_decimals(active: int, reactive: int) -> None:
    if active == reactive == 0:
        return
    with localcontext() as context:
        context.prec = 80
        cosine = Decimal(active) / Decimal(active**2 + reactive**2).sqrt()
        expected = (100 * cosine).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    assert power_factor(active, reactive) == expected


@pytest.mark.parametrize(
    ("active", "reactive", "hundredths"), [(0, 0, 100), (0, 5, 0), (5, 0, 100), (3, 4, 60), (4, 3, 80), (90, 44, 90)]
)
def test_known_triangles(active: int, reactive: int, hundredths: int) -> None:
    assert power_factor(active, reactive) == hundredths
