"""How notes by hand and re-rating know of each other: nothing is given back that was not charged. Pure.

A note that says the charge was wrong is itself a correction: the next re-rating of the charge replaces it by what is
right. A goodwill note is a gift: it stays beside what is right, as far as that reaches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from cloud.kit.money import round_half_up

NoteCause = Literal["error", "goodwill"]
"""Why a note is made: the bill was wrong, or the bill is right and something is given all the same."""

Taxes = Mapping[str, Decimal]
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a note by hand did to a charge: below 0 where it gave. `taxes`: what of it is tax, by component."""

    note_id: int
    number: str | None
    cause: NoteCause
    amount: Decimal
    taxes: Taxes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a charge comes to on all bills and notes, those corrections too that wait for a bill, and what of it is tax.

    `notes` are those by hand that it includes.
    """

    net: Decimal
    taxes: Taxes = field(default_factory=dict)
    notes: tuple[ByHand, ...] = ()

    def after(self, amount: Decimal, taxes: Taxes) -> "Standing":
        """The same once another note has done this to it."""
        return Standing(self.net + amount, added(self.taxes, taxes), self.notes)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a revision takes back (above 0) of what these notes have given, and what of it is tax."""

    amount: Decimal
    taxes: Taxes
    notes: tuple[str, ...]


def settled_at(amount: Decimal, taxes: Taxes, notes: Sequence[ByHand]) -> tuple[Decimal, Taxes]:
    """What a charge that is rightly `amount` comes to beside its gifts, and what of it is tax.

    Gifts take it to nothing at the most; of a charge that is nothing or less there is nothing to give.
    """
    gifts = [one for one in notes if one.cause == "goodwill"]
    given = -sum((one.amount for one in gifts), _NONE)
    if amount <= 0 or given == 0:
        return amount, taxes
    if given >= amount:
        return _NONE, {}
    left = added(taxes, *(one.taxes for one in gifts))
    return amount - given, {component: max(part, _NONE) for component, part in left.items()}


def counted(was: tuple[Decimal, Taxes], now: tuple[Decimal, Taxes], standing: Standing) -> Counted | None:
    """What a revision from `was` to `now` (amount and taxes of the charge) has to count of the notes that it had.

    None where there were none. Difference and counted together bring the charge to what `settled_at` says; where only
    the tax changes, notes keep what they gave.
    """
    if not standing.notes:
        return None
    difference, taxes = now[0] - was[0], added(now[1], negative(was[1]))
    if difference:
        right, right_taxes = settled_at(*now, standing.notes)
    else:
        # Of nothing that is left nothing is tax.
        kept = added(standing.taxes, taxes) if standing.net > 0 or now[0] <= 0 else {}
        right, right_taxes = standing.net, {component: max(part, _NONE) for component, part in kept.items()}
    return Counted(
        right - standing.net - difference,
        added(right_taxes, negative(standing.taxes), negative(taxes)),
        tuple(dict.fromkeys(one.number for one in standing.notes if one.number is not None)),
    )


def tax_of_part(
    amount: Decimal, charge: tuple[Decimal, Taxes], standing: Standing, on_top: Sequence[str], digits: int
) -> dict[str, Decimal]:
    """What of `amount`, taken off a line of a charge or (above 0) put on it, is contained tax, by component.

    As much of it as of what is left of the charge, so that who takes off all of it takes off all its tax; what is put
    on bears as much as the charge (`charge`: its amount and taxes). `on_top`: components that have lines of their own,
    and are no part of any other.
    """
    whole, taxes = (standing.net, standing.taxes) if amount < 0 else charge
    base = whole - sum((part for component, part in taxes.items() if component in on_top), _NONE)
    if base <= 0:
        return {}
    share = max(amount, -base)
    found = {
        component: round_half_up(part * share / base, digits)
        for component, part in taxes.items()
        if component not in on_top
    }
    return {component: part for component, part in found.items() if part}


def added(*taxes: Taxes) -> dict[str, Decimal]:
    """The sum by component; only what is not 0."""
    found: dict[str, Decimal] = {}
    for one in taxes:
        for component, part in one.items():
            found[component] = found.get(component, _NONE) + part
    return {component: part for component, part in found.items() if part}


def negative(taxes: Taxes) -> dict[str, Decimal]:
    """The same the other way round."""
    return {component: -part for component, part in taxes.items()}
