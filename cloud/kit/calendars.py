"""What kind of day a day is: work, rest, holiday, critical load."""

from collections.abc import Mapping
from datetime import date
from typing import Literal, get_args

DayType = Literal["work", "rest", "holiday", "critical"]
DAY_TYPES: tuple[DayType, ...] = get_args(DayType)
"""Working days (swapped week-ends included), days of rest, public holidays, days of critical load."""


def day_type(day: date, calendar: Mapping[date, DayType]) -> DayType:
    """What a day is: as the calendar says, else work from Monday to Friday and rest at the week-end."""
    return calendar.get(day, "work" if day.weekday() < 5 else "rest")
