"""The usages of many accounts as arrays of one dtype, wide enough for everything that is computed from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.tariffs.rating.plan import Plan

Ints = NDArray[Any]
"""int64 where every intermediate result is known to fit, else Python integers (dtype object)."""

Given = Sequence[int] | Ints

_LIMIT = 2**62
_NOTHING: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Usages:
    """What N accounts used over one period. Columns have N entries; empty ones stand for zeros (`whole`: ones).

    `quantity[c]`: usage in the base unit (Wh, mL), 0 or more: of period c of the tariff or, with `sequence`, of the
    period `sequence[c]`, in the order of time. `before`: usage of the tier window before this period, base unit.
    `steps`, `covered`, `whole`: steps of the household rule and time there, in parts of the tier window (see
    `Plan.bounds_for`). `single`: 1 for accounts that are billed without tiers. `area`: hundredths of a square metre.
    `days`, `months`, `begun`: length of the billed period; months in millionths, by their days and as begun months
    (see `month_shares`). `demand`: highest load in W. `capacity`: VA. `power_factor`: hundredths.
    `carry`: exact amount of the window so far beyond its last whole cent, in 10^-places of the currency
    (see `Plan`); None derives it from `before` where the tariff has one period, else takes 0.

    Where a bill is charged in pieces that share its limits, in the smallest unit of the currency: `minimum` and `cap`
    of all of them, and what the pieces before this one cost (below 0 too) before taxes, `minimum_before` without any
    limit and `cap_before` with what the minimum added. `last`: 1 where no piece follows that could reach the minimum.
    Empty ones: every account has the limits of the tariff to itself.
    """

    quantity: Sequence[Given]
    before: Given = _NOTHING
    steps: Given = _NOTHING
    covered: Given = _NOTHING
    whole: Given = _NOTHING
    single: Given = _NOTHING
    area: Given = _NOTHING
    days: Given = _NOTHING
    months: Given = _NOTHING
    begun: Given = _NOTHING
    demand: Given = _NOTHING
    capacity: Given = _NOTHING
    power_factor: Given = _NOTHING
    carry: Given | None = None
    minimum: Given = _NOTHING
    cap: Given = _NOTHING
    minimum_before: Given = _NOTHING
    cap_before: Given = _NOTHING
    last: Given = _NOTHING
    sequence: Sequence[int] | None = None


_ONES = ("covered", "whole")
_SHARED = ("minimum", "cap", "minimum_before", "cap_before", "last")
"""Columns that only pieces of a bill have which share its limits."""
_SIGNED = ("minimum_before", "cap_before")
_NAMES = tuple(field.name for field in fields(Usages) if field.name not in ("quantity", "sequence", *_SHARED))


class Columns:
    """One batch: `quantity` of shape (accounts, columns), everything else of shape (accounts,)."""

    def __init__(self, plan: Plan, usages: Usages, accounts: int) -> None:
        """Raises ValueError when a column has another length, is negative, or the periods are not the tariff's."""
        _check_periods(plan, usages)
        rows = [_column(f"quantity[{c}]", row, accounts) for c, row in enumerate(usages.quantity)]
        names = (*_NAMES, *(name for name in _SHARED if len(getattr(usages, name))))
        columns = {name: _column(name, getattr(usages, name), accounts) for name in names}
        self.accounts = accounts
        self.dtype: type = np.int64 if _fits(plan, rows, columns) else object
        shape = (accounts, len(rows))
        self.quantity: Ints = np.stack(rows, axis=1).astype(self.dtype) if rows else np.zeros(shape, dtype=self.dtype)
        self.sequence = list(range(len(rows)) if usages.sequence is None else usages.sequence)
        self.in_time = usages.sequence is not None
        self.carry_given = usages.carry is not None
        self._columns = {name: column.astype(self.dtype) for name, column in columns.items()}
        if not any(slot.single for slot in plan.slots):
            self._columns["single"] = (
                self._columns["single"] * 0
            )  # a tariff without such prices bills everyone by tiers
        self.used: Ints = self.quantity.sum(axis=1)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a column: those of shared limits are optional."""
        return name in self._columns

    def __getitem__(self, name: str) -> Ints:
        """The column of that name of `Usages`."""
        return self._columns[name]

    def ints(self, values: Sequence[int]) -> Ints:
        """Integers in the dtype of the batch."""
        return np.array(values, dtype=self.dtype)

    def by_period(self, periods: int) -> Ints:
        """Usage by period of the tariff, shape (accounts, periods)."""
        if not self.in_time:
            return self.quantity
        result: Ints = np.zeros((self.accounts, periods), dtype=self.dtype)
        for column, period in enumerate(self.sequence):
            result[:, period] += self.quantity[:, column]
        return result


def _check_periods(plan: Plan, usages: Usages) -> None:
    content = plan.content
    periods = len(content.period_codes) if content.energy else 0
    chronological = content.periods is not None and content.periods.allocation.method == "chronological"
    if usages.sequence is None:
        if len(usages.quantity) != periods:
            raise ValueError(f"expected usage of {periods} periods, got {len(usages.quantity)}")
        if chronological:
            raise ValueError("expected usage in the order of time with its sequence of periods")
        return
    if len(usages.sequence) != len(usages.quantity):
        raise ValueError(f"expected {len(usages.quantity)} periods in sequence, got {len(usages.sequence)}")
    if any(not 0 <= period < periods for period in usages.sequence):
        raise ValueError(f"expected periods from 0 to {periods - 1} in sequence")


def _column(name: str, values: Given | None, accounts: int) -> Ints:
    if values is None or len(values) == 0:
        return np.full(accounts, int(name in _ONES), dtype=np.int64)
    if len(values) != accounts:
        raise ValueError(f"{name}: expected {accounts} values, got {len(values)}")
    try:
        column: Ints = np.asarray(values, dtype=np.int64)
    except OverflowError:
        column = np.array(values, dtype=object)
    least = column.min()
    if (least < 0 and name not in _SIGNED) or (name == "whole" and least < 1):
        raise ValueError(f"{name}: must not be negative" if least < 0 else f"{name}: expected 1 or more")
    return column


def _fits(plan: Plan, rows: Sequence[Ints], columns: Mapping[str, Ints]) -> bool:
    """Whether no intermediate result of the batch can leave int64: checked before anything is computed."""
    most = {name: int(column.max(initial=0)) for name, column in columns.items()}
    most |= {name: max(most[name], -int(columns[name].min(initial=0))) for name in _SIGNED if name in columns}
    usage = sum(int(row.max(initial=0)) for row in rows)
    window = usage + most["before"]
    time = max(most["days"], most["months"], most["begun"])
    highest = {"usage": window, "flat": 1, "fixed": time}
    highest |= {name: most[name] * time for name in ("area", "demand", "capacity")}
    # At least one of each: a weight has to fit even where nothing was used.
    exact = sum(max(highest[slot.kind], 1) * slot.times * plan.weight(slot) for slot in plan.slots)
    raised = plan.raise_per_step * most["steps"] * max(plan.lifts, default=0)
    bounds = 2 * (max(plan.bounds, default=0) * most["covered"] + raised) + 2 * most["whole"]
    shares = usage * usage if len(rows) > 1 else 0
    amounts = exact + most["carry"] + plan.minor, _highest_share(plan, exact, most)
    return max(*amounts, window, bounds, shares, *highest.values(), *most.values()) < _LIMIT


def _highest_share(plan: Plan, exact: int, most: Mapping[str, int]) -> int:
    """The largest product of an amount and a share that can occur, minimum charge included."""
    amount, largest = exact // plan.minor + len(plan.slots) + 1, 0
    for limit in (plan.content.minimum, plan.content.cap):
        if limit is not None:
            amount += int(limit.amount.scaleb(plan.digits)) * max(1, most["days"], most["months"]) + 1
    amount += sum(most.get(name, 0) for name in _SHARED)
    for slot in plan.shares:
        largest = max(largest, 2 * amount * (abs(slot.share) + 10**6))
        amount += amount * abs(slot.share) // 10**6 + 1
    return max(largest, amount)
