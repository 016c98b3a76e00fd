"""Rents: instalments by months of the lease, amounts in steps by date, and steps from a rise in percent."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cloud.kit.money import from_minor, round_half_up, to_minor
from cloud.kit.periods import Period
from cloud.tariffs.explain import Line, shortest
from cloud.tariffs.month_shares import MONTH

UNITS = {1: "month", 3: "quarter", 6: "half_year", 12: "year"}
"""What a rent may be agreed for, and how often it may be paid, by its months."""

_PLACES = 10


@dataclass(frozen=True, slots=True)
class RentStep:
    """From this day on the rent is `amount`."""

    from_day: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Rent:
    """A rent: `amount` of a step for `per_months`, paid every `every_months` from `anchor` on.

    In advance an instalment falls due on its first day, else on the day after its last. The first step begins on or
    before the first day of the lease; steps are in order of time.
    """

    per_months: int
    every_months: int
    in_advance: bool
    anchor: date
    steps: tuple[RentStep, ...]


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


def instalment(rent: Rent, lease_start: date, period: Period, digits: int) -> tuple[Line, ...]:
    """The lines of the rent over `period`: months × amount for each step in it, and what rounding leaves.

    Amounts are cumulative from the beginning of a step, so that the instalments of a year add up to the rent of a year.
    A part of a month counts by the days of that month of the lease. Raises ValueError for days before the first step.
    """
    lines: list[Line] = []
    total = 0
    for step, there in _steps(rent.steps, period):
        begun = _months(rent.anchor, max(step.from_day, lease_start))
        until, since = (_months(rent.anchor, day) - begun for day in (there.end, there.start))
        price, whole = to_minor(step.amount, digits), rent.per_months * MONTH
        total += _half_up(price * until, whole) - _half_up(price * since, whole)
        shown = from_minor(_half_up(price * (until - since), whole), digits)
        quantity = shortest(round_half_up(Decimal(until - since) / whole, _PLACES))
        unit = UNITS[rent.per_months]
        lines.append(Line("fixed", "rent", None, None, quantity, unit, shortest(step.amount), shown))
    rest = from_minor(total, digits) - sum((line.amount for line in lines), Decimal(0))
    if rest:
        lines.append(Line("rounding", "rounding", None, None, None, None, None, rest))
    return tuple(lines)


def _steps(steps: Sequence[RentStep], period: Period) -> Iterator[tuple[RentStep, Period]]:
    if not steps or steps[0].from_day > period.start:
        raise ValueError(f"there is no rent on {period.start}")
    ends = [*(step.from_day for step in steps[1:]), date.max]
    for step, end in zip(steps, ends, strict=True):
        there = period.overlap(Period(step.from_day, end))
        if there is not None:
            yield step, there


def _months(anchor: date, day: date) -> int:
    """Millionths of months of the lease from its anchor to a day on or after it."""
    whole = (day.year - anchor.year) * 12 + day.month - anchor.month
    if months_later(anchor, whole) > day:
        whole -= 1
    start = months_later(anchor, whole)
    return whole * MONTH + _half_up(MONTH * (day - start).days, (months_later(anchor, whole + 1) - start).days)


def _half_up(value: int, of: int) -> int:
    return (2 * value + of) // (2 * of)
