"""Values as people read them."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.messages import Quality
from gateway.contract.quantities import BY_CODE
from gateway.shown import quality_words, shown_age, shown_bytes, shown_value


@given(st.sampled_from(list(BY_CODE)), st.integers(-(2**63), 2**63 - 1))
def test_a_shown_value_is_exact_and_plain(channel: str, value: int) -> None:
    text, unit = shown_value(channel, value)
    assert Decimal(text) == Decimal(value).scaleb(BY_CODE[channel].display_exponent)
    assert "E" not in text
    assert unit == BY_CODE[channel].display_unit


def test_flags_ages_and_sizes_are_words() -> None:
    assert quality_words(int(Quality.OUT_OF_RANGE | Quality.ESTIMATED_CLOCK)) == ["estimated-clock", "out-of-range"]
    assert quality_words(0) == []
    ages = [shown_age(seconds) for seconds in (-1, 4.4, 99, 120, 7_200, 200_000)]
    assert ages == ["0 s", "4 s", "99 s", "2 min", "2.0 h", "2 d"]
    sizes = [shown_bytes(count) for count in (0, 812, 14_200, 3_100_000, 5_000_000_000)]
    assert sizes == ["0 B", "812 B", "14.2 kB", "3.1 MB", "5.0 GB"]
