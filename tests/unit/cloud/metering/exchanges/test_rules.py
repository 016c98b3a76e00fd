"""Usage over a change of register against exact arithmetic, and both sides of every bound."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.metering.exchanges import rules
from cloud.metering.exchanges.records import ChannelEnd, KnownReading, Neighbours
from cloud.metering.records import MeterRegister

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = MeterRegister(1, 1, AT - timedelta(days=400), None, "installed", "", Decimal(1), 10_000, 1, 60, {})
NEW = replace(OLD, id=2, valid_from=AT, multiplier=Decimal(2))
_NAMES = ("final", "initial")


def _around(before: int | None, after: int | None, hours: int = 1) -> Neighbours:
    span = timedelta(hours=hours)
    return Neighbours(
        None if before is None else KnownReading(AT - span, before),
        None if after is None else KnownReading(AT + span, after),
    )


@given(
    st.integers(0, 9_999), st.integers(0, 9_999), st.integers(0, 9_999), st.integers(0, 9_999),
    st.decimals(Decimal("0.0001"), 100, places=4), st.decimals(Decimal("0.0001"), 100, places=4),
)  # fmt: skip
def test_usage_over_a_change_is_the_sum_of_both_advances(
    last: int, final: int, initial: int, following: int, k_old: Decimal, k_new: Decimal
) -> None:
    before, after = replace(OLD, multiplier=k_old), replace(NEW, multiplier=k_new)
    found = rules.outcome(ChannelEnd(1, final, initial), _around(last, following), before, after)
    exact = Fraction(k_old) * ((final - last) % 10_000) + Fraction(k_new) * ((following - initial) % 10_000)
    assert found.used is not None
    # Each of the two is the difference of two rounded products.
    assert abs(found.used - exact) <= 2


def test_what_is_not_known_is_not_zero() -> None:
    assert rules.outcome(ChannelEnd(1, 5, 0), _around(None, 7), OLD, NEW).used is None
    assert rules.outcome(ChannelEnd(1, 5, 0), _around(3, None), OLD, NEW).used == 2
    assert rules.outcome(ChannelEnd(1, None, None), _around(3, 9), OLD, NEW).used is None


@pytest.mark.parametrize(
    ("end", "last", "code"),
    [
        (ChannelEnd(1, 100, 0), 100, None),
        (ChannelEnd(1, 99, 0), 100, "below-last-reading"),
        (ChannelEnd(1, 5, 0), 9_000, None),
        (ChannelEnd(1, 5, 0), 8_999, "below-last-reading"),
        (ChannelEnd(1, 9_999, 0), None, None),
        (ChannelEnd(1, 10_000, 0), None, "bad-final"),
        (ChannelEnd(1, -1, 0), None, "bad-final"),
        (ChannelEnd(1, 1, 9_999), None, None),
        (ChannelEnd(1, 1, 10_000), None, "bad-initial"),
    ],
)
def test_readings_belong_to_their_registers(end: ChannelEnd, last: int | None, code: str | None) -> None:
    if code is None:
        rules.check_end(end, _NAMES, _around(last, None), OLD, NEW)
        return
    with pytest.raises(InvalidInput) as caught:
        rules.check_end(end, _NAMES, _around(last, None), OLD, NEW)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("end", "around", "expected"),
    [
        # 60 an hour, one minute of slack, and the last digit: 62 and no more.
        (ChannelEnd(1, 162, 0), _around(100, 62), []),
        (ChannelEnd(1, 163, 0), _around(100, 62), ["above-maximum"]),
        (ChannelEnd(1, 100, 0), _around(100, 63), ["next-does-not-fit"]),
        (ChannelEnd(1, 100, 5), _around(100, 4), ["next-does-not-fit"]),
        (ChannelEnd(1, 10, 9_990), _around(9_960, 10), []),
        (ChannelEnd(1, 10, 0), _around(None, None), ["nothing-to-compare"]),
        (ChannelEnd(1, 10, None), _around(0, 1), ["ends-missing"]),
        (ChannelEnd(1, None, 10), _around(0, 11), ["ends-missing"]),
    ],
)
def test_what_is_odd_is_said(end: ChannelEnd, around: Neighbours, expected: list[str]) -> None:
    found = rules.outcome(end, around, OLD, NEW)
    assert list(rules.warnings(found, OLD, NEW, AT)) == expected


def test_a_change_lies_between_the_start_of_the_register_and_now() -> None:
    rules.check_instant(AT, OLD, AT)
    for at, now in ((AT, AT - timedelta(seconds=1)), (OLD.valid_from, AT)):
        with pytest.raises(InvalidInput) as caught:
            rules.check_instant(at, OLD, now)
        assert caught.value.field == "at"
