"""Rules about whole billing periods: V9 high/low, V18 master balance. Pure numpy int64."""

from dataclasses import dataclass

import numpy as np

from cloud.metering.validation.segments import Ints, Mask, above, below


@dataclass(frozen=True, slots=True)
class Average:
    """Usage of each meter over some days; 0 days: not known."""

    usage: Ints
    days: Ints


def reference(last_year: Average, before: Average) -> Average:
    """What V9 compares with: the same period last year, where that is not known the period before."""
    known = last_year.days > 0
    return Average(np.where(known, last_year.usage, before.usage), np.where(known, last_year.days, before.days))


def high_low(now: Average, then: Average, low_permille: Ints, high_permille: Ints, floor: Ints) -> Mask:
    """V9: average daily usage outside [low, high] of the reference; the bounds themselves are allowed.

    `usage/days ÷ ref/ref_days`, cross-multiplied. Not judged: without a reference, and where both averages are at most
    `floor` (base units a day), because a fridge more or less in an empty flat is no news. Usage where there was none is
    high. |usage| · days must stay below 2^62.
    """
    left, right = now.usage * np.maximum(then.days, 1), then.usage * np.maximum(now.days, 1)
    outside = above(left, right, high_permille) | below(left, right, low_permille)
    small = (now.usage <= floor * now.days) & (then.usage <= floor * then.days)
    mask: Mask = outside & ~small & (now.days > 0) & (then.days > 0)
    return mask


def master_balance(master: Ints, subs: Ints, low_permille: Ints, high_permille: Ints) -> Mask:
    """V18: loss `L = master − Σ sub` below `low` or above `high` of the master; the bounds themselves are allowed."""
    loss = master - subs
    mask: Mask = above(loss, master, high_permille) | below(loss, master, low_permille)
    return mask
