"""The usage engine against a slow reading of its rules, and both sides of every bound."""

from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.usage import (
    ADVANCE,
    BACKWARD,
    HOUR_MS,
    METHOD_DIFFERENCE,
    METHOD_GAP,
    METHOD_ROLLOVER,
    OPENING,
    ROLLOVER,
    SPIKE,
    TOLERANCE_S,
    Derived,
    Register,
    derive,
)

HOUR = HOUR_MS
PLAIN = Register(modulus=1_000_000, max_per_hour=1_000)
Row = tuple[int, int, int, int]


def run(readings: list[tuple[int, int]], register: Register = PLAIN, grid: int = 0) -> Derived:
    columns = np.array(readings, np.int64).reshape(-1, 2)
    return derive(columns[:, 0].copy(), columns[:, 1].copy(), np.zeros(len(readings), np.int64), register, grid)


def rows(derived: Derived) -> list[Row]:
    columns = (derived.start_ms, derived.length_ms, derived.quantity, derived.method)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def judge_one(base: tuple[int, int], reading: tuple[int, int], register: Register) -> int:
    allowed = Decimal(register.max_per_hour) * (reading[0] - base[0]) / HOUR
    d = reading[1] - base[1]
    if d < 0:
        wraps = Decimal(base[1]) >= Decimal("0.9") * register.modulus
        return ROLLOVER if wraps and 0 <= d + register.modulus <= allowed else BACKWARD
    return SPIKE if d > allowed else ADVANCE


def judge_from(base: tuple[int, int], readings: list[tuple[int, int]], register: Register) -> list[int]:
    """Codes of the readings after `base`."""
    codes = []
    for reading in readings:
        if not 0 <= reading[1] < register.modulus:
            codes.append(BACKWARD if reading[1] < 0 else SPIKE)
            continue
        codes.append(judge_one(base, reading, register))
        if codes[-1] < BACKWARD:
            base = reading
    return codes


def judge(readings: list[tuple[int, int]], register: Register) -> list[int]:
    possible = [n for n, (_, value) in enumerate(readings) if 0 <= value < register.modulus]
    first = [n for n in possible if n < OPENING] or possible[:1]
    if not first:
        return judge_from((0, 0), readings, register)

    def support(n: int) -> int:
        return sum(code < BACKWARD for code in judge_from(readings[n], readings[n + 1 : OPENING], register))

    start = max(first, key=lambda n: (support(n), -n))
    before = [
        SPIKE if value > readings[start][1] or value >= register.modulus else BACKWARD for _, value in readings[:start]
    ]
    return [*before, ADVANCE, *judge_from(readings[start], readings[start + 1 :], register)]


def reference(readings: list[tuple[int, int]], register: Register, grid: int) -> tuple[list[Row], list[int]]:
    """The rules word by word, one reading at a time, with Decimal."""
    codes = judge(readings, register)
    boundaries: dict[int, tuple[int, int]] = {}  # grid instant -> (value, rollovers so far)
    rollovers = 0
    for (time, value), code in zip(readings, codes, strict=True):
        if code in (BACKWARD, SPIKE):
            continue
        rollovers += code == ROLLOVER
        instant = time - (time + grid) % HOUR
        if time - instant < TOLERANCE_S * 1000:
            boundaries.setdefault(instant, (value, rollovers))
    found = []
    instants = sorted(boundaries)
    for start, end in pairwise(instants):
        (v1, r1), (v2, r2) = boundaries[start], boundaries[end]
        quantity = times(v2 + (r2 - r1) * register.modulus, register) - times(v1, register)
        method = METHOD_ROLLOVER if r2 > r1 else METHOD_GAP if end - start > HOUR else METHOD_DIFFERENCE
        found.append((start, end - start, quantity, method))
    return found, codes


