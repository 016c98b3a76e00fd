"""Reductions of a charge as lines of their own: negative amounts that name their rule."""

from dataclasses import dataclass
from decimal import Decimal

from cloud.kit.money import round_half_up


@dataclass(frozen=True, slots=True)
class Reduction:
    """`charge` × (`factor` − 1) = `amount`, which is negative; charge + amount is what remains to pay."""

    rule: str
    charge: Decimal
    factor: Decimal
    amount: Decimal


def vacancy_reduction(charge: Decimal, factor: Decimal, digits: int = 2, *, rule: str = "vacancy") -> Reduction:
    """What is taken off an area fee while the unit is filed as vacant; `factor` is the share still owed.

    What remains is `charge` × `factor` rounded half up. Raises ValueError unless 0 ≤ factor ≤ 1 and charge ≥ 0.
    """
    if not 0 <= factor <= 1 or charge < 0:
        raise ValueError("expected a factor from 0 to 1 and a charge of 0 or more")
    return Reduction(rule, charge, factor, round_half_up(charge * factor, digits) - charge)
