"""Rates usage by a tariff: numpy over all accounts at once, exact integers from the meter to the cent."""

from dataclasses import dataclass

import numpy as np

from cloud.tariffs.model.tariff import Limit
from cloud.tariffs.rating.allocation import before_quantities, bounds_of, tier_quantities, volume_tier
from cloud.tariffs.rating.columns import Columns, Ints, Usages
from cloud.tariffs.rating.month_shares import MONTH
from cloud.tariffs.rating.plan import SHARE_PLACES, Plan, ShareSlot, Slot

ENGINE_VERSION = "rating-5"
"""Changes when the same inputs could give another amount; every bill names it."""

_WHOLE = 10**SHARE_PLACES
_LENGTHS = {"day": "days", "month": "months", "begun": "begun"}


@dataclass(frozen=True, slots=True)
class Rated:
    """Amounts of N accounts over the K slots and S shares of the plan, in the smallest unit of the currency.

    `quantities[n, k]` in the slot's base unit and `amounts[n, k]`, each rounded by itself; `rounding[n]` is what is
    missing to the amount of all slots, whose unrounded amount is `exact[n]` in 10^-places. `bases[n, s]` is what a
    share is taken of, 0 where it does not apply, and `share_amounts[n, s]` the result. `minimum[n]` and `cap[n]` are
    what was added to `unlimited[n]`, which is the amount before both and before taxes, and (negative) taken off. All of
    it adds up to `totals[n]`, except inclusive taxes: they are contained.
    """

    plan: Plan
    quantities: Ints
    amounts: Ints
    rounding: Ints
    exact: Ints
    bases: Ints
    share_amounts: Ints
    unlimited: Ints
    minimum: Ints
    cap: Ints
    totals: Ints


def rate_batch(plan: Plan, usages: Usages, accounts: int) -> Rated:
    """Rates `accounts` accounts at once.

    Raises ValueError when a sequence has another length, or a quantity is negative.
    """
    columns = Columns(plan, usages, accounts)
    quantities = _slot_quantities(plan, columns)
    weights = columns.ints([plan.weight(slot) for slot in plan.slots])
    exact_lines = quantities * weights[np.newaxis, :]
    amounts = _half_up(exact_lines, plan.minor)
    exact = exact_lines.sum(axis=1)
    direct = _direct_totals(plan, columns, exact_lines, exact, amounts)
    shares = _Shares(plan, columns, exact_lines, direct)
    shares.add_all()
    return Rated(
        plan,
        quantities,
        amounts,
        direct - amounts.sum(axis=1),
        exact,
        shares.stacked(shares.bases),
        shares.stacked(shares.amounts),
        shares.unlimited,
        shares.minimum,
        shares.cap,
        shares.total,
    )


def _slot_quantities(plan: Plan, columns: Columns) -> Ints:
    by_tier = tier_quantities(plan, columns)
    by_period = columns.by_period(len(plan.content.period_codes)) if any(slot.single for slot in plan.slots) else None
    reached = volume_tier(bounds_of(plan, columns), columns.used) if plan.content.tiers.mode == "volume" else None
    found = []
    for slot in plan.slots:
        if slot.kind == "usage" and slot.single:
            assert by_period is not None
            quantity = by_period[:, slot.period] * columns["single"]
        elif slot.kind == "usage":
            quantity = by_tier[:, slot.period, slot.tier]
            if by_period is not None:
                quantity = quantity * (1 - columns["single"])
        elif slot.kind == "flat":
            assert reached is not None
            quantity = ((reached == slot.tier) & (columns.used > 0)).astype(columns.dtype)
            if by_period is not None:
                quantity = quantity * (1 - columns["single"])
        else:
            quantity = _standing(slot, columns)
        found.append(quantity * slot.times if slot.times != 1 else quantity)
    return np.stack(found, axis=1)


def _standing(slot: Slot, columns: Columns) -> Ints:
    """The quantity of a slot that no usage decides."""
    time: Ints = columns[_LENGTHS[slot.per or "day"]]
    if slot.kind == "fixed":
        return time
    quantity: Ints = columns[slot.kind] * time
    return quantity


def _direct_totals(plan: Plan, columns: Columns, exact_lines: Ints, exact: Ints, amounts: Ints) -> Ints:
    rounding = plan.content.rounding
    totals: Ints
    if rounding.level == "line":
        totals = amounts.sum(axis=1)
    elif rounding.level == "component":
        totals = np.zeros(len(exact), dtype=columns.dtype)
        for code in dict.fromkeys(slot.component for slot in plan.slots):
            totals = totals + _half_up(_exact_of(plan, exact_lines, code), plan.minor)
    elif rounding.cumulative:
        carry = _carry(plan, columns)
        totals = _half_up(carry + exact, plan.minor) - _half_up(carry, plan.minor)
    else:
        totals = _half_up(exact, plan.minor)
    return totals


