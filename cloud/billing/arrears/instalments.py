"""Instalment plans: how a debt is divided, how far payments have come in it, and when it is broken."""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from cloud.billing.settlement.claims import Instalment
from cloud.kit.money import from_minor, share_out, to_minor


@dataclass(frozen=True, slots=True)
class Progress:
    """An instalment, what is paid of it, and the day on which it was paid in full."""

    instalment: Instalment
    paid: Decimal
    settled_on: date | None


def monthly(total: Decimal, first: date, count: int, digits: int = 2) -> list[Instalment]:
    """`count` equal parts of `total`, one a month from `first` on; they add up to it exactly (largest remainder).

    A month without that day of the month has its last day. Raises ValueError when a part would be nothing, or
    `count` is less than 1.
    """
    if count < 1:
        raise ValueError("expected at least one instalment")
    parts = share_out(to_minor(total, digits), [1] * count)
    if min(parts) <= 0:
        raise ValueError("expected at least the smallest unit for every instalment")
    return [
        Instalment(number + 1, _months_after(first, number), from_minor(part, digits))
        for number, part in enumerate(parts)
    ]


def progress(instalments: Sequence[Instalment], paid: Sequence[tuple[date, Decimal]]) -> list[Progress]:
    """What payments (day and amount, in any order) have paid of each instalment, in order of the instalments."""
    days = sorted(paid)
    found = []
    start = Decimal(0)
    total = sum((amount for _, amount in days), start)
    for one in instalments:
        until = start + one.amount
        found.append(Progress(one, min(max(total - start, Decimal(0)), one.amount), _reached(days, until)))
        start = until
    return found


def broken_on(
    instalments: Sequence[Instalment],
    paid: Sequence[tuple[date, Decimal]],
    late_days: int,
    today: date,
    forgiven: date | None = None,
) -> date | None:
    """The first day on which an instalment had not been paid `late_days` days after its date, if that day is over.

    A payment on the last of these days is in time. What was late before the day `forgiven` does not count.
    """
    for one in progress(instalments, paid):
        last = one.instalment.due_on + timedelta(days=late_days)
        if forgiven is not None and last < forgiven:
            continue
        if (one.settled_on is None and last < today) or (one.settled_on is not None and one.settled_on > last):
            return last + timedelta(days=1)
    return None


def _reached(days: Sequence[tuple[date, Decimal]], wanted: Decimal) -> date | None:
    so_far = Decimal(0)
    for day, amount in days:
        so_far += amount
        if so_far >= wanted:
            return day
    return None


def _months_after(first: date, months: int) -> date:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(year, month + 1, min(first.day, monthrange(year, month + 1)[1]))
