"""When no supply is switched off: nights, days of rest, days before them, and seasons of frost or heat. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from cloud.kit.calendars import DayType, day_type

_SEASON: Final = re.compile(r"(\d\d)-(\d\d)/(\d\d)-(\d\d)")
_LEAP_YEAR: Final = 2000


@dataclass(frozen=True, slots=True)
class Season:
    """Days of every year from `first` to `last` (month, day), both included; `last` before `first` is over New Year."""

    first: tuple[int, int]
    last: tuple[int, int]

    def holds(self, day: date) -> bool:
        """Whether a day lies in it."""
        now = (day.month, day.day)
        if self.first <= self.last:
            return self.first <= now <= self.last
        return now >= self.first or now <= self.last

    def __str__(self) -> str:
        return "{:02}-{:02}/{:02}-{:02}".format(*self.first, *self.last)


@dataclass(frozen=True, slots=True)
class Hours:
    """A supply may be switched off from `start` to `end` o'clock on working days, outside the seasons.

    `before_rest`: also on the last working day before a day of rest or a holiday.
    """

    start: int = 9
    end: int = 16
    before_rest: bool = False
    seasons: tuple[Season, ...] = ()

    def allowed(self, local: datetime, calendar: Mapping[date, DayType]) -> bool:
        """Whether a supply may be switched off at this local time of the project."""
        day = local.date()
        return (
            self.start <= local.hour < self.end
            and _works(day, calendar)
            and (self.before_rest or _works(day + timedelta(days=1), calendar))
            and not any(season.holds(day) for season in self.seasons)
        )

    def closes_in(self, local: datetime) -> timedelta:
        """How long the hours of this day still last; only meaningful while `allowed`."""
        return local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=self.end) - local


def seasons_of(text: str) -> tuple[Season, ...]:
    """Seasons written as `11-15/03-15, 07-01/08-31`. Raises ValueError with what is wrong."""
    return tuple(_season(part.strip()) for part in text.split(",") if part.strip())


def written(seasons: Sequence[Season]) -> str:
    """The same the other way."""
    return ", ".join(map(str, seasons))


def _season(text: str) -> Season:
    found = _SEASON.fullmatch(text)
    if found is None:
        raise ValueError(f"expected month-day/month-day such as 11-15/03-15, got {text}")
    first_month, first_day, last_month, last_day = map(int, found.groups())
    for month, day in ((first_month, first_day), (last_month, last_day)):
        try:
            date(_LEAP_YEAR, month, day)
        except ValueError as error:
            raise ValueError(f"there is no day {month:02}-{day:02}") from error
    return Season((first_month, first_day), (last_month, last_day))


def _works(day: date, calendar: Mapping[date, DayType]) -> bool:
    return day_type(day, calendar) == "work"
