"""Values between their neighbours, against the rule that usage goes by."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.derivation.judging import BACKWARD, ROLLOVER, Epochs, seen_from
from cloud.metering.readings.neighbours import (
    Candidate,
    Neighbour,
    Register,
    advance_within,
    expected,
    question,
    questions,
)

HOUR_MS = 3_600_000
REGISTER = Register(1_000, 40)

times = st.integers(0, 200).map(lambda quarters: HOUR_MS // 4 * quarters)
values = st.integers(0, 999)


def at(hours: int, value: int) -> Neighbour:
    return Neighbour(hours * HOUR_MS, value)


def one(hours: int, value: int, before: Neighbour | None = None, after: Neighbour | None = None) -> Candidate:
    return Candidate((1,), hours * HOUR_MS, value, REGISTER, before, after)


def _judged(earlier: Neighbour, later: Neighbour) -> int:
    """What the derivation says of the later one, seen from the earlier."""
    column = np.array([0], np.int64)
    far = np.array([2**40], np.int64)
    epochs = Epochs(
        column, column, far, np.array([REGISTER.modulus]), np.array([REGISTER.max_per_hour]), np.array([10_000]),
        column - 1, column - 1,
    )  # fmt: skip
    ms = [np.array([item.time_ms]) for item in (earlier, later)]
    codes = seen_from(ms[0], np.array([earlier.value]), ms[1], np.array([later.value]), epochs, column)
    return int(codes[0])


def test_what_is_asked() -> None:
    before, after = at(0, 100), at(2, 150)
    assert question(one(1, 120, before, after)) is None
    lower = question(one(1, 99, before, after))
    assert lower is not None
    assert (lower.doubt, lower.side, lower.neighbour, lower.low, lower.high) == ("backward", "before", before, 110, 140)
    higher = question(one(1, 160, at(-10, 100), after))
    assert higher is not None
    assert (higher.doubt, higher.side, higher.neighbour) == ("backward", "after", after)
    fast = question(one(1, 141, before, after))
    assert fast is not None
    assert (fast.doubt, fast.side) == ("maximum", "before")
    slow = question(one(1, 105, before, after))
    assert slow is not None
    assert (slow.doubt, slow.side) == ("maximum", "after")
    assert question(one(1, 999)) is None


def test_a_register_that_starts_again() -> None:
    before = at(0, 990)
    assert question(one(1, 5, before)) is None
    asked = question(one(1, 40, before))
    assert asked is not None
    assert (asked.doubt, asked.low, asked.high) == ("backward", 990, 30)
    assert question(one(1, 5, at(0, 800))) is not None
    assert question(one(1, 5, before, at(2, 20))) is None
    assert expected(one(1, 0, before, at(2, 20))) == (990, 20)
    assert expected(one(1, 0, at(0, 500), at(2, 20))) == (None, None)


def test_values_of_one_file_are_neighbours_and_a_wrong_one_is_asked_once() -> None:
    stored = at(0, 100)
    rows = [one(3, 150, stored), one(1, 110, stored), one(2, 900, stored), one(4, 149, stored)]
    found = questions(rows)
    assert [None if asked is None else asked.doubt for asked in found] == [None, None, "maximum", "backward"]
    assert found[3] is not None
    assert found[3].neighbour == at(3, 150)
    other = Candidate((2,), 5 * HOUR_MS, 1, REGISTER)
    assert questions([*rows, other])[-1] is None


@given(times, times, values, values)
def test_the_same_as_usage_is_judged_by(first: int, span: int, earlier: int, later: int) -> None:
    left, right = Neighbour(first, earlier), Neighbour(first + span, later)
    refused = _judged(left, right) >= BACKWARD
    after = Candidate((1,), right.time_ms, right.value, REGISTER, before=left)
    before = Candidate((1,), left.time_ms, left.value, REGISTER, after=right)
    assert (question(after) is not None) == refused
    assert (question(before) is not None) == refused
    assert _judged(left, right) != ROLLOVER or later < earlier


@given(st.tuples(times, times, times).map(sorted), values, values, values)
def test_what_is_expected_is_what_is_not_asked(spans: list[int], low: int, value: int, high: int) -> None:
    before, after = Neighbour(spans[0], low), Neighbour(spans[2], high)
    candidate = Candidate((1,), spans[1], value, REGISTER, before, after)
    least, most = expected(candidate)
    if question(candidate) is None:
        goes_round = advance_within(spans[2] - spans[0], REGISTER) >= REGISTER.modulus
        assert goes_round or _within(value, least, most)
    elif _within(value, least, most):
        # Only where the register turns: from a value short of 0.9 of it, it cannot be seen to have turned.
        assert high < low or (least or 0) > (most or 0)


def _within(value: int, least: int | None, most: int | None) -> bool:
    if least is None or most is None:
        return False
    return least <= value <= most if least <= most else value >= least or value <= most
