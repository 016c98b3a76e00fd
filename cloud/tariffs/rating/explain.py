"""What a rated account reads: its lines in units that a person can multiply, and their sum."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from cloud.kit.money import from_minor, part_of, share_out, to_minor
from cloud.tariffs.model.hours import ALL
from cloud.tariffs.rating.engine import Rated
from cloud.tariffs.rating.plan import SHARE_PLACES, DirectKind, Plan, RelativeKind, ShareSlot, Slot

_NONE = Decimal(0)
_MINIMUM, _ROUNDING = "minimum", "rounding"
"""Components of lines that belong to no component of the tariff."""

LineKind = Literal[
    "usage", "fixed", "area", "demand", "capacity", "rounding", "power_factor", "surcharge", "minimum", "cap", "tax"
]

_KINDS: dict[DirectKind | RelativeKind, LineKind] = {
    "usage": "usage",
    "flat": "fixed",
    "area": "area",
    "fixed": "fixed",
    "demand": "demand",
    "capacity": "capacity",
    "power_factor": "power_factor",
    "surcharge": "surcharge",
    "tax": "tax",
}


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` × `price` = `amount`, rounded half up.

    Lines of rounding, minimum and cap have only an amount. Of a percentage the quantity is an amount of money, `unit`
    the currency, and the price a share (0.13 for 13 %). `tier` counts from 1, 0 is the free quantity; it is None where
    the tariff has no tiers; `time_period` and `season` likewise.
    """

    kind: LineKind
    component: str
    tier: int | None
    time_period: str | None
    quantity: Decimal | None
    unit: str | None
    price: Decimal | None
    amount: Decimal
    season: str | None = None


@dataclass(frozen=True, slots=True)
class ContainedTax:
    """A tax that the total contains: `amount` of `base` at `share` (0.13 for 13 %).

    The base is what is paid of the components `of`, each with its share of what a minimum adds and a cap takes off;
    none named: of all but taxes.
    """

    component: str
    base: Decimal
    share: Decimal
    amount: Decimal
    of: tuple[str, ...] = ()

    def on(self, base: Decimal, digits: int) -> "ContainedTax":
        """The same tax of another base: base × share ÷ (1 + share), halves away from zero."""
        return replace(self, base=base, amount=part_of(base, self.share, 1 + self.share, digits))


def explain(rated: Rated, account: int) -> tuple[Line, ...]:
    """The lines of one account; slots without quantity are left out. They add up to its total exactly."""
    return tuple(_Account(rated, account).lines())


def total(rated: Rated, account: int) -> Decimal:
    """The amount of one account."""
    return from_minor(int(rated.totals[account]), rated.plan.digits)


def exact(rated: Rated, account: int) -> Decimal:
    """What one account's usage and standing charges cost before rounding: cumulative rounding carries it on."""
    return from_minor(int(rated.exact[account]), rated.plan.places)


def unlimited(rated: Rated, account: int) -> Decimal:
    """The amount of one account before minimum, cap and taxes."""
    return from_minor(int(rated.unlimited[account]), rated.plan.digits)


def lacking(rated: Rated, account: int) -> Decimal:
    """What one account was charged to reach the minimum."""
    return from_minor(int(rated.minimum[account]), rated.plan.digits)


def contained_taxes(rated: Rated, account: int) -> tuple[ContainedTax, ...]:
    """The taxes that prices include, which are no lines of their own. Components bear what minimum and cap do."""
    digits = rated.plan.digits
    found = tuple(
        ContainedTax(
            slot.component,
            from_minor(int(rated.bases[account][number]), digits),
            _share(slot),
            from_minor(int(rated.share_amounts[account][number]), digits),
            slot.of,
        )
        for number, slot in enumerate(rated.plan.shares)
        if slot.inclusive
    )
    cap = int(rated.cap[account])
    if not (cap or rated.minimum[account]) or not any(tax.of for tax in found):
        return found
    left = paid(costs(explain(rated, account)), from_minor(cap, digits), found, digits)
    return tuple(
        tax.on(sum((left.get(one, _NONE) for one in tax.of), _NONE), digits) if tax.of else tax for tax in found
    )


def costs(lines: Iterable[Line]) -> dict[str, Decimal]:
    """What the components cost that are no taxes, before a cap; what a minimum adds stands for itself."""
    found: dict[str, Decimal] = {}
    for line in lines:
        if line.kind not in ("tax", "cap"):
            found[line.component] = found.get(line.component, _NONE) + line.amount
    return found


