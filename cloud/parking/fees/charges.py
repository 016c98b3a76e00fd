"""What is charged in the billed time of a stay, in order of time, before any cap. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from cloud.kit.calendars import DayType, day_type
from cloud.kit.periods import local_day
from cloud.parking.fees.billed_time import BilledTime, clock_instant, instant
from cloud.parking.fees.models import MINUTES_PER_DAY, PriceWindow, Schedule, Step, clock_minutes


@dataclass(frozen=True, slots=True)
class Run:
    """Equal units in a row, in billed seconds. `passing`: when the window began that they are in, and its cap."""

    kind: Literal["first-block", "units"]
    start: int
    end: int
    units: int
    minutes: int
    price: Decimal
    passing: int = 0
    cap: Decimal | None = None


@dataclass(frozen=True, slots=True)
class LocalTime:
    """The clock and the calendar of the lot."""

    zone: ZoneInfo
    calendar: Mapping[date, DayType]


def runs(schedule: Schedule, time: BilledTime, start: int, local: LocalTime) -> Iterator[Run]:
    """Everything that is charged from the billed second `start` on."""
    origin = start
    if schedule.first is not None and start < time.total:
        length = schedule.first.minutes * 60
        end = min(start + length, time.total)
        yield Run("first-block", start, end, 1, schedule.first.minutes, schedule.first.amount)
        start += length
    if start >= time.total:
        return
    if not schedule.windows:
        yield from _units(schedule.plan, start, time.total, origin)
    elif _never_changes(schedule.windows):
        yield from _units(schedule.windows[0].plan, start, time.total, start)
    else:
        yield from _by_windows(schedule.windows, time, start, local)


def _never_changes(windows: Sequence[PriceWindow]) -> bool:
    """One price all day long, which no midnight cuts."""
    return len(windows) == 1 and not windows[0].steps and windows[0].cap is None


def _by_windows(windows: Sequence[PriceWindow], time: BilledTime, start: int, local: LocalTime) -> Iterator[Run]:
    borders = _window_starts(windows, time.at(start), time.leave, local)
    for (begins, window), (ends, _) in zip(borders, [*borders[1:], (time.leave, None)], strict=True):
        begin, end = max(start, time.count(begins)), time.count(ends)
        if begin < end:
            yield from _units(window.plan, begin, end, begin, begins, window.cap)


def _units(
    plan: Sequence[Step], start: int, end: int, origin: int, passing: int = 0, cap: Decimal | None = None
) -> Iterator[Run]:
    """The units of steps that are counted from `origin`."""
    for step in plan:
        until = end if step.up_to_minutes is None else min(end, origin + step.up_to_minutes * 60)
        if start < until:
            units = -((start - until) // (step.minutes * 60))
            yield Run("units", start, until, units, step.minutes, step.price, passing, cap)
            start = until


def _window_starts(
    windows: Sequence[PriceWindow], start: int, leave: int, local: LocalTime
) -> list[tuple[int, PriceWindow]]:
    """Instants at which windows begin, from the last one before `start` to the last one before `leave`."""
    day, last = local_day(instant(start), local.zone) - timedelta(days=1), local_day(instant(leave), local.zone)
    ordered = sorted(windows, key=lambda window: clock_minutes(window.start) % MINUTES_PER_DAY)
    starts: list[tuple[int, PriceWindow]] = []
    while day <= last:
        kind = day_type(day, local.calendar)
        starts += [
            (clock_instant(day, clock_minutes(window.start) % MINUTES_PER_DAY, local.zone), window)
            for window in ordered
            if kind in window.days
        ]
        day += timedelta(days=1)
    first = max((number for number, (begins, _) in enumerate(starts) if begins <= start), default=0)
    return [(begins, window) for begins, window in starts[first:] if begins < leave]