def times(value: int, register: Register) -> int:
    product = Decimal(value) * register.multiplier_e4 / 10_000
    return int((product + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


registers = st.builds(
    Register,
    modulus=st.sampled_from([1_000, 10_000, 999_983]),
    max_per_hour=st.sampled_from([50, 997, 10**12]),
    multiplier_e4=st.sampled_from([10_000, 15_000, 1, 123_457]),
)
steps = st.lists(
    st.tuples(st.sampled_from([60_000, 299_999, 300_000, 900_000, HOUR, 3 * HOUR]), st.integers(-1_000, 1_000)),
    max_size=60,
)


@st.composite
def registers_read(draw: st.DrawFn) -> tuple[list[tuple[int, int]], Register, int]:
    register = draw(registers)
    time, value, readings = draw(st.integers(0, 2 * HOUR)), draw(st.integers(0, register.modulus - 1)), []
    for wait, d in draw(steps):
        time += wait
        # Mostly running, sometimes rolling over, sometimes nonsense.
        value = (value + abs(d) % 60) % register.modulus if d % 5 else max(0, value + d)
        readings.append((time, value))
        if d % 7 == 0:
            value = readings[-2][1] if len(readings) > 1 else value
    return readings, register, draw(st.sampled_from([0, HOUR // 2, 3 * HOUR // 4]))


@given(registers_read())
def test_equals_the_rules_read_word_by_word(read: tuple[list[tuple[int, int]], Register, int]) -> None:
    readings, register, grid = read
    derived = run(readings, register, grid)
    assert (rows(derived), derived.codes.tolist()) == reference(readings, register, grid)


@given(registers_read())
def test_usage_adds_up_to_the_advance_and_is_never_negative(
    read: tuple[list[tuple[int, int]], Register, int],
) -> None:
    readings, register, grid = read
    derived = run(readings, Register(register.modulus, register.max_per_hour), grid)
    assert (derived.quantity >= 0).all()
    accepted = [(t, v) for (t, v), code in zip(readings, derived.codes, strict=True) if code < BACKWARD]
    at_grid = [v for t, v in accepted if (t + grid) % HOUR < TOLERANCE_S * 1000]
    if len(derived.quantity):
        starts = {t - (t + grid) % HOUR: v for t, v in reversed(accepted) if (t + grid) % HOUR < TOLERANCE_S * 1000}
        last = max(starts)
        assert (int(derived.quantity.sum()) - (starts[last] - at_grid[0])) % register.modulus == 0


@given(st.lists(st.integers(0, 900), min_size=2, max_size=50), st.integers(1, 99_999))
def test_products_with_the_multiplier_add_up_without_drift(advances: list[int], multiplier: int) -> None:
    register = Register(10**12, 1_000, multiplier)
    values = np.cumsum(advances).tolist()
    total = int(run([(n * HOUR, v) for n, v in enumerate(values)], register).quantity.sum())
    assert total == times(values[-1], register) - times(values[0], register)


def test_an_hour_is_the_difference_of_its_boundaries() -> None:
    assert rows(run([(0, 100), (HOUR, 150), (2 * HOUR + 299_999, 175)])) == [
        (0, HOUR, 50, METHOD_DIFFERENCE),
        (HOUR, HOUR, 25, METHOD_DIFFERENCE),
    ]


def test_a_reading_after_the_tolerance_is_no_boundary() -> None:
    assert rows(run([(0, 100), (HOUR + 300_000, 150), (2 * HOUR, 175)])) == [(0, 2 * HOUR, 75, METHOD_GAP)]


def test_hours_follow_local_time_in_zones_with_half_hours() -> None:
    half = HOUR // 2
    assert rows(run([(0, 90), (half, 100), (HOUR, 110), (half + HOUR, 150)], grid=half)) == [
        (half, HOUR, 50, METHOD_DIFFERENCE)
    ]


@pytest.mark.parametrize(
    ("previous", "value", "code"),
    [
        (900_000, 999, BACKWARD),  # 100,999 in an hour: more than the maximum
        (999_500, 500, ROLLOVER),  # exactly the maximum
        (999_500, 501, BACKWARD),
        (899_999, 0, BACKWARD),  # below nine tenths of the modulus
    ],
)
def test_rollover_bounds(previous: int, value: int, code: int) -> None:
    assert run([(0, previous), (HOUR, value)]).codes.tolist() == [ADVANCE, code]


def test_nine_tenths_of_the_modulus_is_enough() -> None:
    wide = Register(modulus=1_000_000, max_per_hour=100_000)
    assert run([(0, 900_000), (HOUR, 0)], wide).codes.tolist() == [ADVANCE, ROLLOVER]
    assert run([(0, 899_999), (2 * HOUR, 0)], wide).codes.tolist() == [ADVANCE, BACKWARD]


def test_a_rollover_counts_the_way_over_the_top() -> None:
    assert rows(run([(0, 999_900), (HOUR, 50)])) == [(0, HOUR, 150, METHOD_ROLLOVER)]


@pytest.mark.parametrize(("advance", "code"), [(1_000, ADVANCE), (1_001, SPIKE)])
def test_spike_bounds(advance: int, code: int) -> None:
    assert run([(0, 0), (HOUR, advance)]).codes.tolist() == [ADVANCE, code]


def test_a_meter_that_reads_zero_once_makes_no_mountain() -> None:
    derived = run([(0, 5_000), (HOUR, 5_100), (2 * HOUR, 0), (3 * HOUR, 5_300), (4 * HOUR, 5_400)])
    assert derived.codes.tolist() == [ADVANCE, ADVANCE, BACKWARD, ADVANCE, ADVANCE]
    assert rows(derived) == [
        (0, HOUR, 100, METHOD_DIFFERENCE),
        (HOUR, 2 * HOUR, 200, METHOD_GAP),
        (3 * HOUR, HOUR, 100, METHOD_DIFFERENCE),
    ]


def test_a_spike_does_not_move_the_base() -> None:
    derived = run([(0, 100), (HOUR, 900_000), (2 * HOUR, 200)])
    assert derived.codes.tolist() == [ADVANCE, SPIKE, ADVANCE]
    assert rows(derived) == [(0, 2 * HOUR, 100, METHOD_GAP)]


@pytest.mark.parametrize(("value", "code"), [(2**63 - 1, SPIKE), (-(2**63), BACKWARD), (2**60, SPIKE)])
def test_values_that_no_register_shows_are_refused_without_overflow(value: int, code: int) -> None:
    derived = run([(0, value), (HOUR, 100), (2 * HOUR, 120)])
    assert derived.codes.tolist() == [code, ADVANCE, ADVANCE]
    assert rows(derived) == [(HOUR, HOUR, 20, METHOD_DIFFERENCE)]


def test_a_product_beyond_64_bits_is_an_error() -> None:
    register = Register(10**15, 10**12, 10**12)
    with pytest.raises(OverflowError):
        run([(0, 0), (10_000 * HOUR, 10**15 - 1)], register)


@pytest.mark.parametrize("readings", [[], [(0, 1)], [(HOUR // 2, 1), (HOUR + HOUR // 2, 2)]])
def test_without_two_boundaries_there_is_no_usage(readings: list[tuple[int, int]]) -> None:
    assert rows(run(readings)) == []


REAL = [5_000, 5_100, 5_150, 5_200, 5_300]


@pytest.mark.parametrize(
    ("bogus", "code"), [([0], BACKWARD), ([0, 0], BACKWARD), ([900_000], SPIKE), ([10**6], SPIKE)], ids=str
)
def test_a_bogus_beginning_refuses_no_real_reading(bogus: list[int], code: int) -> None:
    derived = run([(n * HOUR, value) for n, value in enumerate([*bogus, *REAL])])
    assert derived.codes.tolist() == [code] * len(bogus) + [ADVANCE] * len(REAL)
    assert derived.quantity.tolist() == [100, 50, 50, 100]


def test_a_glitch_right_after_the_first_reading_does_not_become_the_base() -> None:
    derived = run([(n * HOUR, value) for n, value in enumerate([5_000, 0, 0, *REAL[1:]])])
    assert derived.codes.tolist() == [ADVANCE, BACKWARD, BACKWARD] + [ADVANCE] * 4
    assert int(derived.quantity.sum()) == 300


def test_a_value_that_the_register_cannot_show_is_no_reading() -> None:
    derived = run([(n * 2_000 * HOUR, value) for n, value in enumerate([999_999, 1_000_000, 10])])
    assert derived.codes.tolist() == [ADVANCE, SPIKE, ROLLOVER]
