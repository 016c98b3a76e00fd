"""What of a charge is tax once concessions are taken off, on top of prices or contained in them: pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from cloud.billing.concessions.reductions import Reduction
from cloud.billing.records import Charge
from cloud.kit.money import minor_digits, part_of, round_half_up
from cloud.tariffs.rating.explain import ContainedTax, Line, costs, paid

_NONE = Decimal(0)


def after_concessions(
    contained: Sequence[ContainedTax], lines: Sequence[Line], reductions: Sequence[Reduction], digits: int
) -> tuple[ContainedTax, ...]:
    """The contained taxes of what remains of their bases: what concessions took off the components of each is off.

    Of what is left of the components each bears its share of a minimum and a cap, so that bases add up to what is paid.
    Where a base is a part of what its components cost (a stretch of a rent with a rate of its own), it bears that part
    of what was taken off; the parts add up.
    """
    if not reductions:
        return tuple(contained)
    cost, taken = _by_component(lines), _taken(reductions)
    cap = sum((line.amount for line in lines if line.kind == "cap"), _NONE)
    limited = any(line.kind in ("minimum", "cap") for line in lines)
    left = {one: amount + taken.get(one, _NONE) for one, amount in costs(lines).items()}
    paid_of = paid(left, cap, contained, digits) if limited else {}
    reached: dict[tuple[str, ...], Decimal] = {}
    found = []
    for tax in contained:
        of = tax.of or tuple(cost)
        if limited and tax.of:
            found.append(tax.on(sum((paid_of.get(one, _NONE) for one in of), _NONE), digits))
            continue
        whole, off = sum((cost.get(one, _NONE) for one in of), _NONE), sum((taken.get(one, _NONE) for one in of), _NONE)
        if tax.base != whole:
            start = reached.get(tax.of, _NONE)
            reached[tax.of] = end = start + tax.base
            off = _NONE if whole <= 0 else part_of(off, end, whole, digits) - part_of(off, start, whole, digits)
        found.append(tax.on(tax.base + off, digits))
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
