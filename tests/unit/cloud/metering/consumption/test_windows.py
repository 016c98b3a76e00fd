"""Windows, their steps, and the days they are compared with."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.periods import Period, month_of, months
from cloud.metering.consumption.windows import (
    MOST_BARS,
    Counterparts,
    WindowKind,
    counterparts,
    custom_window,
    steps,
    usual_step,
    window,
    window_of,
)

LATER = date(2199, 1, 1)
DAYS = st.dates(date(1971, 1, 1), date(2190, 12, 31))
KINDS = st.sampled_from(["day", "week", "month", "year"])


def days(start: tuple[int, int, int], end: tuple[int, int, int]) -> Period:
    return Period(date(*start), date(*end))


@pytest.mark.parametrize(
    ("kind", "on", "now", "before", "last_year"),
    [
        ("day", (2026, 3, 1), days((2026, 3, 1), (2026, 3, 2)), days((2026, 2, 28), (2026, 3, 1)),
         days((2025, 3, 1), (2025, 3, 2))),
        ("day", (2024, 2, 29), days((2024, 2, 29), (2024, 3, 1)), days((2024, 2, 28), (2024, 2, 29)),
         days((2023, 2, 28), (2023, 3, 1))),
        ("week", (2026, 1, 1), days((2025, 12, 29), (2026, 1, 5)), days((2025, 12, 22), (2025, 12, 29)),
         days((2024, 12, 30), (2025, 1, 6))),
        ("month", (2024, 3, 9), days((2024, 3, 1), (2024, 4, 1)), days((2024, 2, 1), (2024, 3, 1)),
         days((2023, 3, 1), (2023, 4, 1))),
        ("month", (2024, 2, 9), days((2024, 2, 1), (2024, 3, 1)), days((2024, 1, 1), (2024, 2, 1)),
         days((2023, 2, 1), (2023, 3, 1))),
        ("year", (2024, 7, 1), days((2024, 1, 1), (2025, 1, 1)), days((2023, 1, 1), (2024, 1, 1)), None),
    ],
)  # fmt: skip
def test_whole_windows(
    kind: WindowKind, on: tuple[int, int, int], now: Period, before: Period, last_year: Period | None
) -> None:
    assert counterparts(window(kind, date(*on)), LATER) == Counterparts(now, before, last_year)


def test_a_window_under_way_is_compared_with_as_many_days() -> None:
    march = counterparts(window("month", date(2026, 3, 1)), date(2026, 3, 31))
    assert march == Counterparts(
        days((2026, 3, 1), (2026, 3, 31)), days((2026, 2, 1), (2026, 3, 1)), days((2025, 3, 1), (2025, 3, 31))
    )
    year = counterparts(window("year", date(2024, 1, 1)), date(2024, 3, 1))
    assert year == Counterparts(days((2024, 1, 1), (2024, 3, 1)), days((2023, 1, 1), (2023, 3, 1)), None)
    week = counterparts(window("week", date(2026, 3, 4)), date(2026, 3, 4))
    assert week is not None
    assert week.before == days((2026, 2, 23), (2026, 2, 25))
    custom = counterparts(custom_window(days((2026, 3, 1), (2026, 3, 11))), date(2026, 3, 3))
    assert custom is not None
    assert (custom.before, custom.last_year) == (days((2026, 2, 19), (2026, 2, 21)), days((2025, 3, 1), (2025, 3, 3)))


def test_nothing_is_compared_before_a_day_is_over() -> None:
    assert counterparts(window("month", date(2026, 3, 1)), date(2026, 3, 1)) is None
    assert counterparts(window("month", date(2026, 4, 1)), date(2026, 3, 1)) is None


@given(KINDS, DAYS, DAYS)
def test_windows_touch_and_counterparts_come_before(kind: WindowKind, on: date, today: date) -> None:
    shown = window(kind, on)
    assert shown.period.start <= on < shown.period.end
    assert window(kind, shown.previous).period.end == shown.period.start
    assert window(kind, shown.next).period.start == shown.period.end
    assert window_of(shown.period) == shown
    found = counterparts(shown, today)
    if found is None:
        assert today <= shown.period.start
        return
    assert found.now.start == shown.period.start
    assert found.now.end <= today
    assert found.before.end <= found.now.start
    for other in (found.before, found.last_year):
        assert other is None or abs(other.days - found.now.days) <= 3


@given(DAYS, st.integers(1, 8_000))
def test_steps_fill_a_chart_and_no_more(start: date, length: int) -> None:
    period = Period(start, start + timedelta(days=length))
    offered = steps(period)
    per_day = {"15min": 96, "30min": 48, "hour": 24, "day": 1}
    for step in offered:
        bars = len(list(months(period.start, period.end))) if step == "month" else per_day[step] * length
        assert 2 <= bars <= MOST_BARS
    assert usual_step(custom_window(period)) in offered


def test_usual_steps() -> None:
    on = date(2026, 3, 4)
    kinds: tuple[WindowKind, ...] = ("day", "week", "month", "year")
    assert [usual_step(window(kind, on)) for kind in kinds] == ["hour", "day", "day", "month"]
    assert usual_step(custom_window(Period(date(2020, 1, 1), date(2026, 1, 1)))) == "month"
    assert window_of(month_of(on)).kind == "month"
    assert window_of(Period(on, on + timedelta(days=9))).kind == "custom"
