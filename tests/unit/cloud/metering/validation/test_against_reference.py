"""The rules over many registers at once say what a plain loop over one register says."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Found, Rows, above

HOUR = 3_600_000
DAY = 24 * HOUR
EDGES = np.arange(0, 5) * DAY

Row = tuple[int, int, int]
"""Hour, quantity, method."""

_row = st.tuples(st.integers(0, 95), st.sampled_from([0, 1, 5, 100, 101, 700]), st.sampled_from([0, 0, 0, 1, 4, 7]))
_register = st.lists(_row, max_size=96, unique_by=lambda row: row[0]).map(sorted)
_steady = st.lists(st.sampled_from([(5, 0), (5, 0), (101, 0), (0, 4)]), min_size=96, max_size=96).map(
    lambda values: [(hour, quantity, method) for hour, (quantity, method) in enumerate(values)]
)
registers = st.lists(st.one_of(_register, _steady), min_size=1, max_size=4)


def columns(registers: list[list[Row]]) -> Rows:
    flat = [(n, *row) for n, register in enumerate(registers) for row in register]
    which, hour, quantity, method = np.array(flat, np.int64).reshape(-1, 4).T
    return Rows.of(which, hour * HOUR, np.full(len(which), HOUR), quantity, method)


def found_days(found: Found) -> set[tuple[int, int]]:
    return set(zip(found.which.tolist(), (found.from_ms // DAY).tolist(), strict=True))


def real(row: Row) -> bool:
    return row[2] in (0, 1, 7)


def days(register: list[Row]) -> dict[int, list[Row]]:
    by_day: dict[int, list[Row]] = {}
    for row in register:
        by_day.setdefault(row[0] // 24, []).append(row)
    return by_day


@given(registers, st.integers(0, 8_000), st.integers(0, 200))
def test_spikes(registers: list[list[Row]], tolerance: int, floor: int) -> None:
    expected = set()
    for n, register in enumerate(registers):
        for day, of_day in days(register).items():
            high = sorted((row[1] for row in of_day if real(row)), reverse=True)
            if len(high) >= 3 and high[0] > floor and 1000 * (high[0] - high[2]) > tolerance * high[2]:
                expected.add((n, day))
    many = np.full(len(registers), 1, np.int64)
    assert found_days(intervals.spike(columns(registers), EDGES, many * tolerance, many * floor)) == expected


@given(registers, st.integers(2, 6), st.integers(1, 100))
def test_frozen(registers: list[list[Row]], at_least: int, smallest: int) -> None:
    expected = set()
    for n, register in enumerate(registers):
        run: list[Row] = []
        for row in register:
            goes_on = run and real(row) and row[0] == run[-1][0] + 1 and row[1] == run[-1][1]
            run = [*run, row] if goes_on else [row] if real(row) else []
            if len(run) >= at_least and row[1] >= smallest:
                expected.add((n, row[0] // 24))
    many = np.full(len(registers), 1, np.int64)
    assert found_days(intervals.frozen(columns(registers), EDGES, many * at_least, many * smallest)) == expected


@given(registers, st.integers(0, 200))
def test_leaks(registers: list[list[Row]], threshold: int) -> None:
    raised: set[tuple[int, int]] = set()
    unsure: set[tuple[int, int]] = set()
    for n, register in enumerate(registers):
        for day, of_day in days(register).items():
            known = [row[1] for row in of_day if real(row)]
            if all(quantity > threshold for quantity in known):
                (raised if len(known) == 24 else unsure).add((n, day))
    leaks = intervals.leak(columns(registers), EDGES, np.full(len(registers), threshold, np.int64))
    assert (found_days(leaks.found), found_days(leaks.unsure)) == (raised, unsure)


_number = st.integers(-(2**61), 2**61)


@given(_number, st.integers(1, 2**61), st.integers(-(10**6), 10**6))
def test_ratios(left: int, right: int, permille: int) -> None:
    got = above(np.array([left]), np.array([right]), np.array([permille]))
    assert bool(got[0]) == (Fraction(left, right) > Fraction(permille, 1000))
