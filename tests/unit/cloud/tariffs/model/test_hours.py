"""Seasons, day types and hours: what a schedule must cover, and what every quarter of an hour is."""

from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud.kit.calendars import DAY_TYPES, day_type
from cloud.kit.periods import Period, day_start
from cloud.tariffs.model.hours import SLOTS, Hours, runs, slots_on
from cloud.tariffs.model.tariff import TariffContent

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
SUMMER = {"code": "summer", "first": "07-01", "last": "09-30"}
OTHER = {"code": "other", "first": "10-01", "last": "06-30"}
DAY = {"peak": ["08:00-11:30", "18:00-22:00"], "flat": ["11:30-18:00"], "valley": ["00:00-08:00", "22:00-24:00"]}
CODES = ["peak", "flat", "valley"]


def _tariff(*schedule: dict[str, Any], seasons: tuple[dict[str, str], ...] = ()) -> TariffContent:
    rows = {code: ["0.5"] for code in CODES}
    prices = {"by_season": {season["code"]: rows for season in seasons}} if seasons else {"prices": rows}
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "seasons": seasons,
            "periods": {"codes": CODES, "allocation": {"method": "chronological"}, "schedule": schedule},
            "components": [{"kind": "energy", "code": "energy", **prices}],
        }
    )


def _hours(**changes: Any) -> dict[str, Any]:
    return {"hours": DAY | changes}


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ((_hours(flat=["11:30-17:45"]),), "nothing is said of 17:45; together the ranges make 00:00-24:00"),
        ((_hours(flat=["11:00-18:00"]),), "hours: 11:00 is both peak and flat"),
        ((_hours(flat=["11:30-18:10"]),), "begin and end on a quarter of an hour, found '11:30-18:10'"),
        ((_hours(flat=["18:00-11:30"]),), "divide it at midnight, found '18:00-11:30'"),
        ((_hours(flat=["11:30-24:15"]),), "by 24:00"),
        ((_hours(flat=["noon"]),), "a range such as \"08:00-11:30\", found 'noon'"),
        ((_hours(night=["00:00-08:00"], valley=["22:00-24:00"]),), "the periods are peak, flat, valley, found night"),
        ((_hours() | {"days": ["work", "rest"]},), "schedule: holiday days have no hours"),
        ((_hours(), _hours() | {"days": ["work"]}), "schedule: work days have 2 sets of hours"),
        ((_hours() | {"days": ["sunday"]},), "Input should be 'work', 'rest', 'holiday' or 'critical'"),
        ((_hours() | {"seasons": ["summer"]},), "there is no season summer"),
    ],
)
def test_hours_cover_every_day_once(schedule: tuple[dict[str, Any], ...], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        _tariff(*schedule)
    assert message in str(error.value)


def test_every_season_has_its_hours() -> None:
    with pytest.raises(ValidationError, match="schedule: work days of other have no hours"):
        _tariff(_hours() | {"seasons": ["summer"]}, seasons=(SUMMER, OTHER))
    assert _tariff(_hours(), seasons=(SUMMER, OTHER)).season_codes == ("summer", "other")


@pytest.mark.parametrize(
    ("seasons", "message"),
    [
        ((SUMMER,), "01-01 is in none"),
        ((SUMMER, OTHER | {"first": "09-15"}), "09-15 is both summer and other"),
        ((SUMMER, OTHER | {"last": "06-29"}), "06-30 is in none"),
        ((SUMMER | {"first": "02-30"}, OTHER), "a day MM-DD that exists in every year, found '02-30'"),
        ((SUMMER, OTHER | {"code": "summer"}), "each code once"),
    ],
)
def test_seasons_make_up_the_year(seasons: tuple[dict[str, str], ...], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        _tariff(_hours(), seasons=seasons)
    assert message in str(error.value)


def test_the_quarters_of_a_day() -> None:
    periods = _tariff(_hours()).periods
    assert periods is not None
    slots = slots_on(periods, None, "work")
    assert len(slots) == SLOTS
    assert [slots[n] for n in (0, 31, 32, 45, 46, 71, 72, 87, 88, 95)] == [
        *("valley", "valley", "peak", "peak", "flat", "flat", "peak", "peak", "valley", "valley")
    ]


@given(st.dates(date(2020, 1, 1), date(2032, 12, 31)))
def test_every_day_has_one_season(day: date) -> None:
    season = _tariff(_hours(), seasons=(SUMMER, OTHER)).season_on(day)
    assert season == ("summer" if 7 <= day.month <= 9 else "other")


@given(st.lists(st.sampled_from(CODES), min_size=SLOTS, max_size=SLOTS))
def test_hours_say_again_what_was_drawn(drawn: list[str]) -> None:
    ranges: dict[str, list[str]] = {}
    for slot, code in enumerate(drawn):
        start, end = (f"{n // 4:02d}:{n % 4 * 15:02d}" for n in (slot, slot + 1))
        ranges.setdefault(code, []).append(f"{start}-{end}")
    assert Hours.model_validate({"hours": ranges}).slots == tuple(drawn)


def test_a_calendar_swaps_days_of_work_and_rest() -> None:
    """2026-02-14 is a Saturday that is worked, 2026-02-17 the New Year."""
    calendar = {date(2026, 2, 14): DAY_TYPES[0], date(2026, 2, 17): DAY_TYPES[2]}
    days = [date(2026, 2, 13), date(2026, 2, 14), date(2026, 2, 15), date(2026, 2, 17)]
    assert [day_type(day, calendar) for day in days] == ["work", "work", "rest", "holiday"]


def test_runs_follow_the_clock_on_the_wall() -> None:
    """Two days in Shanghai: valley runs over midnight as one."""
    periods = _tariff(_hours()).periods
    assert periods is not None
    stretch = Period(date(2026, 3, 2), date(2026, 3, 4))
    found = [(run.start.isoformat()[5:16], run.code) for run in runs(periods, None, {}, stretch, SHANGHAI)]
    assert found[:6] == [
        ("03-01T16:00", "valley"),
        ("03-02T00:00", "peak"),
        ("03-02T03:30", "flat"),
        ("03-02T10:00", "peak"),
        ("03-02T14:00", "valley"),
        ("03-03T00:00", "peak"),
    ]
    assert len(found) == 9


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 5, 1), 24)])
def test_runs_make_up_the_day_where_clocks_change(day: date, hours: int) -> None:
    periods = _tariff(_hours()).periods
    assert periods is not None
    stretch = Period(day, day + timedelta(days=1))
    found = runs(periods, None, {}, stretch, BERLIN)
    assert found[0].start == day_start(day, BERLIN)
    length = day_start(stretch.end, BERLIN) - found[0].start
    assert length == timedelta(hours=hours)
    assert [later.start > earlier.start for earlier, later in pairwise(found)] == [True] * (len(found) - 1)


def test_a_run_within_the_hour_that_the_clock_leaves_out_is_no_run() -> None:
    """At 02:00 the clock jumps to 03:00: hours from 02:15 to 02:45 never come."""
    hours = {"peak": ["02:15-02:45"], "flat": ["02:45-24:00"], "valley": ["00:00-02:15"]}
    periods = _tariff({"hours": hours}).periods
    assert periods is not None
    jump = Period(date(2026, 3, 29), date(2026, 3, 30))
    starts = [run.start for run in runs(periods, None, {}, jump, BERLIN)]
    assert starts == sorted(set(starts))
    assert len(runs(periods, None, {}, Period(date(2026, 3, 30), date(2026, 3, 31)), BERLIN)) == 3
