"""What of a charge is tax once concessions are taken off, on top of prices or contained in them: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from cloud.billing.concessions.reductions import Reduction
from cloud.billing.records import Charge
from cloud.kit.money import from_minor, minor_digits, round_half_up, to_minor
from cloud.tariffs.rating.explain import ContainedTax, Line

_NONE = Decimal(0)


def part_of(base: Decimal, share: Decimal, of: Decimal, digits: int) -> Decimal:
    """base × share ÷ of, halves away from zero; `of` is above 0."""
    share_top, share_bottom = share.as_integer_ratio()
    top, bottom = of.as_integer_ratio()
    minor, divisor = to_minor(base, digits) * share_top * bottom, share_bottom * top
    sign = -1 if minor < 0 else 1
    return from_minor(sign * ((2 * minor * sign + divisor) // (2 * divisor)), digits)


def after_concessions(
    contained: Sequence[ContainedTax], lines: Sequence[Line], reductions: Sequence[Reduction], digits: int
) -> tuple[ContainedTax, ...]:
    """The contained taxes of what remains of their bases: what concessions took off the components of each is off.

    Where a base is a part of what its components cost (a stretch of a rent with a rate of its own), it bears that part
    of what was taken off; the parts add up. Where nothing of the charge remains nothing is tax, even if a cap had taken
    off what is the base of a tax.
    """
    if not reductions:
        return tuple(contained)
    cost, taken = _by_component(lines), _taken(reductions)
    remains = sum((amount + taken.get(component, _NONE) for component, amount in cost.items()), _NONE)
    if not remains:
        return tuple(replace(tax, base=remains, amount=remains) for tax in contained)
    reached: dict[tuple[str, ...], Decimal] = {}
    found = []
    for tax in contained:
        of = tax.of or tuple(cost)
        whole, off = sum((cost.get(one, _NONE) for one in of), _NONE), sum((taken.get(one, _NONE) for one in of), _NONE)
        if tax.base != whole:
            start = reached.get(tax.of, _NONE)
            reached[tax.of] = end = start + tax.base
            off = _NONE if whole <= 0 else part_of(off, end, whole, digits) - part_of(off, start, whole, digits)
        base = tax.base + off
        found.append(replace(tax, base=base, amount=part_of(base, tax.share, 1 + tax.share, digits)))
    return tuple(found)


def taxes_within(
    lines: Sequence[Line], contained: Sequence[ContainedTax], reductions: Sequence[Reduction]
) -> dict[str, Decimal]:
    """What of a charge is tax, by component; only what is not 0. `contained` are those after concessions.

    A line of tax bears its share of every concession.
    """
    taken = _taken(reductions)
    found: dict[str, Decimal] = {}
    for line in lines:
        if line.kind == "tax":
            found[line.component] = found.get(line.component, taken.get(line.component, _NONE)) + line.amount
    for tax in contained:
        found[tax.component] = found.get(tax.component, _NONE) + tax.amount
    return {component: amount for component, amount in found.items() if amount}


def contained_kept(kept: Sequence[Mapping[str, Any]], charge: Charge, currency: str) -> tuple[ContainedTax, ...]:
    """The contained taxes of a charge as its bill keeps them.

    Bills from before `rating-3` keep those of the amount before concessions; they shrink as the charge did, which is
    how they were booked.
    """
    digits = minor_digits(currency)
    whole = sum((line.amount for line in charge.lines if line.kind != "discount"), _NONE)
    found = []
    for one in kept:
        base, share, amount = (Decimal(one[name]) for name in ("base", "share", "amount"))
        if "of" not in one and whole and whole != charge.amount:
            base, amount = (round_half_up(part * charge.amount / whole, digits) for part in (base, amount))
        found.append(ContainedTax(one["component"], base, share, amount, tuple(one.get("of", ()))))
    return tuple(found)


def _by_component(lines: Sequence[Line]) -> dict[str, Decimal]:
    """What the components cost that are no taxes."""
    found: dict[str, Decimal] = {}
    for line in lines:
        if line.kind != "tax":
            found[line.component] = found.get(line.component, _NONE) + line.amount
    return found


def _taken(reductions: Sequence[Reduction]) -> dict[str, Decimal]:
    """What was taken off each component, negative."""
    found: dict[str, Decimal] = {}
    for one in reductions:
        for component, part in one.parts:
            found[component] = found.get(component, _NONE) + part
    return found