def paid(
    cost: Mapping[str, Decimal], cap: Decimal, contained: Iterable[ContainedTax], digits: int
) -> dict[str, Decimal]:
    """What is paid of each component: what it costs, with its share of what a minimum adds and a cap takes off.

    What a minimum adds is paid for the same supply: each component bears it by what it costs (largest remainder). Where
    none costs anything, the first that a tax of `contained` names does.
    """
    added = cost.get(_MINIMUM, _NONE)
    left = {one: amount for one, amount in cost.items() if one != _MINIMUM}
    weights = {one: max(to_minor(amount, digits), 0) for one, amount in left.items() if one != _ROUNDING}
    if not any(weights.values()):
        weights = dict.fromkeys([one for tax in contained for one in tax.of][:1], 1)
    for one, part in zip(weights, share_out(to_minor(added, digits), list(weights.values())), strict=True):
        left[one] = left.get(one, _NONE) + from_minor(part, digits)
    return under_cap(left, cap, digits)


def under_cap(cost: Mapping[str, Decimal], cap: Decimal, digits: int) -> dict[str, Decimal]:
    """What is paid of each component where a cap adds `cap` to all of them together: usually it takes something off.

    Each bears its share, by what it costs (largest remainder); none falls below zero by it.
    """
    minor = {one: to_minor(amount, digits) for one, amount in cost.items()}
    weights = [max(amount, 0) for amount in minor.values()]
    if not any(weights):
        return dict(cost)
    borne = share_out(min(-to_minor(cap, digits), sum(weights)), weights)
    return {one: from_minor(amount - part, digits) for (one, amount), part in zip(minor.items(), borne, strict=True)}


class _Account:
    def __init__(self, rated: Rated, account: int) -> None:
        self._rated = rated
        self._plan = rated.plan
        self._n = account

    def lines(self) -> Iterator[Line]:
        rated, n = self._rated, self._n
        for slot, quantity, amount in zip(self._plan.slots, rated.quantities[n], rated.amounts[n], strict=True):
            if quantity:
                yield _direct_line(self._plan, slot, int(quantity), int(amount))
        yield from self._alone("rounding", int(rated.rounding[n]))
        yield from self._shares(taxes=False)
        yield from self._alone("minimum", int(rated.minimum[n]))
        yield from self._alone("cap", int(rated.cap[n]))
        yield from self._shares(taxes=True)

    def _alone(self, kind: Literal["rounding", "minimum", "cap"], amount: int) -> Iterator[Line]:
        if amount:
            yield Line(kind, kind, None, None, None, None, None, from_minor(amount, self._plan.digits))

    def _shares(self, *, taxes: bool) -> Iterator[Line]:
        digits = self._plan.digits
        for number, slot in enumerate(self._plan.shares):
            base = int(self._rated.bases[self._n][number])
            if slot.inclusive or (slot.kind == "tax") != taxes or not base or not slot.share:
                continue
            amount = from_minor(int(self._rated.share_amounts[self._n][number]), digits)
            base_amount, currency = from_minor(base, digits), self._plan.content.currency
            yield Line(_KINDS[slot.kind], slot.component, None, None, base_amount, currency, _share(slot), amount)


def _direct_line(plan: Plan, slot: Slot, quantity: int, amount: int) -> Line:
    tiered = slot.tier is not None and bool(plan.bounds)
    code = ALL if slot.period is None else plan.content.period_codes[slot.period]
    return Line(
        kind=_KINDS[slot.kind],
        component=slot.component,
        tier=slot.tier + plan.first_tier if tiered and slot.tier is not None else None,
        time_period=None if code == ALL else code,
        quantity=_quantity(slot, quantity),
        unit=slot.unit,
        price=shortest(from_minor(slot.price, plan.price_places)),
        amount=from_minor(amount, plan.digits),
        season=plan.season if slot.kind == "usage" else None,
    )


def _quantity(slot: Slot, quantity: int) -> Decimal:
    """Usage with all decimals of its unit; of what is multiplied with months only those that say something."""
    exact = from_minor(quantity, slot.exponent)
    return exact if slot.kind == "usage" else shortest(exact)


def _share(slot: ShareSlot) -> Decimal:
    return shortest(from_minor(slot.share, SHARE_PLACES))


def shortest(number: Decimal) -> Decimal:
    """Without trailing zeros and never in exponent form: 0.48830000 reads 0.4883, 5.00000000 reads 5."""
    return Decimal(format(number.normalize(), "f"))
