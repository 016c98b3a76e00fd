"""Apportionment (公摊): an amount shared out among participants, to the last unit of it; pure.

Each gets `amount * weight / total of the weights`, rounded down; what is left over goes one each to the largest
remainders, of equal ones to the smallest key. The shares add up to the amount exactly, and whoever repeats it with
the same numbers, in whatever order, gets the same shares. The amount is an integer: a quantity in its base unit or
money in its smallest coin. A negative amount (more sub-meter usage than the master saw) is never shared out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Key = tuple[int, ...]
"""Names a participant; shares of equal remainder go to the smallest."""


class NothingToShareBy(ValueError):
    """No participant has any weight: there is no fair share of anything."""


@dataclass(frozen=True, slots=True)
class Participant:
    """`weight` of 0 or more (area in 1/100 m², 1 for a household, usage, a fixed share), held for `days` days."""

    key: Key
    weight: int
    days: int = 1

    @property
    def counts(self) -> int:
        """Weight and time together."""
        return self.weight * self.days


@dataclass(frozen=True, slots=True)
class Shared:
    """`shares` by key in the order of the keys, adding up to `amount`; it is 0 where less than nothing was found."""

    found: int
    amount: int
    total_weight: int
    shares: dict[Key, int]

    @property
    def is_negative(self) -> bool:
        """Whether less than nothing was found: a finding about the meters, nobody's share."""
        return self.found < 0


def share_out(found: int, participants: Sequence[Participant]) -> Shared:
    """Shares of `found` by weight and days.

    Raises NothingToShareBy when all weights are 0, ValueError for a negative weight or a key that comes twice.
    """
    ordered = sorted(participants, key=lambda one: one.key)
    if len({one.key for one in ordered}) != len(ordered) or any(one.weight < 0 or one.days < 0 for one in ordered):
        raise ValueError("every participant comes once, with a weight and days of 0 or more")
    total = sum(one.counts for one in ordered)
    if total == 0:
        raise NothingToShareBy("no participant has any weight")
    amount = max(found, 0)
    shares = {one.key: amount * one.counts // total for one in ordered}
    # Sorting is stable: of equal remainders the smaller key stays in front.
    by_remainder = sorted(ordered, key=lambda one: amount * one.counts % total, reverse=True)
    for one in by_remainder[: amount - sum(shares.values())]:
        shares[one.key] += 1
    return Shared(found, amount, total, shares)
