"""Both sides of the bound of every rule."""

import numpy as np
import pytest

from cloud.metering.validation import intervals, periods, readings
from cloud.metering.validation.segments import Found, Ints, Rows, above, below

HOUR = 3_600_000
DAY = 24 * HOUR
EDGES = np.arange(0, 10) * DAY


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def yes(*values: bool) -> "np.typing.NDArray[np.bool_]":
    return np.array(values, np.bool_)


def rows(quantities: list[int], length: int = HOUR, start: int = 0, methods: list[int] | None = None) -> Rows:
    """Adjoining rows of one register."""
    count = len(quantities)
    return Rows.of(
        np.zeros(count, np.int64),
        start + np.arange(count) * length,
        np.full(count, length),
        ints(*quantities),
        ints(*(methods or [0] * count)),
    )


def test_v3_a_coarse_interval() -> None:
    assert readings.coarse(ints(900, 901, 60, 0), ints(900, 900, 900, 900)).tolist() == [False, True, False, False]


def test_v3_only_foreign_registers() -> None:
    which, unit = ints(0, 1, 1, 2, 2), ints(2, 2, 1, 2, 3)
    assert readings.foreign(which, unit, ints(1, 1, 1)).tolist() == [True, False, False, True, True]
    assert readings.foreign(ints(), ints(), ints(1)).tolist() == []


def test_v3_the_interval_is_what_most_readings_keep() -> None:
    taken = ints(0, 900_000, 1_801_000, 9_000_000, 9_900_500, 0, 3_600_000)
    seen = readings.observed_interval_s(ints(0, 0, 0, 0, 0, 1, 1), taken, 3)
    assert seen.tolist() == [900, 0, 0]


@pytest.mark.parametrize(("highest", "flagged"), [(600, False), (601, True)])
def test_v8_spike(highest: int, flagged: bool) -> None:
    found = intervals.spike(rows([100, highest, 300, 90, *[10] * 20]), EDGES[:2], ints(5_000), ints(0))
    assert len(found) == (1 if flagged else 0)


@pytest.mark.parametrize(("floor", "flagged"), [(999, True), (1_000, False)])
def test_v8_a_spike_over_nothing_must_pass_the_floor(floor: int, flagged: bool) -> None:
    found = intervals.spike(rows([0] * 20 + [1_000, 0, 0, 0]), EDGES[:2], ints(5_000), ints(floor))
    assert len(found) == (1 if flagged else 0)


def test_v8_two_rows_and_estimates_are_not_judged() -> None:
    assert len(intervals.spike(rows([1, 1_000]), EDGES[:2], ints(0), ints(0))) == 0
    assert len(intervals.spike(rows([1, 1, 1_000, 1], methods=[0, 0, 4, 0]), EDGES[:2], ints(0), ints(0))) == 0


@pytest.mark.parametrize(
    ("quantities", "methods", "flagged"),
    [
        ([100, 100, 101], [0, 0, 0], False),
        ([100, 100, 100], [0, 0, 0], True),
        ([99, 99, 99], [0, 0, 0], False),
        ([100, 100, 100], [0, 4, 0], False),
        ([0, 0, 0], [0, 0, 0], False),
    ],
)
def test_v10_frozen(quantities: list[int], methods: list[int], flagged: bool) -> None:
    found = intervals.frozen(rows(quantities, methods=methods), EDGES[:2], ints(3), ints(100))
    assert len(found) == (1 if flagged else 0)


def test_v10_a_run_goes_on_over_midnight() -> None:
    run = rows([100, 100, 100], start=22 * HOUR)
    found = intervals.frozen(run, EDGES[:3], ints(3), ints(1))
    assert found.from_ms.tolist() == [DAY]


@pytest.mark.parametrize(
    ("quantities", "power", "flagged"),
    [([0, 0], [50, 50], True), ([0, 0], [50, 49], False), ([0, 1], [50, 50], False), ([0, 0], [0, 0], False)],
)
def test_v10_still_under_load(quantities: list[int], power: list[int], flagged: bool) -> None:
    found = intervals.still_under_load(rows(quantities), EDGES[:2], ints(*power), ints(50), ints(2))
    assert len(found) == (1 if flagged else 0)


def test_v11_zero() -> None:
    until = ints(3 * DAY - 1, 3 * DAY, 3 * DAY)
    assert intervals.zero(ints(0, 0, 0), until, yes(True, True, False), ints(3, 3, 3)).tolist() == [False, True, False]


