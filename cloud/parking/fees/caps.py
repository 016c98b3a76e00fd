"""Caps bind in the order of time: what begins within a period is charged until its cap is reached. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from cloud.kit.money import round_half_up
from cloud.parking.fees.billed_time import BilledTime, begun_day, clock_instant, instant
from cloud.parking.fees.charges import Run
from cloud.parking.fees.models import Caps

_DAY_S = 24 * 3600
StepKind = Literal[
    "free",
    "covered",
    "first-block",
    "units",
    "cap-24-hours",
    "cap-calendar-day",
    "cap-window",
    "cap-escalating",
    "charging-credit",
    "coupon-hours",
    "coupon-percentage",
    "coupon-money",
    "coupon-free",
]


@dataclass(frozen=True, slots=True)
class FeeStep:
    """One line of the explanation: what was charged (or, by a cap or coupon, taken off) from `start` to `end`.

    `units` × `price` = `amount` for kind `units`; the amount of a cap, a coupon, the charging credit is negative or 0.
    `label` is the code of a coupon, or names what covers the time, with spaces between.
    """

    kind: StepKind
    start: datetime
    end: datetime
    units: int
    unit_minutes: int
    price: Decimal
    amount: Decimal
    label: str = ""


class CapPeriods:
    """What may still be charged in the cap periods of one stay."""

    def __init__(self, caps: Caps, time: BilledTime, zone: ZoneInfo, digits: int) -> None:
        self._limits = caps
        self._time = time
        self._zone = zone
        self._digits = digits
        self._left: dict[tuple[StepKind, int], Decimal] = {}

    def steps(self, run: Run) -> Iterator[FeeStep]:
        """The steps of a run, and what caps take off them."""
        for part in self._split(run):
            yield from self._charge(part)

    def _split(self, run: Run) -> Iterator[Run]:
        """Cuts a run so that all units of a part begin in the same cap periods, with no covered time between."""
        length, start, units = run.minutes * 60, run.start, run.units
        while units > 1:
            border = self._next_border(start)
            here = units if border is None else min(units, -((start - border) // length))
            end = run.end if here == units else start + here * length
            yield replace(run, start=start, end=end, units=here)
            start, units = end, units - here
        if units == 1:
            yield replace(run, start=start, units=1)

    def _charge(self, run: Run) -> Iterator[FeeStep]:
        price = round_half_up(run.price, self._digits)
        full = price * run.units
        begins = self._time.at(run.start)
        start, end = instant(begins), instant(self._time.end_of(run.end))
        yield FeeStep(run.kind, start, end, run.units, run.minutes, price, full)
        allowed = full
        periods = self._periods(begins, run)
        for key, cap in periods:
            limit = round_half_up(cap, self._digits)
            left = self._left.setdefault(key, limit)
            if left < allowed:
                yield FeeStep(key[0], start, end, 0, 0, limit, left - allowed)
                allowed = left
        for key, _ in periods:
            self._left[key] -= allowed

    def _periods(self, begins: int, run: Run) -> list[tuple[tuple[StepKind, int], Decimal]]:
        """The cap periods around an instant with their limits; a period is named by kind and number."""
        periods: list[tuple[tuple[StepKind, int], Decimal]] = []
        since = begins - self._time.entry
        if self._limits.per_24_hours is not None:
            periods.append((("cap-24-hours", since // _DAY_S), self._limits.per_24_hours))
        if self._limits.per_calendar_day is not None:
            day = begun_day(begins, self._zone)
            periods.append((("cap-calendar-day", day.toordinal()), self._limits.per_calendar_day))
        if run.cap is not None:
            periods.append((("cap-window", run.passing), run.cap))
        for number, cap in enumerate(self._limits.escalating):
            if since < cap.within_minutes * 60:
                periods.append((("cap-escalating", number), cap.amount))
        return periods

    def _next_border(self, start: int) -> int | None:
        """The first billed second of the next cap period, or after covered time, whichever is earlier."""
        entry, begins = self._time.entry, self._time.at(start)
        instants: list[int] = []
        if self._limits.per_24_hours is not None:
            instants.append(entry + ((begins - entry) // _DAY_S + 1) * _DAY_S)
        if self._limits.per_calendar_day is not None:
            instants.append(clock_instant(begun_day(begins, self._zone) + timedelta(days=1), 0, self._zone))
        ends = [entry + cap.within_minutes * 60 for cap in self._limits.escalating]
        instants += [end for end in ends if end > begins]
        borders = [self._time.count(border) for border in instants if border < self._time.leave]
        following = self._time.next_part(start)
        return min(borders if following is None else [*borders, following], default=None)
