"""A tariff prepared for rating: the slots every account is charged by, and prices and bounds as integers."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.kit.money import minor_digits
from cloud.tariffs.models import (
    PRICE_PLACES,
    UNIT_EXPONENTS,
    AreaComponent,
    EnergyComponent,
    FixedComponent,
    TariffContent,
)

AREA_EXPONENT = 2

SlotKind = Literal["usage", "flat", "area", "fixed"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One line a bill may have: quantity × price.

    `period` and `tier` (from 0) index the matrix of a usage slot; quantities are integers of 10^-exponent `unit`;
    `price` is in 10^-8 of the currency.
    """

    kind: SlotKind
    component: str
    unit: str
    exponent: int
    price: int
    period: int | None = None
    tier: int | None = None
    per: Literal["day", "month"] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What rating needs to know of a tariff, once for all accounts.

    Exact amounts are integers of 10^-`places` of the currency, rounded amounts of 10^-`digits`.
    """

    content: TariffContent
    slots: tuple[Slot, ...]
    bounds: tuple[int, ...]
    exponent: int
    digits: int
    places: int

    @property
    def minor(self) -> int:
        """The smallest unit of the currency as an exact amount."""
        return int(10 ** (self.places - self.digits))

    def weight(self, slot: Slot) -> int:
        """Exact amount of one integer unit of the slot's quantity."""
        return int(slot.price * 10 ** (self.places - PRICE_PLACES - slot.exponent))

    @property
    def raise_per_step(self) -> int:
        """How far the household rule lifts every bound at each step, for the tier window; 0 without a rule."""
        rule = self.content.household
        if rule is None:
            return 0
        times = 12 if rule.per == "month" and self.content.tiers.window.kind == "year" else 1
        return _scaled(rule.raise_bounds_by, self.exponent) * times

    def bounds_for(self, persons: int) -> tuple[int, ...]:
        """Inclusive upper bounds of one household, in integers of 10^-exponent of the unit."""
        rule = self.content.household
        if rule is None:
            return self.bounds
        over = max(persons - rule.from_persons + 1, 0)
        steps = over if rule.each == "extra_person" else min(over, 1)
        return tuple(bound + steps * self.raise_per_step for bound in self.bounds)


def plan(content: TariffContent) -> Plan:
    """Prepares a tariff."""
    exponent = UNIT_EXPONENTS.get(content.unit or "", 0)
    slots = tuple(slot for part in content.components for slot in _slots(content, part, exponent))
    return Plan(
        content=content,
        slots=slots,
        bounds=tuple(_scaled(bound, exponent) for bound in content.tiers.bounds),
        exponent=exponent,
        digits=minor_digits(content.currency),
        places=PRICE_PLACES + max(slot.exponent for slot in slots),
    )


def _slots(content: TariffContent, part: EnergyComponent | FixedComponent | AreaComponent, exponent: int) -> list[Slot]:
    match part:
        case EnergyComponent():
            usage = [
                Slot("usage", part.code, content.unit or "", exponent, _price(price), period=period, tier=tier)
                for period, code in enumerate(content.period_codes)
                for tier, price in enumerate(part.prices[code])
            ]
            flat = [
                Slot("flat", part.code, "bill", 0, _price(amount), tier=tier)
                for tier, amount in enumerate(part.flat or ())
            ]
            return usage + flat
        case FixedComponent():
            return [Slot("fixed", part.code, part.per, 0, _price(part.price), per=part.per)]
        case AreaComponent():
            return [Slot("area", part.code, "m2", AREA_EXPONENT, _price(part.price), per=part.per)]


def _price(price: Decimal) -> int:
    return _scaled(price, PRICE_PLACES)


def _scaled(value: Decimal, exponent: int) -> int:
    return int(value.scaleb(exponent))
