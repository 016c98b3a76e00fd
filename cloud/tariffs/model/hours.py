"""Seasons, day types and hours: which price period every quarter of an hour of the year belongs to."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from cloud.kit.calendars import DAY_TYPES, DayType, day_type
from cloud.kit.periods import Period
from cloud.tariffs.model.problems import Wrong
from cloud.tariffs.model.registers import RegisterMap, Source, usual_map
from cloud.tariffs.model.tiers import month_day
from cloud.tariffs.model.values import Code, Strict

ALL = "all"
"""The period of a tariff that knows none."""

SLOT_MINUTES = 15
SLOTS = 24 * 60 // SLOT_MINUTES
"""Hours are told to the quarter: what the usage of a meter can be divided by."""

_RANGE = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


class Season(Strict):
    """Days of the year from `first` to `last`, both included; may run over the turn of the year."""

    code: Code
    first: str = Field(description="First day, MM-DD.")
    last: str = Field(description="Last day, MM-DD, still in the season.")

    @field_validator("first", "last")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        return month_day(value)

    @cached_property
    def days(self) -> frozenset[str]:
        """Its days as MM-DD; 29 February goes with the day before."""
        day, found = _common_day(self.first), set()
        while True:
            found.add(f"{day:%m-%d}")
            if f"{day:%m-%d}" == self.last:
                return frozenset(found)
            day += timedelta(days=1)
            if day.year > _COMMON_YEAR:
                day = date(_COMMON_YEAR, 1, 1)


_COMMON_YEAR = 2023


def _common_day(text: str) -> date:
    return date.fromisoformat(f"{_COMMON_YEAR}-{text}")


def season_on(seasons: Sequence[Season], day: date) -> str | None:
    """Code of the season of a day; None in a tariff without seasons."""
    text = "02-28" if (day.month, day.day) == (2, 29) else f"{day:%m-%d}"
    return next((season.code for season in seasons if text in season.days), None)


class Hours(Strict):
    """The hours of some seasons and day types: period → ranges such as "10:00-12:00"; together the whole day."""

    seasons: tuple[Code, ...] = Field(default=(), description="Seasons it holds in; none named: all.")
    days: tuple[DayType, ...] = Field(default=DAY_TYPES, min_length=1, description="Day types it holds on.")
    hours: dict[Code, tuple[str, ...]] = Field(min_length=1)

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """The period of each of the 96 quarters of a day. Raises ValueError for a gap, an overlap or a bad range."""
        found: list[str | None] = [None] * SLOTS
        for period, ranges in self.hours.items():
            for text in ranges:
                for slot in _slots(text):
                    if found[slot] is not None:
                        raise Wrong("hours-overlap", "hours", clock=_clock(slot), one=found[slot], other=period)
                    found[slot] = period
        missing = next((slot for slot, period in enumerate(found) if period is None), None)
        if missing is not None:
            raise Wrong("hours-gap", "hours", clock=_clock(missing))
        return tuple(period for period in found if period is not None)

    @model_validator(mode="after")
    def _whole_day(self) -> Self:
        assert self.slots
        return self


def _slots(text: str) -> range:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise Wrong("hours-range", "hours", found=repr(text))
    first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    if first % SLOT_MINUTES or last % SLOT_MINUTES:
        raise Wrong("hours-quarter", "hours", found=repr(text))
    if not first < last <= 24 * 60:
        raise Wrong("hours-end", "hours", found=repr(text))
    return range(first // SLOT_MINUTES, last // SLOT_MINUTES)


def _clock(slot: int) -> str:
    hour, minute = divmod(slot * SLOT_MINUTES, 60)
    return f"{hour:02d}:{minute:02d}"


class Allocation(Strict):
    """How the usage of several periods meets the tiers: the three give different bills.

    proportional: every period has the same share of every tier; priority: the periods fill the tiers one after the
    other in `order`; chronological: the tiers fill in the order of time.
    """

    method: Literal["proportional", "priority", "chronological"]
    order: tuple[Code, ...] = ()


class TimePeriods(Strict):
    """Periods of the day: peak, flat, valley … counted by the meter itself or, with a `schedule`, by its intervals."""

    codes: tuple[Code, ...] = Field(min_length=2, max_length=8)
    allocation: Allocation
    schedule: tuple[Hours, ...] = Field(
        default=(),
        max_length=64,
        description="Hours of the periods by season and day type. None: the meter has a register for each period.",
    )
    source: Source | None = Field(
        default=None,
        description="Where usage by period comes from; without it intervals where there is a schedule, else registers.",
    )
    registers: RegisterMap | None = Field(
        default=None, description="Which registers count each period; without it by the codes: sharp, peak, t1 …"
    )

    @model_validator(mode="after")
    def _order_names_each_once(self) -> Self:
        if len(set(self.codes)) != len(self.codes) or ALL in self.codes:
            raise Wrong("period-codes", "codes")
        order = self.allocation.order
        if self.allocation.method == "priority" and sorted(order) != sorted(self.codes):
            raise Wrong("order-codes", "allocation", "order", wanted=", ".join(self.codes))
        if self.allocation.method != "priority" and order:
            raise Wrong("order-method", "allocation", "order")
        if self.source == "intervals" and not self.schedule:
            raise Wrong("source-intervals", "source")
        if self.allocation.method == "chronological" and self.counted_by == "registers":
            raise Wrong("chronological", "allocation", "method")
        if self.registers is not None and set(self.registers.periods) != set(self.codes):
            raise Wrong("registers-named", "registers", "periods", wanted=", ".join(self.codes))
        for number, entry in enumerate(self.schedule):
            unknown = sorted(set(entry.hours) - set(self.codes))
            if unknown:
                found = {"wanted": ", ".join(self.codes), "found": ", ".join(unknown)}
                raise Wrong("schedule-period", "schedule", number, **found)
        return self

    @property
    def counted_by(self) -> Source:
        """Where usage by period comes from unless an agreement says otherwise."""
        return self.source or ("intervals" if self.schedule else "registers")

    @property
    def register_map(self) -> RegisterMap | None:
        """Which registers count each period, as it is said or as the codes say; None where neither does."""
        return self.registers or usual_map(self.codes)


def schedule_problems(periods: TimePeriods, seasons: Sequence[Season]) -> Iterator[Wrong]:
    """Unless every season and day type has its hours exactly once: each that has not."""
    if not periods.schedule:
        return
    codes: list[str | None] = [season.code for season in seasons]
    for number, entry in enumerate(periods.schedule):
        unknown = [season for season in entry.seasons if season not in codes]
        if unknown:
            yield Wrong("schedule-season", "periods", "schedule", number, found=", ".join(unknown))
    for season in codes or [None]:
        for day in DAY_TYPES:
            count = len(_entries(periods.schedule, season, day))
            if count != 1:
                code = ("many-hours" if count else "no-hours") + ("-of" if season else "")
                yield Wrong(code, "periods", "schedule", days=day, season=season, count=count)


def season_problems(seasons: Sequence[Season]) -> Iterator[Wrong]:
    """Unless the seasons make up the year, each day once: the first day of each gap and overlap."""
    if len({season.code for season in seasons}) != len(seasons):
        yield Wrong("season-twice")
        return
    last: object = None
    of_year = date(_COMMON_YEAR, 1, 1)
    while seasons and of_year.year == _COMMON_YEAR:
        day = f"{of_year:%m-%d}"
        codes = tuple(season.code for season in seasons if day in season.days)
        if codes != last and not codes:
            yield Wrong("season-gap", day=day)
        if codes != last and len(codes) > 1:
            yield Wrong("season-overlap", day=day, one=codes[0], other=codes[1])
        last = codes
        of_year += timedelta(days=1)


def _entries(schedule: Sequence[Hours], season: str | None, day: DayType) -> list[Hours]:
    return [entry for entry in schedule if day in entry.days and (not entry.seasons or season in entry.seasons)]


def slots_on(periods: TimePeriods, season: str | None, day: DayType) -> tuple[str, ...]:
    """The period of each quarter of an hour, 00:00 local time on, of a day; `periods` has a schedule."""
    return _entries(periods.schedule, season, day)[0].slots


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of time in one price period, from `start` to the start of the next run (instants in UTC)."""

    start: datetime
    code: str


def runs(
    periods: TimePeriods, season: str | None, calendar: Mapping[date, DayType], stretch: Period, zone: ZoneInfo
) -> list[Run]:
    """The runs of local days of one season, in the order of time.

    Hours are those of the clock on the wall: where it is put forward a run is shorter, where it is put back longer.
    """
    found: list[Run] = []
    day = stretch.start
    while day < stretch.end:
        for slot, code in enumerate(slots_on(periods, season, day_type(day, calendar))):
            if not found or found[-1].code != code:
                wall = datetime.combine(day, time(slot * SLOT_MINUTES // 60, slot * SLOT_MINUTES % 60), zone)
                start = wall.astimezone(UTC)
                while found and found[-1].start >= start:
                    found.pop()  # a run within the hour that the clock leaves out
                found.append(Run(start, code))
        day += timedelta(days=1)
    return found
