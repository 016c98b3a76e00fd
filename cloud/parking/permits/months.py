"""Months of a card: from when to when they are, and what each of them costs. Pure."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from cloud.kit.money import round_half_up
from cloud.kit.periods import Period, month_of

MonthsFrom = Literal["sale", "calendar"]


@dataclass(frozen=True, slots=True)
class Month:
    """A month that is sold, or the rest of one, and its price."""

    days: Period
    amount: Decimal


def months_of(
    start: date, count: int, price: Decimal, months_from: MonthsFrom, anchor: int, digits: int
) -> list[Month]:
    """`count` months from the day `start` on, in order.

    `sale`: each ends on the day `anchor` of the next month, or on its last day where it has no such day; 31 January is
    followed by 28 February and 31 March. `calendar`: whole calendar months, before them the rest of the month by its
    days, rounded half up to `digits` decimals.
    """
    found: list[Month] = []
    if months_from == "calendar":
        anchor = 1
        around = month_of(start)
        if start > around.start:
            rest = Period(start, around.end)
            found.append(Month(rest, round_half_up(price * rest.days / around.days, digits)))
            start = around.end
    for _ in range(count):
        days = Period(start, _month_later(start, anchor))
        found.append(Month(days, price))
        start = days.end
    return found


def _month_later(day: date, anchor: int) -> date:
    year, month = (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
    return date(year, month, min(anchor, monthrange(year, month)[1]))
