"""Rates usage by a tariff: numpy over all accounts at once, exact integers from the meter to the cent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.tariffs.plan import Plan, Slot

ENGINE_VERSION = "rating-1"
"""Changes when the same inputs could give another amount; every bill names it."""

Ints = NDArray[Any]
"""int64 where every intermediate result is known to fit, else Python integers (dtype object)."""

_LIMIT = 2**62
_NOTHING: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Usages:
    """What N accounts used over one period. Sequences have N entries; empty ones stand for zeros.

    `quantity[p]`: usage in period p of the tariff, in the base unit (Wh, mL), 0 or more.
    `before`: usage of the tier window before this period, base unit. `persons`: size of the household.
    `area`: hundredths of a square metre. `days`, `months`: length of the billed period (months only when whole).
    `carry`: exact amount of the window so far beyond its last whole cent, in 10^-places of the currency
    (see `Plan`); None derives it from `before` where the tariff has one period, else takes 0.
    """

    quantity: Sequence[Sequence[int] | Ints]
    before: Sequence[int] | Ints = _NOTHING
    persons: Sequence[int] | Ints = _NOTHING
    area: Sequence[int] | Ints = _NOTHING
    days: Sequence[int] | Ints = _NOTHING
    months: Sequence[int] | Ints = _NOTHING
    carry: Sequence[int] | Ints | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """Amounts of N accounts over the K slots of the plan.

    `quantities[n, k]` in the slot's base unit and `amounts[n, k]` in the smallest unit of the currency, each rounded
    by itself; `rounding[n]` is what is missing to `totals[n]`, so that lines and rounding add up to the total.
    `exact[n]` is the unrounded total in 10^-places.
    """

    plan: Plan
    quantities: Ints
    amounts: Ints
    rounding: Ints
    totals: Ints
    exact: Ints


def rate_batch(plan: Plan, usages: Usages, accounts: int) -> Rated:
    """Rates `accounts` accounts at once.

    Raises ValueError when a sequence has another length, or a quantity is negative.
    """
    columns = _Columns(plan, usages, accounts)
    quantities = _slot_quantities(plan, columns)
    weights = columns.ints([plan.weight(slot) for slot in plan.slots])
    exact_lines = quantities * weights[np.newaxis, :]
    amounts = _half_up(exact_lines, plan.minor)
    exact = exact_lines.sum(axis=1)
    totals = _totals(plan, columns, exact_lines, exact, amounts)
    return Rated(plan, quantities, amounts, totals - amounts.sum(axis=1), totals, exact)


class _Columns:
    """The usages as arrays of one dtype, wide enough for everything that is computed from them."""

    def __init__(self, plan: Plan, usages: Usages, accounts: int) -> None:
        periods = len(plan.content.period_codes) if plan.content.energy else 0
        if len(usages.quantity) != periods:
            raise ValueError(f"expected usage of {periods} periods, got {len(usages.quantity)}")
        given = {
            "before": usages.before,
            "persons": usages.persons,
            "area": usages.area,
            "days": usages.days,
            "months": usages.months,
            "carry": _NOTHING if usages.carry is None else usages.carry,
        }
        rows = [_column(f"quantity[{p}]", row, accounts) for p, row in enumerate(usages.quantity)]
        columns = {name: _column(name, values, accounts) for name, values in given.items()}
        self.dtype: type = np.int64 if _fits(plan, rows, columns) else object
        shape = (accounts, periods)
        self.quantity: Ints = np.stack(rows, axis=1).astype(self.dtype) if rows else np.zeros(shape, dtype=self.dtype)
        self.before, self.persons, self.area, self.days, self.months, self.carry = (
            column.astype(self.dtype) for column in columns.values()
        )
        self.carry_given = usages.carry is not None

    def ints(self, values: Sequence[int]) -> Ints:
        """Integers in the dtype of the batch."""
        return np.array(values, dtype=self.dtype)


def _column(name: str, values: Sequence[int] | Ints, accounts: int) -> Ints:
    if len(values) == 0:
        return np.zeros(accounts, dtype=np.int64)
    if len(values) != accounts:
        raise ValueError(f"{name}: expected {accounts} values, got {len(values)}")
    try:
        column: Ints = np.asarray(values, dtype=np.int64)
    except OverflowError:
        column = np.array(values, dtype=object)
    if column.min() < 0:
        raise ValueError(f"{name}: must not be negative")
    return column


def _fits(plan: Plan, rows: Sequence[Ints], columns: dict[str, Ints]) -> bool:
    """Whether no intermediate result of the batch can leave int64: checked before anything is computed."""
    most = {name: int(column.max(initial=0)) for name, column in columns.items()}
    usage = sum(int(row.max(initial=0)) for row in rows)
    window = usage + most["before"]
    highest = {
        "usage": window,
        "flat": 1,
        "area": most["area"] * most["months"],
        "fixed": max(most["days"], most["months"]),
    }
    exact = sum(highest[slot.kind] * plan.weight(slot) for slot in plan.slots)
    bounds = max(plan.bounds, default=0) + plan.raise_per_step * (most["persons"] + 1)
    shares = usage * usage if len(rows) > 1 else 0
    return max(exact + most["carry"] + plan.minor, window, bounds, shares) < _LIMIT


def _slot_quantities(plan: Plan, columns: _Columns) -> Ints:
    by_tier = _tier_quantities(plan, columns)
    used = columns.quantity.sum(axis=1)
    tier_reached = _volume_tier(_bounds(plan, columns), used)
    return np.stack([_slot_quantity(slot, columns, by_tier, tier_reached, used) for slot in plan.slots], axis=1)


def _slot_quantity(slot: Slot, columns: _Columns, by_tier: Ints, tier_reached: Ints, used: Ints) -> Ints:
    quantity: Ints
    match slot.kind:
        case "usage":
            quantity = by_tier[:, slot.period, slot.tier]
        case "flat":
            quantity = ((tier_reached == slot.tier) & (used > 0)).astype(columns.dtype)
        case "area":
            quantity = columns.area * columns.months
        case "fixed":
            quantity = columns.days if slot.per == "day" else columns.months
    return quantity


def _tier_quantities(plan: Plan, columns: _Columns) -> Ints:
    """Usage of every account by period and tier, shape (accounts, periods, tiers)."""
    bounds = _bounds(plan, columns)
    if not plan.content.energy:
        return columns.quantity[:, :, np.newaxis]
    if plan.content.tiers.mode == "volume":
        tier = _volume_tier(bounds, columns.quantity.sum(axis=1))
        in_tier = (tier[:, np.newaxis] == np.arange(bounds.shape[1] + 1)[np.newaxis, :]).astype(columns.dtype)
        by_tier: Ints = columns.quantity[:, :, np.newaxis] * in_tier[:, np.newaxis, :]
        return by_tier
    periods = plan.content.periods
    if periods is not None and periods.allocation.method == "proportional":
        return _proportional(bounds, columns)
    order = periods.allocation.order if periods is not None else plan.content.period_codes
    return _in_order(bounds, columns, [plan.content.period_codes.index(code) for code in order])


def _bounds(plan: Plan, columns: _Columns) -> Ints:
    """Inclusive upper bounds of every account, shape (accounts, tiers - 1), lifted by the household rule."""
    bounds: Ints = np.broadcast_to(columns.ints(plan.bounds), (len(columns.before), len(plan.bounds)))
    rule = plan.content.household
    if rule is None:
        return bounds
    over = np.maximum(columns.persons - (rule.from_persons - 1), 0)
    steps = over if rule.each == "extra_person" else np.minimum(over, 1)
    lifted: Ints = bounds + (steps * plan.raise_per_step)[:, np.newaxis]
    return lifted


def _volume_tier(bounds: Ints, used: Ints) -> Ints:
    """Index of the tier in which the whole usage falls: how many bounds it exceeds."""
    tier: Ints = (used[:, np.newaxis] > bounds).sum(axis=1)
    return tier


def _below(bounds: Ints, position: Ints) -> Ints:
    """How much of [0, position] lies at or below each bound, and all of it below the last tier's missing bound."""
    position = position[:, np.newaxis]
    return np.concatenate([np.minimum(position, bounds), position], axis=1)


