"""What a rated account reads: its lines in units that a person can multiply, and their sum."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.kit.money import from_minor
from cloud.tariffs.models import ALL, PRICE_PLACES
from cloud.tariffs.plan import Plan, Slot
from cloud.tariffs.rating import Rated

LineKind = Literal["usage", "fixed", "area", "rounding"]


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` × `price` = `amount`, rounded half up; the rounding line has only an amount.

    `tier` counts from 1 and is None where the tariff has no tiers; `time_period` likewise without periods.
    """

    kind: LineKind
    component: str
    tier: int | None
    time_period: str | None
    quantity: Decimal | None
    unit: str | None
    price: Decimal | None
    amount: Decimal


def explain(rated: Rated, account: int) -> tuple[Line, ...]:
    """The lines of one account; slots without quantity are left out. They add up to its total exactly."""
    plan = rated.plan
    lines = [
        _line(plan, slot, int(quantity), int(amount))
        for slot, quantity, amount in zip(plan.slots, rated.quantities[account], rated.amounts[account], strict=True)
        if quantity
    ]
    rounding = int(rated.rounding[account])
    if rounding:
        lines.append(Line("rounding", "rounding", None, None, None, None, None, from_minor(rounding, plan.digits)))
    return tuple(lines)


def total(rated: Rated, account: int) -> Decimal:
    """The amount of one account."""
    return from_minor(int(rated.totals[account]), rated.plan.digits)


def exact(rated: Rated, account: int) -> Decimal:
    """The amount of one account before it was rounded: what cumulative rounding carries on."""
    return from_minor(int(rated.exact[account]), rated.plan.places)


def _line(plan: Plan, slot: Slot, quantity: int, amount: int) -> Line:
    tiered = slot.tier is not None and bool(plan.bounds)
    code = ALL if slot.period is None else plan.content.period_codes[slot.period]
    return Line(
        kind="fixed" if slot.kind == "flat" else slot.kind,
        component=slot.component,
        tier=slot.tier + 1 if tiered and slot.tier is not None else None,
        time_period=None if code == ALL else code,
        quantity=from_minor(quantity, slot.exponent),
        unit=slot.unit,
        price=_shortest(from_minor(slot.price, PRICE_PLACES)),
        amount=from_minor(amount, plan.digits),
    )


def _shortest(price: Decimal) -> Decimal:
    """Without trailing zeros and never in exponent form: 0.48830000 reads 0.4883, 5.00000000 reads 5."""
    return Decimal(format(price.normalize(), "f"))
