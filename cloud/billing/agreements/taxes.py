"""Taxes on what is agreed without a tariff, by date, and what of any charge is tax after concessions: pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

from cloud.billing.concessions.reductions import Reduction
from cloud.kit.money import from_minor, round_half_up, to_minor
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
            contained.append(ContainedTax(VAT, base, share, _part(base, share, 1 + share, digits)))
        else:
            lines.append(Line("tax", VAT, None, None, base, currency, share, _part(base, share, Decimal(1), digits)))
    return Taxed(tuple(lines), tuple(contained))


def _stretches(period: Period, steps: Sequence[TaxStep]) -> Iterator[tuple[Period, TaxStep | None]]:
    days = [period.start, *(step.from_day for step in steps if period.start < step.from_day < period.end), period.end]
    for start, end in pairwise(days):
        yield Period(start, end), next((step for step in reversed(steps) if step.from_day <= start), None)


def _part(base: Decimal, share: Decimal, of: Decimal, digits: int) -> Decimal:
    """base × share ÷ of, halves away from zero."""
    share_top, share_bottom = share.as_integer_ratio()
    top, bottom = of.as_integer_ratio()
    minor, divisor = to_minor(base, digits) * share_top * bottom, share_bottom * top
    sign = -1 if minor < 0 else 1
    return from_minor(sign * ((2 * minor * sign + divisor) // (2 * divisor)), digits)


def taxes_within(
    lines: Sequence[Line], contained: Sequence[ContainedTax], reductions: Sequence[Reduction], digits: int
) -> dict[str, Decimal]:
    """What of a charge is tax once concessions are taken off, by component; only what is not 0.

    A line of tax bears its share of every concession; a contained tax shrinks as the charge does.
    """
    found: dict[str, Decimal] = {}
    for line in lines:
        if line.kind == "tax":
            found[line.component] = found.get(line.component, Decimal(0)) + line.amount
    for one in reductions:
        for component, part in one.parts:
            if component in found:
                found[component] += part
    if not contained:
        return {component: amount for component, amount in found.items() if amount}
    whole = sum((line.amount for line in lines), Decimal(0))
    left = whole + sum((one.amount for one in reductions), Decimal(0))
    for tax in contained:
        kept = round_half_up(tax.amount * left / whole, digits) if whole else Decimal(0)
        found[tax.component] = found.get(tax.component, Decimal(0)) + kept
    return {component: amount for component, amount in found.items() if amount}
