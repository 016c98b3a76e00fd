"""How many calendar months a stretch of days is, for fees by the month."""

from cloud.kit.periods import Period, months

MONTH = 10**6
"""Months are counted in millionths, so that a fee of part of a month can be multiplied by hand."""


def by_day(period: Period) -> int:
    """Millionths of calendar months, each month by its days; stretches of one month add up to it exactly."""
    found = 0
    for month in months(period.start, period.end):
        there = period.overlap(month)
        assert there is not None
        until, since = ((day - month.start).days for day in (there.end, there.start))
        found += _share(until, month.days) - _share(since, month.days)
    return found


def begun(period: Period, stay: Period) -> int:
    """Millionths of calendar months that are charged in full on the first day of `stay` in them, if it is in `period`.

    However a stay is cut into periods, every month it touches is counted once.
    """
    firsts = (max(month.start, stay.start) for month in months(stay.start, min(stay.end, period.end)))
    return MONTH * sum(1 for first in firsts if period.start <= first < period.end)


def _share(days: int, of: int) -> int:
    return (2 * days * MONTH + of) // (2 * of)