def test_v12_inactive() -> None:
    used = ints(10, 11, 11)
    assert intervals.inactive(used, yes(False, False, True), ints(10, 10, 10)).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("parts", "multiplier", "wrong"),
    [(980, 10_000, False), (979, 10_000, True), (1_021, 10_000, True), (970, 15_000, False), (969, 15_000, True),
     (979, 10_200, True), (980, 10_200, False)],
)  # fmt: skip
def test_v14_register_sum(parts: int, multiplier: int, wrong: bool) -> None:
    assert intervals.register_sum(ints(1_000), ints(parts), ints(multiplier), ints(10)).tolist() == [wrong]


def test_v14_half_units_are_kept_apart() -> None:
    # 2 · 1.25 · 1 = 2.5: a difference of 2 is allowed, one of 3 is not.
    assert intervals.register_sum(ints(10, 10), ints(8, 7), ints(12_500, 12_500), ints(1, 1)).tolist() == [False, True]


def test_v15_sibling() -> None:
    now, before, meter = ints(0, 24, 0, 0, 0), ints(24, 24, 0, 24, 24), ints(0, 0, 0, 1, 1)
    assert intervals.sibling(now, before, meter).tolist() == [True, False, False, False, False]


def test_v16_prolonged_estimate() -> None:
    found = intervals.prolonged_estimate(ints(DAY, DAY - 1), 4 * DAY, ints(3, 3))
    assert found.tolist() == [False, True]


def flow(quantities: list[int], methods: list[int] | None = None) -> tuple[int, int]:
    leaks = intervals.leak(rows(quantities, methods=methods), EDGES[:2], ints(100))
    return len(leaks.found), len(leaks.unsure)


def test_v17_leak() -> None:
    assert flow([101] * 24) == (1, 0)
    assert flow([101] * 23 + [100]) == (0, 0)


def test_v17_estimates_neither_raise_nor_clear() -> None:
    assert flow([101] * 24, [0] * 23 + [4]) == (0, 1)
    assert flow([101] * 23 + [0], [0] * 23 + [4]) == (0, 1)
    assert flow([100] + [101] * 23, [0] * 23 + [4]) == (0, 0)
    assert flow([101] * 23) == (0, 1)


def test_v17_quarters_make_hours() -> None:
    found = intervals.leak(rows([101, 0, 0, 0] * 24, length=HOUR // 4), EDGES[:2], ints(100)).found
    assert (len(found), found.found.tolist()) == (1, [101])


def high_low(usage: int, then: int, days: int = 31, then_days: int = 31, floor: int = 0) -> bool:
    now, before = periods.Average(ints(usage), ints(days)), periods.Average(ints(then), ints(then_days))
    return bool(periods.high_low(now, before, ints(500), ints(2_000), ints(floor))[0])


def test_v9_high_low() -> None:
    assert not high_low(2_000, 1_000)
    assert high_low(2_001, 1_000)
    assert not high_low(500, 1_000)
    assert high_low(499, 1_000)
    assert not high_low(2_800, 1_550, 28, 31)
    assert not high_low(5, 0, floor=1)
    assert high_low(5_000, 0, floor=1)
    assert not high_low(5_000, 1, then_days=0)
    assert not high_low(0, 0)


def test_v9_compares_with_last_year_or_else_with_the_period_before() -> None:
    last_year = periods.Average(ints(7, 0), ints(31, 0))
    before = periods.Average(ints(8, 8), ints(30, 30))
    chosen = periods.reference(last_year, before)
    assert (chosen.usage.tolist(), chosen.days.tolist()) == ([7, 8], [31, 30])


@pytest.mark.parametrize(
    ("master", "subs", "wrong"),
    [(1_000, 850, False), (1_000, 849, True), (1_000, 1_010, False), (1_000, 1_011, True), (0, 0, False), (0, 1, True)],
)
def test_v18_master_balance(master: int, subs: int, wrong: bool) -> None:
    assert periods.master_balance(ints(master), ints(subs), ints(-10), ints(150)).tolist() == [wrong]


def test_ratios_of_large_numbers_are_exact() -> None:
    large = 2**61
    assert above(ints(large + 1), ints(large), ints(1_000)).tolist() == [True]
    assert above(ints(large), ints(large), ints(1_000)).tolist() == [False]
    assert below(ints(large - 1), ints(large), ints(1_000)).tolist() == [True]


def test_no_rows_no_findings() -> None:
    nothing = rows([])
    none: list[Found] = [
        intervals.spike(nothing, EDGES, ints(), ints()),
        intervals.frozen(nothing, EDGES, ints(), ints()),
        intervals.leak(nothing, EDGES, ints()).found,
    ]
    assert [len(found) for found in none] == [0, 0, 0]


def test_rows_outside_the_days_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        intervals.spike(rows([1, 2, 3], start=2 * DAY), EDGES[:2], ints(0), ints(0))
