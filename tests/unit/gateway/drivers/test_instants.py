"""No two readings have the same time, and none is given a time that the clock has given up."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.instants import next_instant

DAY = 86_400_000


@given(st.lists(st.integers(0, 3), min_size=1))
def test_times_rise_and_follow_the_clock(steps: list[int]) -> None:
    now = last = 10**12
    for step in steps:
        now += step
        taken = next_instant(now, last)
        assert taken > last
        assert taken - now <= len(steps) + 1
        last = taken


@given(st.integers(DAY, 10_000 * DAY))
def test_a_wrong_time_that_is_given_up_is_not_gone_on_from(back: int) -> None:
    assert next_instant(2 * 10**12 - back, 2 * 10**12) == 2 * 10**12 - back
