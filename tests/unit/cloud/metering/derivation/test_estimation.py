"""The ladder of estimates against a reference in fractions, its exact sums, and its rungs."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.periods import day_start
from cloud.metering.derivation.estimation import (
    METHOD_AVERAGE_DAY,
    METHOD_LIKE_DAYS,
    METHOD_LINEAR,
    METHOD_PROFILE,
    History,
    Ints,
    Profile,
    estimate_open,
    shape,
    spread,
)
from cloud.metering.derivation.local_days import REST_DAY, WORK_DAY, Slots, offsets_ms, slots

HOUR = 3_600_000
SHANGHAI, SYDNEY = ZoneInfo("Asia/Shanghai"), ZoneInfo("Australia/Sydney")
PROFILE = Profile(tuple(range(24)), (1,) * 24, 24_000)
MONDAY = date(2026, 3, 2)


def ints(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)


def hours(first: date, days: int, zone: ZoneInfo = SHANGHAI, interval: int = HOUR) -> Slots:
    """All intervals of some local days."""
    start, end = (int(day_start(day, zone).timestamp()) * 1000 for day in (first, first + timedelta(days=days)))
    starts = np.arange(start, end, interval, dtype=np.int64)
    return slots(starts, np.full(len(starts), interval, np.int64), zone)


def some(of: Slots, wanted: Sequence[int]) -> Slots:
    pick = ints(wanted)
    return Slots(*(getattr(of, name)[pick] for name in Slots.__dataclass_fields__))


def history(first: date, days: int, zone: ZoneInfo = SHANGHAI) -> History:
    """Every hour of a day uses 1,000 and its number."""
    rows = hours(first, days, zone)
    return History(rows, 1_000 + rows.slot_ms // HOUR)


NONE = History(hours(MONDAY, 0), ints([]))


@given(st.integers(0, 10**16), st.lists(st.integers(0, 10**15), min_size=1, max_size=60))
def test_shares_are_those_of_fractions_and_add_up(advance: int, weights: list[int]) -> None:
    found = spread(advance, ints(weights)).tolist()
    assert sum(found) == advance
    assert min(found) >= 0
    used = weights if any(weights) else [1] * len(weights)
    reached = [Fraction(advance) * sum(used[: n + 1]) / sum(used) for n in range(len(used))]
    rounded = [(share + Fraction(1, 2)).__floor__() for share in reached]
    assert found == [one - before for one, before in zip(rounded, [0, *rounded], strict=False)]


@pytest.mark.parametrize(("advance", "weights"), [(-1, [1]), (1, []), (1, [1, -1])])
def test_what_cannot_be_spread(advance: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="spread takes"):
        spread(advance, ints(weights))


def test_two_hours_are_linear_and_a_little_more_is_not() -> None:
    day = hours(MONDAY + timedelta(days=14), 1, interval=HOUR // 4)
    weights, method = shape(some(day, range(8)), history(MONDAY, 14), PROFILE)
    assert (weights.tolist(), method) == ([HOUR // 4] * 8, METHOD_LINEAR)
    assert shape(some(day, range(9)), NONE, PROFILE)[1] == METHOD_PROFILE


def test_like_days_shape_a_gap_over_a_weekend() -> None:
    past = history(MONDAY - timedelta(days=14), 14 + 4)
    quantity = np.where(past.slots.day_type == REST_DAY, past.quantity * 2, past.quantity)
    gap = hours(MONDAY + timedelta(days=4), 2)  # Friday and Saturday
    weights, method = shape(gap, History(past.slots, quantity), PROFILE)
    assert method == METHOD_LIKE_DAYS
    assert weights.tolist() == [1000 * (1000 + h) for h in range(24)] + [2000 * (1000 + h) for h in range(24)]


def test_only_the_last_three_good_like_days_count() -> None:
    past = history(MONDAY, 5)
    lost = (past.slots.local_day == past.slots.local_day[-1]) & (past.slots.slot_ms == 0)  # Friday lacks an hour
    quantity = np.where(past.slots.local_day == past.slots.local_day[0], 10**6, past.quantity)
    kept = np.flatnonzero(~lost)
    known = History(some(past.slots, kept.tolist()), quantity[kept])
    gap = hours(MONDAY + timedelta(days=7), 1)
    weights, method = shape(gap, known, PROFILE)
    assert method == METHOD_LIKE_DAYS
    assert weights.tolist() == [1000 * (1000 + h) for h in range(24)]


def test_without_three_like_days_the_average_day_counts() -> None:
    past = history(MONDAY, 5)
    weights, method = shape(hours(MONDAY + timedelta(days=5), 1), past, PROFILE)  # Saturday
    assert (weights.tolist(), method) == ([1000 * (1000 + h) for h in range(24)], METHOD_AVERAGE_DAY)


def test_days_longer_ago_than_four_weeks_do_not_count() -> None:
    assert shape(hours(MONDAY + timedelta(days=35), 1), history(MONDAY, 7), PROFILE)[1] == METHOD_PROFILE


def test_holidays_are_rest_days_and_exchanged_sundays_work_days() -> None:
    start = ints([int(day_start(MONDAY + timedelta(days=n), SHANGHAI).timestamp()) * 1000 for n in range(7)])
    found = slots(start, np.full(7, HOUR, np.int64), SHANGHAI, rest_days=[MONDAY], work_days=[date(2026, 3, 8)])
    assert found.day_type.tolist() == [REST_DAY, *[WORK_DAY] * 4, REST_DAY, WORK_DAY]


@pytest.mark.parametrize(("day", "length"), [(date(2026, 4, 5), 25), (date(2026, 10, 4), 23), (date(2026, 7, 1), 24)])
def test_days_on_which_clocks_change(day: date, length: int) -> None:
    gap = hours(day, 1, SYDNEY)
    assert len(gap.start_ms) == length
    assert set(gap.day_length_ms.tolist()) == {length * HOUR}
    past = history(day - timedelta(days=28), 28, SYDNEY)
    weights, method = shape(gap, past, PROFILE)
    assert method == METHOD_LIKE_DAYS
    # The hour that comes twice weighs the same both times; the one that is left out is not there.
    assert weights.tolist() == [1000 * (1000 + slot // HOUR) for slot in gap.slot_ms.tolist()]
    assert int(spread(99_999, weights).sum()) == 99_999


def test_a_short_day_is_good_and_its_missing_hour_gets_the_mean() -> None:
    sunday = date(2026, 10, 4)
    rows = [hours(sunday - timedelta(days=7 * n), 1, SYDNEY) for n in range(1)]
    known = History(rows[0], np.full(23, 500, np.int64))
    weights, method = shape(hours(sunday + timedelta(days=7), 1, SYDNEY), known, PROFILE)
    assert (weights.tolist(), method) == ([500_000] * 24, METHOD_AVERAGE_DAY)


@given(st.integers(0, 2**62), st.sampled_from([SHANGHAI, SYDNEY, ZoneInfo("America/St_Johns")]))
def test_offsets_are_those_of_the_zone(seed: int, zone: ZoneInfo) -> None:
    start = 1_577_836_800_000 + seed % (5 * 365 * 86_400_000)
    instants = ints([start + n * 7_777_777 for n in range(40)])
    exact = [
        int(datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).utcoffset().total_seconds()) * 1000  # type: ignore[union-attr]
        for at in instants.tolist()
    ]
    assert offsets_ms(instants, zone).tolist() == exact


@given(
    st.lists(st.integers(0, 10**6), min_size=24 * 9, max_size=24 * 9),
    st.sets(st.integers(0, 24 * 9 - 1), max_size=30),
    st.integers(0, 2**32 - 1),
    st.integers(9, 12),
)
def test_the_ladder_is_that_of_the_reference_in_any_order(
    quantity: list[int], lost: set[int], seed: int, begins: int
) -> None:
    past, gap = hours(MONDAY, 9), hours(MONDAY + timedelta(days=begins), 2)
    kept = [n for n in range(24 * 9) if n not in lost]
    mixed = np.random.default_rng(seed).permutation(kept).tolist()
    known = History(some(past, mixed), ints([quantity[n] for n in mixed]))
    weights, method = shape(gap, known, PROFILE)
    expected, rung = _reference({n: quantity[n] for n in kept}, begins)
    assert (weights.tolist() if any(expected) else expected, method) == (expected, rung)
    opened, same = estimate_open(gap, known, PROFILE)
    assert same == method
    assert abs(int(opened.sum()) - Fraction(sum(expected), 1000)) <= Fraction(1, 2)


def _reference(rows: dict[int, int], begins: int) -> tuple[list[int], int]:
    """Hour number since Monday midnight to quantity; the gap is of two days."""
    good = [day for day in range(9) if all(day * 24 + h in rows for h in range(24))]
    like = {rest: [d for d in good if (d % 7 >= 5) == rest][-3:] for rest in (False, True)}
    wanted = [(begins + n) % 7 >= 5 for n in range(2)]
    if all(len(like[rest]) == 3 for rest in wanted):
        days, method = [like[rest] for rest in wanted], METHOD_LIKE_DAYS
    elif good:
        days, method = [good, good], METHOD_AVERAGE_DAY
    else:
        tables = [PROFILE.rest if rest else PROFILE.work for rest in wanted]
        return [24_000 * w // sum(t) * 1000 for t in tables for w in t], METHOD_PROFILE
    return [sum(rows[d * 24 + h] for d in of) * 1000 // len(of) for of in days for h in range(24)], method


def test_an_open_end_of_two_hours_runs_on() -> None:
    past = history(MONDAY, 1)
    gap = some(hours(MONDAY + timedelta(days=1), 1, interval=HOUR // 2), range(4))
    quantity, method = estimate_open(gap, past, PROFILE)
    assert method == METHOD_LINEAR
    assert quantity.tolist() == [512, 511, 512, 511]  # 1,023 in the last hour
    assert estimate_open(some(hours(MONDAY + timedelta(days=3), 1), [0]), past, PROFILE)[1] == METHOD_AVERAGE_DAY


def test_an_open_end_without_history_is_the_profile_of_the_class() -> None:
    quantity, method = estimate_open(hours(MONDAY, 7), NONE, PROFILE)
    assert method == METHOD_PROFILE
    assert int(quantity[-24:].sum()) == 24_000
    days = slots(ints([int(day_start(MONDAY, SHANGHAI).timestamp()) * 1000]), ints([24 * HOUR]), SHANGHAI)
    assert estimate_open(days, NONE, PROFILE)[0].tolist() == [24_000]


def test_very_large_usage_stays_exact() -> None:
    rows = hours(MONDAY, 5)
    known = History(rows, np.full(len(rows.start_ms), 9 * 10**15, np.int64))
    gap = hours(MONDAY + timedelta(days=7), 5)
    assert set(estimate_open(gap, known, PROFILE)[0].tolist()) == {9 * 10**15}
    assert set(spread(9 * 10**15 * 24, shape(gap, known, PROFILE)[0]).tolist()) == {9 * 10**15 // 5}


@pytest.mark.parametrize("change", [{"work": (1,) * 23}, {"rest": (0,) * 24}, {"per_day": -1}])
def test_a_profile_that_is_none(change: dict[str, object]) -> None:
    fields: dict[str, object] = {"work": (1,) * 24, "rest": (1,) * 24, "per_day": 1} | change
    with pytest.raises(ValueError, match="profile"):
        Profile(**fields)  # type: ignore[arg-type]
