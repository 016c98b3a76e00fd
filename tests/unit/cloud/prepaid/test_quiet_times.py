"""When nobody is switched off: nights, rest, the day before rest, seasons."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cloud.kit.calendars import DayType
from cloud.prepaid.quiet_times import Hours, Season, seasons_of, written

ZONE = ZoneInfo("Asia/Shanghai")
WEDNESDAY = date(2026, 4, 15)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE)


def test_only_in_the_hours_of_the_day() -> None:
    hours = Hours(9, 16)
    assert [hours.allowed(at(WEDNESDAY, *when), {}) for when in ((8, 59), (9, 0), (15, 59), (16, 0), (23, 0))] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert hours.closes_in(at(WEDNESDAY, 15, 50)) == timedelta(minutes=10)


def test_never_on_rest_nor_before_it() -> None:
    days = [WEDNESDAY + timedelta(days=n) for n in range(5)]  # Wednesday to Sunday
    assert [Hours().allowed(at(day, 10), {}) for day in days] == [True, True, False, False, False]
    assert [Hours(before_rest=True).allowed(at(day, 10), {}) for day in days] == [True, True, True, False, False]
    holiday: dict[date, DayType] = {WEDNESDAY + timedelta(days=1): "holiday"}
    assert not Hours().allowed(at(WEDNESDAY, 10), holiday)
    assert not Hours(before_rest=True).allowed(at(WEDNESDAY + timedelta(days=1), 10), holiday)
    # A worked week-end is a working day; a day of critical load is none on which to switch off.
    worked: dict[date, DayType] = {days[3]: "work"}
    assert Hours().allowed(at(days[2], 10), worked)
    assert not Hours().allowed(at(WEDNESDAY, 10), {WEDNESDAY: "critical"})


def test_seasons_may_go_over_new_year() -> None:
    winter, summer = seasons_of("11-15/03-15, 07-01/08-31")
    assert (winter, summer) == (Season((11, 15), (3, 15)), Season((7, 1), (8, 31)))
    assert written((winter, summer)) == "11-15/03-15, 07-01/08-31"
    assert [winter.holds(date(2026, *day)) for day in ((11, 14), (11, 15), (12, 31), (1, 1), (3, 15), (3, 16))] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    assert not Hours(seasons=(summer,)).allowed(at(date(2026, 7, 1), 10), {})
    assert Hours(seasons=(summer,)).allowed(at(date(2026, 6, 30), 10), {})


@pytest.mark.parametrize("text", ["11/15-03/15", "13-01/02-01", "02-30/03-01", "11-15", "x"])
def test_what_is_no_season_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|there is no"):
        seasons_of(text)
