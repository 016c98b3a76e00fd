"""Taxes on what is agreed without a tariff, by date: pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

from cloud.kit.money import part_of
from cloud.kit.periods import Period
from cloud.tariffs.rating.explain import ContainedTax, Line, shortest

VAT = "vat"
"""The component of the tax line."""


@dataclass(frozen=True, slots=True)
class TaxStep:
    """From this day on `percent` of what is agreed: on top of it, or contained in it (`inclusive`)."""

    from_day: date
    percent: Decimal
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Taxed:
    """The lines of a charge with those of its taxes, and the taxes that its amounts contain."""

    lines: tuple[Line, ...]
    contained: tuple[ContainedTax, ...]


def taxed(
    lines_of: Callable[[Period], Sequence[Line]], period: Period, steps: Sequence[TaxStep], currency: str, digits: int
) -> Taxed:
    """The lines of every stretch of `period` with one rate, and its tax: the amount × percent, rounded half up.

    Days before the first step have no tax. A contained tax is amount × percent ÷ (100 + percent), as in tariffs.
    """
    lines: list[Line] = []
    contained: list[ContainedTax] = []
    for stretch, step in _stretches(period, steps):
        mine = lines_of(stretch)
        lines += mine
        base = sum((line.amount for line in mine), Decimal(0))
        if step is None or not step.percent or not base:
            continue
        share = shortest(step.percent.scaleb(-2))
        if step.inclusive:
            contained.append(ContainedTax(VAT, base, share, part_of(base, share, 1 + share, digits)))
        else:
            lines.append(Line("tax", VAT, None, None, base, currency, share, part_of(base, share, Decimal(1), digits)))
    return Taxed(tuple(lines), tuple(contained))


def _stretches(period: Period, steps: Sequence[TaxStep]) -> Iterator[tuple[Period, TaxStep | None]]:
    days = [period.start, *(step.from_day for step in steps if period.start < step.from_day < period.end), period.end]
    for start, end in pairwise(days):
        yield Period(start, end), next((step for step in reversed(steps) if step.from_day <= start), None)
