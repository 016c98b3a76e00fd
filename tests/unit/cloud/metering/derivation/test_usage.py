"""The usage engine against a slow reading of its rules, and both sides of every bound."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.derivation.estimation import spread
from cloud.metering.derivation.grid import DAY_MS, Grid, grid_offset_ms, midnights
from cloud.metering.derivation.judging import (
    ADVANCE,
    BACKWARD,
    CLOCK,
    IGNORED,
    NEGATIVE,
    RESTART,
    ROLLOVER,
    SPIKE,
    Epochs,
    Readings,
)
from cloud.metering.derivation.usage import (
    METHOD_DIFFERENCE,
    METHOD_EXCHANGE,
    METHOD_GAP,
    METHOD_LINEAR,
    METHOD_ROLLOVER,
    Derived,
    Rows,
    derive,
)
from tests.unit.cloud.metering.registers import HOUR, SHAPED, InForce, Read, Row, reference, times

END = 2**42
PLAIN = InForce(0, END)
ZONES = [ZoneInfo(name) for name in ("Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe")]
START = int(datetime(2026, 3, 28, tzinfo=UTC).timestamp()) * 1000
"""Clocks change in Berlin on the 29th, on Lord Howe a week later."""

Life = tuple[list[Read], list[InForce]]


def readings_of(lives: list[Life], epochs: Epochs) -> Readings:
    series = np.array([n for n, (readings, _) in enumerate(lives) for _ in readings], np.int64)
    flat = [r for readings, _ in lives for r in readings]
    t = np.array([r.time for r in flat], np.int64)
    return Readings(
        series, t, np.array([r.value for r in flat], np.int64), np.zeros(len(flat), np.int64), epochs.at(series, t),
        np.array([r.forced for r in flat], np.bool_), np.array([r.ignored for r in flat], np.bool_),
    )  # fmt: skip


def epochs_of(lives: list[Life]) -> Epochs:
    flat = [(n, e) for n, (_, epochs) in enumerate(lives) for e in epochs]

    def column(values: list[int]) -> np.ndarray:
        return np.array(values, np.int64)

    return Epochs(
        column([n for n, _ in flat]), column([e.start for _, e in flat]), column([e.stop for _, e in flat]),
        column([e.modulus for _, e in flat]), column([e.max_per_hour for _, e in flat]),
        column([e.multiplier_e4 for _, e in flat]),
        column([-1 if e.opening is None else e.opening for _, e in flat]),
        column([-1 if e.closing is None else e.closing for _, e in flat]),
    )  # fmt: skip


def derive_lives(lives: list[Life], grid: Grid) -> tuple[Derived, Rows]:
    epochs = epochs_of(lives)
    derived = derive(readings_of(lives, epochs), epochs, grid, np.zeros(len(lives), np.bool_))
    gaps = derived.positions.gaps
    for n in range(len(gaps.series)):
        inside = derived.positions.instant_ms[gaps.first[n] : gaps.last[n] + 1]
        edges = np.r_[gaps.from_ms[n], inside, gaps.until_ms[n]]
        derived.positions.fill(n, spread(int(gaps.advance[n]), np.diff(edges)), SHAPED)
    return derived, derived.positions.rows()


def rows_of(rows: Rows, series: int) -> list[Row]:
    mine = rows.series == series
    columns = (rows.start_ms, rows.length_ms, rows.quantity, rows.method)
    return list(zip(*(column[mine].tolist() for column in columns), strict=True))


def codes_of(derived: Derived, series: int) -> list[int]:
    return [int(code) for code in derived.codes[~derived.synthetic & (derived.readings.series == series)]]


def grid_of(interval: int, zone: ZoneInfo, series: int = 1) -> Grid:
    same = np.ones(series, np.int64)
    return Grid(interval * same, grid_offset_ms(zone, min(interval, HOUR)) * same, 0 * same, (midnights(zone),))


def instants(interval: int, zone: ZoneInfo, low: int, high: int) -> list[int]:
    if interval == DAY_MS:
        return [n for n in midnights(zone).tolist() if low - 2 * DAY_MS <= n <= high + 2 * DAY_MS]
    offset = grid_offset_ms(zone, interval)
    first = (low + offset) // interval - 1
    return [n * interval - offset for n in range(first, (high + offset) // interval + 2)]


def run(
    readings: list[tuple[int, int]], epoch: InForce = PLAIN, offset: int = 0, interval: int = HOUR
) -> tuple[list[int], list[Row]]:
    one = np.ones(1, np.int64)
    derived, rows = derive_lives(
        [([Read(t, v) for t, v in readings], [epoch])], Grid(one * interval, one * offset, one * 0)
    )
    return codes_of(derived, 0), rows_of(rows, 0)


moduli = st.sampled_from([1_000, 10_000, 999_983])
steps = st.lists(
    st.tuples(
        st.sampled_from([60_000, 299_999, 300_000, 900_000, 1_800_000, HOUR, 2 * HOUR, 5 * HOUR, 30 * HOUR]),
        st.integers(-1_000, 1_000),
    ),
    max_size=40,
)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Some days of a register: mostly running, with rollovers, nonsense, edits and exchanges."""
    modulus = draw(moduli)
    time, value, readings = START + draw(st.integers(0, 2 * HOUR)), draw(st.integers(0, modulus - 1)), list[Read]()
    for wait, d in draw(steps):
        time += wait
        if d % 4 == 0:
            time += -time % 900_000
        value = (value + abs(d) % 60) % modulus if d % 5 else max(-5, value + d)
        readings.append(Read(time, value, forced=d % 11 == 0, ignored=d % 13 == 0))
        if d % 7 == 0:
            value = readings[-2].value if len(readings) > 1 else value
    if draw(st.integers(0, 30)) == 30 and readings:
        last = readings[-1]
        readings[-1] = Read(last.time + draw(st.integers(95, 105)) * DAY_MS, last.value)
    return readings, draw(lives_of_registers(modulus, time))


