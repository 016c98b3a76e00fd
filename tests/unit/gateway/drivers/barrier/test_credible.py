"""What a lane believes of plates and times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.limits import MAX_PLATE_CHARS, MAX_TIME_MS, MIN_TIME_MS
from gateway.drivers.barrier.credible import Believed, believed_plate, believed_time

NOW = 1_764_000_000_000
MINUTE = 60_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("told", "plate"),
    [
        ("京A·12345", "京A12345"),
        ("", ""),
        (" · ", ""),
        ("A" * 16, "A" * 16),
        ("A" * 17, ""),
        ("京A1234\ufffd", ""),
        ("粤Z·8888港", "粤Z8888港"),
    ],
)
def test_a_plate_that_cannot_be_one_was_not_read(told: str, plate: str) -> None:
    assert believed_plate(told) == plate


@pytest.mark.parametrize(
    ("taken_at", "offline", "skew", "believed"),
    [
        (NOW - MINUTE, False, 0, Believed(NOW - MINUTE, False, True)),
        (NOW + MINUTE, False, 0, Believed(NOW + MINUTE, False, True)),
        (NOW - DAY, True, 0, Believed(NOW - DAY, True, True)),
        (NOW - 61 * DAY, True, 0, Believed(NOW, True, False)),  # no device keeps anything for so long
        (NOW + DAY, True, 0, Believed(NOW, True, False)),
        (NOW - 10 * MINUTE, False, 0, Believed(NOW - 10 * MINUTE, True, True)),  # held up on its way
        (NOW + DAY, False, 0, Believed(NOW, False, False)),  # from the future
        (-2_000_000_000_000, False, 0, Believed(NOW, False, False)),  # last century
        (0, False, 0, Believed(NOW, False, False)),
        (10**40, False, 0, Believed(NOW, False, False)),
        (NOW - DAY, False, DAY, Believed(NOW, False, False)),  # a clock a day behind
        (NOW + DAY, False, -DAY, Believed(NOW, False, False)),
        (NOW - DAY - 10 * MINUTE, False, DAY, Believed(NOW - DAY - 10 * MINUTE, True, True)),
    ],
)
def test_times(taken_at: int, offline: bool, skew: int, believed: Believed) -> None:
    assert believed_time(taken_at, offline, NOW, skew) == believed


@given(st.text())
def test_whatever_is_told_a_plate_fits_the_wire(told: str) -> None:
    plate = believed_plate(told)
    assert len(plate) <= MAX_PLATE_CHARS
    assert plate == "" or plate.isalnum()


times = st.integers(-(10**15), 10**15)


@given(times, st.booleans(), st.integers(MIN_TIME_MS + 90 * DAY, MAX_TIME_MS - DAY), times)
def test_whatever_is_told_a_time_is_near_or_past_and_fits_the_wire(
    taken_at: int, offline: bool, now: int, skew: int
) -> None:
    when = believed_time(taken_at, offline, now, skew)
    assert now - 60 * DAY <= when.at <= now + 5 * MINUTE
    assert when.offline or abs(when.at - now) <= 5 * MINUTE
    assert when.offline >= offline
