"""The days that usage is looked at, in which steps, and the days it is compared with. Pure."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from cloud.kit.periods import Period, month_of, months, next_month, previous_month, year_window
from cloud.metering.records import Step

WindowKind = Literal["day", "week", "month", "year", "custom"]

MOST_BARS: Final = 800
"""Of one chart: two years of days, a month of hours, a week of quarter-hours."""
LONGEST_DAYS: Final = 8_000

_PER_DAY: dict[Step, int] = {"15min": 96, "30min": 48, "hour": 24, "day": 1}
_USUAL_STEP: dict[WindowKind, Step] = {"day": "hour", "week": "day", "month": "day", "year": "month"}
_KINDS: Final[tuple[WindowKind, ...]] = ("day", "week", "month", "year")
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_YEAR_OF_WEEKS: Final = timedelta(days=364)


@dataclass(frozen=True, slots=True)
class Window:
    """Local days that a page shows, and a day in each of its neighbours."""

    kind: WindowKind
    period: Period
    previous: date
    next: date


@dataclass(frozen=True, slots=True)
class Counterparts:
    """Days that are over, and days of other times to compare their usage with.

    `before`: as many days of the window before; the same dates of it where it is a year. `last_year`: the same days a
    year earlier, for weeks the same weekdays; None where `before` is that.
    """

    now: Period
    before: Period
    last_year: Period | None


def window(kind: WindowKind, on: date) -> Window:
    """The day, week (from Monday), month or year around the local day `on`; of a custom window only that day."""
    if kind == "week":
        start = on - timedelta(days=on.weekday())
        return Window(kind, Period(start, start + _WEEK), start - _WEEK, start + _WEEK)
    if kind == "month":
        return Window(kind, month_of(on), previous_month(on).start, next_month(on))
    if kind == "year":
        period = year_window(on)
        return Window(kind, period, date(on.year - 1, 1, 1), period.end)
    return custom_window(Period(on, on + _DAY), "day")


def window_of(period: Period) -> Window:
    """The window that these days are: a month is one whoever names it by its first and last day."""
    for kind in _KINDS:
        found = window(kind, period.start)
        if found.period == period:
            return found
    return custom_window(period)


def custom_window(period: Period, kind: WindowKind = "custom") -> Window:
    """Any days; its neighbours are as long."""
    return Window(kind, period, period.start - timedelta(days=period.days), period.end)


def steps(period: Period) -> list[Step]:
    """Steps that make two bars or more of `period`, and no more than a chart holds; the day itself for a single day."""
    found = [step for step, bars in _PER_DAY.items() if 2 <= bars * period.days <= MOST_BARS]
    return [*found, "month"] if len(list(months(period.start, period.end))) > 1 else found


def usual_step(shown: Window) -> Step:
    """The step a window is shown in unless another is asked for."""
    offered = steps(shown.period)
    usual = _USUAL_STEP.get(shown.kind, "day")
    return usual if usual in offered else "hour" if shown.period.days == 1 else offered[-1]


def counterparts(shown: Window, today: date) -> Counterparts | None:
    """What the days of `shown` that are over on the local day `today` are compared with; None: none is over."""
    end = min(shown.period.end, today)
    if end <= shown.period.start:
        return None
    now = Period(shown.period.start, end)
    return Counterparts(now, _before(shown, now), _last_year(shown, now))


def _before(shown: Window, now: Period) -> Period:
    if shown.kind == "year":
        return _year_earlier(now)
    if shown.kind == "month":
        return _days_of_month(previous_month(shown.period.start), now, shown.period)
    length = timedelta(days=shown.period.days)
    return Period(now.start - length, now.end - length)


def _last_year(shown: Window, now: Period) -> Period | None:
    if shown.kind == "year":
        return None
    if shown.kind == "month":
        return _days_of_month(month_of(_same_date(now.start)), now, shown.period)
    if shown.kind == "week":
        return Period(now.start - _YEAR_OF_WEEKS, now.end - _YEAR_OF_WEEKS)
    start = _same_date(now.start)
    return Period(start, start + timedelta(days=now.days))


def _days_of_month(other: Period, now: Period, shown: Period) -> Period:
    """All of `other` beside a whole month, else as many of its first days as `now` has, if it has so many."""
    return other if now == shown else Period(other.start, min(other.start + timedelta(days=now.days), other.end))


def _year_earlier(now: Period) -> Period:
    """From the same first to the same last date."""
    return Period(_same_date(now.start), _same_date(now.end - _DAY) + _DAY)


def _same_date(day: date) -> date:
    """The date a year earlier; 29 February is 28 February there."""
    return day.replace(year=day.year - 1, day=28) if (day.month, day.day) == (2, 29) else day.replace(year=day.year - 1)