def _exact_of(plan: Plan, exact_lines: Ints, component: str) -> Ints:
    of_component = [index for index, slot in enumerate(plan.slots) if slot.component == component]
    total: Ints = exact_lines[:, of_component].sum(axis=1)
    return total


def _carry(plan: Plan, columns: Columns) -> Ints:
    """What the window has cost so far, beyond its last whole cent: all that cumulative rounding must remember."""
    if columns.carry_given or len(plan.content.period_codes) > 1 or plan.content.tiers.mode == "volume":
        given: Ints = columns["carry"] % plan.minor
        return given
    earlier = before_quantities(plan, columns)
    exact = columns["before"] * 0
    for slot in plan.slots:
        if slot.kind == "usage" and slot.single:
            exact = exact + columns["before"] * columns["single"] * (plan.weight(slot) * slot.times)
        elif slot.kind == "usage":
            tiered = earlier[:, slot.tier] * (1 - columns["single"])
            exact = exact + tiered * (plan.weight(slot) * slot.times)
    return exact % plan.minor


class _Shares:
    """Adds to the direct total what is a share of it: percentages, then minimum and cap, then taxes."""

    def __init__(self, plan: Plan, columns: Columns, exact_lines: Ints, direct: Ints) -> None:
        self._plan = plan
        self._columns = columns
        self._exact_lines = exact_lines
        self._of_component: dict[str, Ints] = {}
        self.total = self.unlimited = direct
        self.bases: list[Ints] = []
        self.amounts: list[Ints] = []
        self.minimum = self.cap = direct * 0

    def add_all(self) -> None:
        """Every share in the order of the tariff."""
        for slot in self._plan.shares:
            if slot.kind != "tax":
                self._add(slot)
        self._limit()
        untaxed = self.total
        for slot in self._plan.shares:
            if slot.kind == "tax":
                self._add(slot, untaxed)

    def stacked(self, found: list[Ints]) -> Ints:
        """One column per share, shape (accounts, shares)."""
        nothing: Ints = np.zeros((len(self.total), 0), dtype=self._columns.dtype)
        return np.stack(found, axis=1) if found else nothing

    def _add(self, slot: ShareSlot, whole: Ints | None = None) -> None:
        base = sum(map(self._component, slot.of), self.total * 0) if slot.of else self.total if whole is None else whole
        if slot.kind == "power_factor":
            factor = self._columns["power_factor"]
            base = base * ((factor >= slot.at_least) & (factor < slot.below)).astype(self._columns.dtype)
        share = slot.share
        amount = _nearest(base * share, _WHOLE + share if slot.inclusive else _WHOLE)
        self.bases.append(base)
        self.amounts.append(amount)
        if not slot.inclusive:
            self.total = self.total + amount
            self._of_component[slot.component] = self._of_component.get(slot.component, 0) + amount

    def _component(self, code: str) -> Ints:
        """What a component costs, rounded by itself."""
        if code not in self._of_component:
            exact = _exact_of(self._plan, self._exact_lines, code)
            self._of_component[code] = _half_up(exact, self._plan.minor)
        return self._of_component[code]

    def _limit(self) -> None:
        content = self._plan.content
        self.unlimited = self.total
        if content.minimum is not None:
            self.minimum = self._lacking(content.minimum)
            self.total = self.total + self.minimum
        if content.cap is not None:
            self.cap = self._excess(content.cap)
            self.total = self.total + self.cap

    def _lacking(self, limit: Limit) -> Ints:
        """What is missing to the minimum; where pieces of a bill share it, to all of them, charged with the last."""
        if "minimum" not in self._columns:
            missing: Ints = np.maximum(self._amount(limit) - self.total, 0)
            return missing
        columns = self._columns
        found: Ints = np.maximum(columns["minimum"] - columns["minimum_before"] - self.total, 0) * columns["last"]
        return found

    def _excess(self, limit: Limit) -> Ints:
        """What is above the cap, negative; where pieces of a bill share it, above what the earlier ones left of it.

        A piece below zero makes room again: what was taken off before is then charged, so that all of them together
        come to the cap.
        """
        if "cap" not in self._columns:
            above: Ints = np.minimum(self._amount(limit) - self.total, 0)
            return above
        room = self._columns["cap"] - self._columns["cap_before"]
        found: Ints = np.minimum(room - self.total, 0) - np.minimum(room, 0)
        return found

    def _amount(self, limit: Limit) -> Ints:
        once = int(limit.amount.scaleb(self._plan.digits))
        if limit.per == "bill":
            return self.total * 0 + once
        if limit.per == "day":
            return self._columns["days"] * once
        return _half_up(self._columns["months"] * once, MONTH)


def _half_up(exact: Ints, minor: int) -> Ints:
    rounded: Ints = (exact + minor // 2) // minor
    return rounded


def _nearest(product: Ints, whole: int) -> Ints:
    """`product` / `whole`, halves away from zero, so that a credit mirrors its charge."""
    sign = np.where(product < 0, -1, 1).astype(product.dtype)
    rounded: Ints = sign * ((2 * product * sign + whole) // (2 * whole))
    return rounded
