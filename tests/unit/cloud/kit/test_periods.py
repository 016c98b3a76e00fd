"""Local days, months and years, also where clocks jump."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.kit.periods import (
    Period,
    day_start,
    known_zone,
    local_day,
    month_of,
    months,
    next_month,
    previous_month,
    year_window,
)

DAYS = st.dates(date(1990, 1, 1), date(2090, 1, 1))
ZONES = st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"])
SHANGHAI = ZoneInfo("Asia/Shanghai")


def test_a_period_must_have_days() -> None:
    with pytest.raises(ValueError, match="not after it starts"):
        Period(date(2026, 1, 1), date(2026, 1, 1))


def test_a_month_in_shanghai_begins_at_16_utc() -> None:
    assert month_of(date(2026, 2, 9)).instants(SHANGHAI) == (
        datetime(2026, 1, 31, 16, tzinfo=UTC),
        datetime(2026, 2, 28, 16, tzinfo=UTC),
    )


def test_days_of_the_change_have_23_and_25_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25)):
        start, end = Period(day, day + timedelta(days=1)).instants(berlin)
        assert end - start == timedelta(hours=hours)


@given(DAYS, ZONES)
def test_a_day_begins_on_itself_and_the_moment_before_is_yesterday(day: date, zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    start = day_start(day, zone)
    assert local_day(start, zone) == day
    assert local_day(start - timedelta(microseconds=1), zone) == day - timedelta(days=1)


def test_an_instant_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        local_day(datetime(2026, 1, 1), SHANGHAI)  # noqa: DTZ001 - what is refused


@given(DAYS)
def test_months_follow_each_other(day: date) -> None:
    month = month_of(day)
    assert month.start <= day < month.end
    assert month.end == next_month(day)
    assert previous_month(day).end == month.start
    assert 28 <= month.days <= 31


@given(DAYS, st.integers(1, 800))
def test_months_cover_a_range_without_gaps(start: date, days: int) -> None:
    end = start + timedelta(days=days)
    found = list(months(start, end))
    assert found[0].start <= start
    assert found[-1].end >= end
    assert all(first.end == second.start for first, second in itertools.pairwise(found))


@given(DAYS, st.integers(1, 12), st.integers(1, 28))
def test_a_day_lies_in_its_year(day: date, month: int, anchor: int) -> None:
    window = year_window(day, month, anchor)
    assert window.start <= day < window.end
    assert (window.start.month, window.start.day) == (month, anchor)
    assert window.days in (365, 366)


@given(DAYS, st.integers(1, 400), DAYS, st.integers(1, 400))
def test_overlap_is_the_days_in_both(first: date, length: int, second: date, other_length: int) -> None:
    one = Period(first, first + timedelta(days=length))
    two = Period(second, second + timedelta(days=other_length))
    both = one.overlap(two)
    assert both == two.overlap(one)
    shared = max(0, (min(one.end, two.end) - max(one.start, two.start)).days)
    assert (both.days if both else 0) == shared


def test_a_period_is_written_as_iso_interval() -> None:
    assert str(month_of(date(2026, 1, 5))) == "2026-01-01/2026-02-01"


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "Asia", "../UTC", "x" * 300, "UTC\0"])
def test_a_zone_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        known_zone(name)
    assert refused.value.code == "unknown-time-zone"
    assert known_zone("Asia/Shanghai").key == "Asia/Shanghai"
