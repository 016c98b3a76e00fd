"""Rents: instalments by months of the lease, amounts in steps by date, by floor area, and rises in percent."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from cloud.kit.money import from_minor, round_half_up, to_minor
from cloud.kit.periods import Period
from cloud.tariffs.rating.explain import Line, shortest
from cloud.tariffs.rating.month_shares import MONTH

Unit = Literal["month", "quarter", "half_year", "year"]
UNITS: dict[int, Unit] = {
    1: "month",
    3: "quarter",
    6: "half_year",
    12: "year",
}
"""What a rent may be agreed for, and how often it may be paid, by its months."""

_PLACES = 6
_AREA_PLACES = 2


class NoArea(ValueError):
    """A rent by floor area has none for some day."""


@dataclass(frozen=True, slots=True)
class RentStep:
    """From this day on the rent is `amount`."""

    from_day: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class AreaStep:
    """From this day on the billed floor area is `area` m², with two decimals at most."""

    from_day: date
    area: Decimal


@dataclass(frozen=True, slots=True)
class Rent:
    """A rent: `amount` of a step for `per_months`, paid every `every_months` from `anchor` on.

    In advance an instalment falls due on its first day, else on the day after its last. The first step begins on or
    before the first day of the lease; steps are in order of time. `per_area`: the amount is for a square metre of
    `areas`, which are steps likewise. `contains`: services that a package pays for.
    """

    per_months: int
    every_months: int
    in_advance: bool
    anchor: date
    steps: tuple[RentStep, ...]
    per_area: bool = False
    areas: tuple[AreaStep, ...] = ()
    contains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Days of an instalment with one amount and one floor area, which hold since `since`."""

    since: date
    there: Period
    amount: Decimal
    area: Decimal


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or its last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def rises(amount: Decimal, percent: Decimal, every_months: int, lease: Period, digits: int) -> tuple[RentStep, ...]:
    """Steps of a rent that rises by `percent` of itself every so many months; each is rounded half up.

    Raises ValueError where it falls to nothing.
    """
    steps, minor, number = [RentStep(lease.start, amount)], to_minor(amount, digits), 0
    rise, of = (1 + percent.scaleb(-2)).as_integer_ratio()
    while percent and (day := months_later(lease.start, (number := number + 1) * every_months)) < lease.end:
        minor = (2 * minor * rise + of) // (2 * of)
        if minor <= 0:
            raise ValueError("expected a rent above 0")
        steps.append(RentStep(day, from_minor(minor, digits)))
    return tuple(steps)


def instalment(rent: Rent, lease_start: date, period: Period, digits: int, component: str = "rent") -> tuple[Line, ...]:
    """The lines of the rent over `period`: months × amount for each step in it, and what rounding leaves.

    Amounts are cumulative from the beginning of a step, so that the instalments of a year add up to the rent of a year.
    A part of a month counts by the days of that month of the lease. Raises ValueError for days before the first step,
    NoArea for days without a floor area.
    """
    lines: list[Line] = []
    total = 0
    for one in _stretches(rent, lease_start, period):
        begun = _months(rent.anchor, one.since)
        until, since = (_months(rent.anchor, day) - begun for day in (one.there.end, one.there.start))
        price = to_minor(one.amount, digits) * to_minor(one.area, _AREA_PLACES)
        whole = rent.per_months * MONTH * 10**_AREA_PLACES
        total += _half_up(price * until, whole) - _half_up(price * since, whole)
        shown = from_minor(_half_up(price * (until - since), whole), digits)
        months = Decimal(until - since) / (rent.per_months * MONTH)
        quantity = shortest(round_half_up(months * one.area, _PLACES))
        unit = ("m2_" if rent.per_area else "") + UNITS[rent.per_months]
        lines.append(Line("fixed", component, None, None, quantity, unit, shortest(one.amount), shown))
    rest = from_minor(total, digits) - sum((line.amount for line in lines), Decimal(0))
    if rest:
        lines.append(Line("rounding", "rounding", None, None, None, None, None, rest))
    return tuple(lines)


def _stretches(rent: Rent, lease_start: date, period: Period) -> Iterator[_Stretch]:
    areas = rent.areas if rent.per_area else (AreaStep(date.min, Decimal(1)),)
    if not areas or areas[0].from_day > period.start:
        raise NoArea(f"there is no floor area on {period.start}")
    for since, price, there in _steps([(step.from_day, step.amount) for step in rent.steps], period):
        for filed, area, inside in _steps([(step.from_day, step.area) for step in areas], there):
            yield _Stretch(max(since, filed, lease_start), inside, price, area)


def _steps(steps: Sequence[tuple[date, Decimal]], period: Period) -> Iterator[tuple[date, Decimal, Period]]:
    if not steps or steps[0][0] > period.start:
        raise ValueError(f"there is no rent on {period.start}")
    ends = [*(day for day, _ in steps[1:]), date.max]
    for (day, value), end in zip(steps, ends, strict=True):
        there = period.overlap(Period(day, end))
        if there is not None:
            yield day, value, there


def _months(anchor: date, day: date) -> int:
    """Millionths of months of the lease from its anchor to a day on or after it."""
    whole = (day.year - anchor.year) * 12 + day.month - anchor.month
    if months_later(anchor, whole) > day:
        whole -= 1
    start = months_later(anchor, whole)
    return whole * MONTH + _half_up(MONTH * (day - start).days, (months_later(anchor, whole + 1) - start).days)


def _half_up(value: int, of: int) -> int:
    return (2 * value + of) // (2 * of)