def _between(bounds: Ints, start: Ints, end: Ints) -> Ints:
    """How much of (start, end] falls into each tier, shape (accounts, tiers)."""
    up_to = _below(bounds, end) - _below(bounds, start)
    by_tier: Ints = np.diff(up_to, axis=1, prepend=up_to[:, :1] * 0)
    return by_tier


def _in_order(bounds: Ints, columns: _Columns, order: Sequence[int]) -> Ints:
    result: list[Ints] = [columns.before] * len(order)
    position = columns.before
    for period in order:
        end = position + columns.quantity[:, period]
        result[period] = _between(bounds, position, end)
        position = end
    return np.stack(result, axis=1)


def _proportional(bounds: Ints, columns: _Columns) -> Ints:
    """Every tier is shared out by what is left of the periods; integers, and both margins exact.

    Tier by tier, `floor` of the running share: the last tier takes what is left, so nothing is lost or invented.
    """
    used = columns.quantity.sum(axis=1)
    taken = _between(bounds, columns.before, columns.before + used)
    left = columns.quantity.copy()
    parts: list[Ints] = []
    for tier in range(taken.shape[1]):
        running = np.cumsum(left, axis=1)
        whole = np.maximum(running[:, -1:], 1)
        shares = taken[:, tier, np.newaxis] * running // whole
        part = np.diff(shares, axis=1, prepend=shares[:, :1] * 0)
        parts.append(part)
        left = left - part
    return np.stack(parts, axis=2)


def _totals(plan: Plan, columns: _Columns, exact_lines: Ints, exact: Ints, amounts: Ints) -> Ints:
    rounding = plan.content.rounding
    totals: Ints
    if rounding.level == "line":
        totals = amounts.sum(axis=1)
    elif rounding.level == "component":
        codes = [slot.component for slot in plan.slots]
        totals = np.zeros(len(exact), dtype=columns.dtype)
        for code in dict.fromkeys(codes):
            of_component = [index for index, other in enumerate(codes) if other == code]
            totals = totals + _half_up(exact_lines[:, of_component].sum(axis=1), plan.minor)
    elif rounding.cumulative:
        carry = _carry(plan, columns)
        totals = _half_up(carry + exact, plan.minor) - _half_up(carry, plan.minor)
    else:
        totals = _half_up(exact, plan.minor)
    return totals


def _carry(plan: Plan, columns: _Columns) -> Ints:
    """What the window has cost so far, beyond its last whole cent: all that cumulative rounding must remember."""
    if columns.carry_given or len(plan.content.period_codes) > 1 or plan.content.tiers.mode == "volume":
        given: Ints = columns.carry % plan.minor
        return given
    earlier = _between(_bounds(plan, columns), columns.before * 0, columns.before)
    exact = columns.before * 0
    for slot in plan.slots:
        if slot.kind == "usage":
            exact = exact + earlier[:, slot.tier] * plan.weight(slot)
    return exact % plan.minor


def _half_up(exact: Ints, minor: int) -> Ints:
    rounded: Ints = (exact + minor // 2) // minor
    return rounded