@st.composite
def lives_of_registers(draw: st.DrawFn, modulus: int, until: int) -> list[InForce]:
    changes = draw(st.lists(st.integers(1, (until - START) // 300_000 + 1), max_size=3, unique=True))
    edges = [START, *sorted(START + n * 300_000 + 1 for n in changes), END]
    if draw(st.booleans()):
        edges = [at - 1 if at not in (START, END) else at for at in edges]
    found: list[InForce] = []
    for start, stop in pairwise(edges):
        if draw(st.integers(0, 9)) == 0:
            continue
        # The next register may have more digits or fewer, and another transformer before it.
        modulus = modulus if not found else draw(moduli)
        stand = st.none() | st.integers(0, modulus - 1)
        multiplier = draw(st.sampled_from([10_000, 15_000, 1, 123_457]))
        most = draw(st.sampled_from([50, 997, 10**12]))
        closing = None if stop == END else draw(stand)
        found.append(InForce(start, stop, modulus, most, multiplier, draw(stand), closing))
    return found


grids = st.tuples(st.sampled_from([900_000, 1_800_000, HOUR, DAY_MS]), st.sampled_from(ZONES))


@given(st.lists(lives(), min_size=1, max_size=3), grids)
def test_equals_the_rules_read_word_by_word(many: list[Life], grid: tuple[int, ZoneInfo]) -> None:
    derived, rows = derive_lives(many, grid_of(*grid, len(many)))
    for n, (readings, epochs) in enumerate(many):
        low, high = START, max([r.time for r in readings], default=START) + DAY_MS
        found = reference(readings, epochs, instants(*grid, low, high))
        assert (rows_of(rows, n), codes_of(derived, n)) == found
    assert (rows.quantity >= 0).all()


@given(st.lists(st.integers(0, 900), min_size=2, max_size=50), st.integers(1, 99_999))
def test_products_with_the_multiplier_add_up_without_drift(advances: list[int], multiplier: int) -> None:
    epoch = InForce(0, END, 10**12, 1_000, multiplier)
    values = np.cumsum(advances).tolist()
    total = sum(row[2] for row in run([(n * HOUR, v) for n, v in enumerate(values)], epoch)[1])
    assert total == times(values[-1], epoch) - times(values[0], epoch)


def test_an_hour_is_the_difference_of_its_boundaries() -> None:
    assert run([(0, 100), (HOUR, 150), (2 * HOUR + 299_999, 175)])[1] == [
        (0, HOUR, 50, METHOD_DIFFERENCE),
        (HOUR, HOUR, 25, METHOD_DIFFERENCE),
    ]


def test_a_reading_after_the_tolerance_is_no_boundary() -> None:
    ran = 50 * HOUR // (HOUR + 300_000)
    assert run([(0, 100), (HOUR + 300_000, 150), (2 * HOUR, 175)])[1] == [
        (0, HOUR, ran, METHOD_LINEAR),
        (HOUR, HOUR, 75 - ran, METHOD_LINEAR),
    ]


def test_a_meter_that_is_never_read_on_the_grid_has_rows_all_the_same() -> None:
    found = run([(n * HOUR + HOUR // 2, 100 * n) for n in range(5)])[1]
    assert found == [(n * HOUR, HOUR, 100, METHOD_LINEAR) for n in range(1, 4)]


@pytest.mark.parametrize(("hours", "method"), [(2, METHOD_LINEAR), (3, SHAPED)])
def test_up_to_two_hours_are_linear(hours: int, method: int) -> None:
    assert run([(0, 0), (hours * HOUR, 300 * hours)])[1] == [(n * HOUR, HOUR, 300, method) for n in range(hours)]


@pytest.mark.parametrize(("days", "rows"), [(100, 2400), (101, 1)])
def test_a_gap_of_more_than_a_hundred_days_stays_one_row(days: int, rows: int) -> None:
    found = run([(0, 0), (days * DAY_MS, 2400)])[1]
    assert (len(found), sum(row[2] for row in found)) == (rows, 2400)
    assert (found[0][3] == METHOD_GAP) == (rows == 1)


def test_hours_follow_local_time_in_zones_with_half_hours() -> None:
    half = HOUR // 2
    assert run([(0, 90), (half, 100), (HOUR, 110), (half + HOUR, 150)], offset=half)[1] == [
        (half, HOUR, 50, METHOD_DIFFERENCE)
    ]


def test_days_are_local_days_of_23_hours_too() -> None:
    days = midnights(ZoneInfo("Europe/Berlin"))
    begin = int(np.searchsorted(days, START - DAY_MS))
    readings = [Read(int(days[begin + n]), 100 * n) for n in range(4)]
    derived, rows = derive_lives([(readings, [PLAIN])], grid_of(DAY_MS, ZoneInfo("Europe/Berlin")))
    assert [length // HOUR for _, length, _, _ in rows_of(rows, 0)] == [24, 23, 24]
    assert not len(derived.missing.slots)
    derived, _ = derive_lives([([readings[0], readings[1], readings[3]], [PLAIN])], grid_of(DAY_MS, ZONES[1]))
    assert derived.missing.slots.tolist() == [1]


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
    assert run([(0, previous), (HOUR, value)])[0] == [ADVANCE, code]


def test_nine_tenths_of_the_modulus_is_enough() -> None:
    wide = InForce(0, END, 1_000_000, 100_000)
    assert run([(0, 900_000), (HOUR, 0)], wide)[0] == [ADVANCE, ROLLOVER]
    assert run([(0, 899_999), (2 * HOUR, 0)], wide)[0] == [ADVANCE, BACKWARD]


def test_a_rollover_counts_the_way_over_the_top() -> None:
    assert run([(0, 999_900), (HOUR, 50)])[1] == [(0, HOUR, 150, METHOD_ROLLOVER)]


def test_a_turn_that_is_no_whole_number_is_never_negative() -> None:
    epoch = InForce(0, END, 1_004, 10**12, 1)
    assert run([(0, 1_003), (HOUR, 0)], epoch)[1] == [(0, HOUR, 1, METHOD_ROLLOVER)]


@pytest.mark.parametrize(("advance", "code"), [(1_000, ADVANCE), (1_001, SPIKE)])
def test_the_physical_maximum(advance: int, code: int) -> None:
    assert run([(0, 0), (HOUR, advance)])[0] == [ADVANCE, code]


def test_a_meter_that_reads_zero_once_makes_no_mountain() -> None:
    codes, rows = run([(0, 5_000), (HOUR, 5_100), (2 * HOUR, 0), (3 * HOUR, 5_300), (4 * HOUR, 5_400)])
    assert codes == [ADVANCE, ADVANCE, BACKWARD, ADVANCE, ADVANCE]
    assert rows == [
        (0, HOUR, 100, METHOD_DIFFERENCE),
        (HOUR, HOUR, 100, METHOD_LINEAR),
        (2 * HOUR, HOUR, 100, METHOD_LINEAR),
        (3 * HOUR, HOUR, 100, METHOD_DIFFERENCE),
    ]


def test_a_spike_does_not_move_the_base() -> None:
    codes, rows = run([(0, 100), (HOUR, 900_000), (2 * HOUR, 200)])
    assert codes == [ADVANCE, SPIKE, ADVANCE]
    assert [row[2] for row in rows] == [50, 50]


@pytest.mark.parametrize(("value", "code"), [(2**63 - 1, SPIKE), (-(2**63), NEGATIVE), (2**60, SPIKE), (-1, NEGATIVE)])
def test_values_that_no_register_shows_are_refused_without_overflow(value: int, code: int) -> None:
    codes, rows = run([(0, value), (HOUR, 100), (2 * HOUR, 120)])
    assert codes == [code, ADVANCE, ADVANCE]
    assert rows == [(HOUR, HOUR, 20, METHOD_DIFFERENCE)]


def test_a_product_beyond_64_bits_is_an_error() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        run([(0, 0)], InForce(0, END, 10**15, 10**12, 10**12))


@pytest.mark.parametrize("readings", [[], [(0, 1)], [(HOUR // 2, 1), (HOUR - 1, 2)]])
def test_without_two_instants_there_is_no_usage(readings: list[tuple[int, int]]) -> None:
    assert run(readings)[1] == []


REAL = [5_000, 5_100, 5_150, 5_200, 5_300]


@pytest.mark.parametrize(
    ("bogus", "code"), [([0], BACKWARD), ([0, 0], BACKWARD), ([900_000], SPIKE), ([10**6], SPIKE)], ids=str
)
def test_a_bogus_beginning_refuses_no_real_reading(bogus: list[int], code: int) -> None:
    codes, rows = run([(n * HOUR, value) for n, value in enumerate([*bogus, *REAL])])
    assert codes == [code] * len(bogus) + [ADVANCE] * len(REAL)
    assert [row[2] for row in rows] == [100, 50, 50, 100]


def test_a_glitch_right_after_the_first_reading_does_not_become_the_base() -> None:
    codes, rows = run([(n * HOUR, value) for n, value in enumerate([5_000, 0, 0, *REAL[1:]])])
    assert codes == [ADVANCE, BACKWARD, BACKWARD] + [ADVANCE] * 4
    assert sum(row[2] for row in rows) == 300


def test_a_value_that_the_register_cannot_show_is_no_reading() -> None:
    codes, _ = run([(n * 2_000 * HOUR, value) for n, value in enumerate([999_999, 1_000_000, 10])])
    assert codes == [ADVANCE, SPIKE, ROLLOVER]


def two(readings: list[Read], *epochs: InForce) -> tuple[list[int], list[Row]]:
    derived, rows = derive_lives([(readings, list(epochs))], grid_of(HOUR, ZONES[0]))
    return codes_of(derived, 0), rows_of(rows, 0)


def test_an_exchange_counts_both_registers_with_their_own_multiplier() -> None:
    at = HOUR + HOUR // 2
    old = InForce(0, at, multiplier_e4=20_000, closing=5_060)
    new = InForce(at, END, multiplier_e4=30_000, opening=7)
    readings = [Read(0, 5_000), Read(HOUR, 5_050), Read(2 * HOUR, 17), Read(3 * HOUR, 27)]
    codes, rows = two(readings, old, new)
    assert codes == [ADVANCE] * 4
    assert rows == [
        (0, HOUR, 100, METHOD_DIFFERENCE),
        (HOUR, HOUR, (5_060 - 5_050) * 2 + (17 - 7) * 3, METHOD_EXCHANGE),
        (2 * HOUR, HOUR, 30, METHOD_DIFFERENCE),
    ]


@pytest.mark.parametrize(("closing", "opening"), [(5_060, None), (None, 7), (None, None)])
def test_without_a_reading_at_the_exchange_no_row_spans_it(closing: int | None, opening: int | None) -> None:
    at = HOUR + HOUR // 2
    readings = [Read(0, 5_000), Read(HOUR, 5_050), Read(2 * HOUR, 17), Read(3 * HOUR, 27)]
    codes, rows = two(readings, InForce(0, at, closing=closing), InForce(at, END, opening=opening))
    assert codes == [ADVANCE] * 4
    assert rows == [(0, HOUR, 50, METHOD_DIFFERENCE), (2 * HOUR, HOUR, 10, METHOD_DIFFERENCE)]


def test_readings_outside_every_register_are_refused() -> None:
    codes, rows = two([Read(n * HOUR, n) for n in range(5)], InForce(HOUR, 4 * HOUR))
    assert codes == [CLOCK, ADVANCE, ADVANCE, ADVANCE, CLOCK]
    assert [row[0] for row in rows] == [HOUR, 2 * HOUR]


def test_what_staff_says_is_believed_and_never_negative() -> None:
    readings = [Read(0, 900), Read(HOUR, 100, forced=True), Read(2 * HOUR, 150), Read(3 * HOUR, 160, ignored=True)]
    readings.append(Read(4 * HOUR, 90_000, forced=True))
    codes, rows = two(readings, PLAIN)
    assert codes == [ADVANCE, RESTART, ADVANCE, IGNORED, ADVANCE]
    assert [row[2] for row in rows] == [0, 50, (90_000 - 150) // 2, (90_000 - 150) // 2]
