"""How usage meets the tiers: by period and tier, in exact integers, over all accounts at once."""

from collections.abc import Sequence

import numpy as np

from cloud.tariffs.rating.columns import Columns, Ints
from cloud.tariffs.rating.plan import Plan


def tier_quantities(plan: Plan, columns: Columns) -> Ints:
    """Usage of every account by period and tier, shape (accounts, periods, tiers); packages in package mode."""
    bounds = bounds_of(plan, columns)
    if not plan.content.energy:
        return columns.quantity[:, :, np.newaxis]
    if plan.content.tiers.mode == "volume":
        by_period = columns.by_period(len(plan.content.period_codes))
        in_tier = (volume_tier(bounds, columns.used)[:, np.newaxis] == np.arange(bounds.shape[1] + 1)).astype(
            columns.dtype
        )
        by_tier: Ints = by_period[:, :, np.newaxis] * in_tier[:, np.newaxis, :]
        return by_tier
    if plan.package is not None:
        return _packages(bounds, plan.package, columns["before"], columns.used)[:, np.newaxis, :]
    periods = plan.content.periods
    if periods is None:
        return _between(bounds, columns["before"], columns["before"] + columns.used)[:, np.newaxis, :]
    if periods.allocation.method == "proportional":
        return _proportional(bounds, columns["before"], columns.by_period(len(periods.codes)))
    if periods.allocation.method == "priority":
        order = [periods.codes.index(code) for code in periods.allocation.order]
        by_period = columns.by_period(len(periods.codes))
        return _in_order(bounds, columns["before"], by_period[:, order], order, len(order))
    return _in_order(bounds, columns["before"], columns.quantity, columns.sequence, len(periods.codes))


def bounds_of(plan: Plan, columns: Columns) -> Ints:
    """Inclusive upper bounds of every account, shape (accounts, tiers - 1).

    Lifted by the household rule and cut to the part of the window the account is there for: see `Plan.bounds_for`.
    """
    base, whole = columns.ints(plan.bounds)[np.newaxis, :], columns["whole"][:, np.newaxis]
    raised = columns["steps"] * plan.raise_per_step
    lifted = raised[:, np.newaxis] * columns.ints(plan.lifts)[np.newaxis, :]
    bounds: Ints = (2 * (base * columns["covered"][:, np.newaxis] + lifted) + whole) // (2 * whole)
    return bounds


def volume_tier(bounds: Ints, used: Ints) -> Ints:
    """Index of the tier in which the whole usage falls: how many bounds it exceeds."""
    tier: Ints = (used[:, np.newaxis] > bounds).sum(axis=1)
    return tier


def before_quantities(plan: Plan, columns: Columns) -> Ints:
    """What the tiers held before this period, of a tariff with one period, shape (accounts, tiers)."""
    bounds, nothing = bounds_of(plan, columns), columns["before"] * 0
    if plan.package is not None:
        return _packages(bounds, plan.package, nothing, columns["before"])
    return _between(bounds, nothing, columns["before"])


def _by_tier(bounds: Ints, position: Ints) -> Ints:
    """How much of [0, position] lies in each tier, shape (accounts, tiers)."""
    position = position[:, np.newaxis]
    below = np.concatenate([np.minimum(position, bounds), position], axis=1)
    by_tier: Ints = np.diff(below, axis=1, prepend=below[:, :1] * 0)
    return by_tier


def _between(bounds: Ints, start: Ints, end: Ints) -> Ints:
    """How much of (start, end] falls into each tier, shape (accounts, tiers)."""
    between: Ints = _by_tier(bounds, end) - _by_tier(bounds, start)
    return between


def _packages(bounds: Ints, size: int, before: Ints, used: Ints) -> Ints:
    """Packages begun in each tier: one that an earlier bill of the window began is paid already."""
    begun: Ints = -(-_by_tier(bounds, before + used) // size) + (-_by_tier(bounds, before) // size)
    return begun


def _in_order(bounds: Ints, before: Ints, quantity: Ints, order: Sequence[int], periods: int) -> Ints:
    """The columns of `quantity` one after the other; `order` names the period of each."""
    result: Ints = np.zeros((len(before), periods, bounds.shape[1] + 1), dtype=quantity.dtype)
    position = before
    for column, period in enumerate(order):
        end = position + quantity[:, column]
        result[:, period] += _between(bounds, position, end)
        position = end
    return result


def _proportional(bounds: Ints, before: Ints, quantity: Ints) -> Ints:
    """Every tier is shared out by what is left of the periods; integers, and both margins exact.

    Tier by tier, `floor` of the running share: the last tier takes what is left, so nothing is lost or invented.
    """
    taken = _between(bounds, before, before + quantity.sum(axis=1))
    left = quantity.copy()
    parts: list[Ints] = []
    for tier in range(taken.shape[1]):
        running = np.cumsum(left, axis=1)
        whole = np.maximum(running[:, -1:], 1)
        shares = taken[:, tier, np.newaxis] * running // whole
        part = np.diff(shares, axis=1, prepend=shares[:, :1] * 0)
        parts.append(part)
        left = left - part
    return np.stack(parts, axis=2)
