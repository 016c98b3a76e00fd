"""A tariff prepared for rating: the slots every account is charged by, and prices and bounds as integers."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.kit.money import minor_digits
from cloud.tariffs.model.components import (
    AreaComponent,
    CapacityComponent,
    DemandComponent,
    DirectComponent,
    EnergyComponent,
    FixedComponent,
    PowerFactorComponent,
    RelativeComponent,
    StandingComponent,
)
from cloud.tariffs.model.tariff import TariffContent, places
from cloud.tariffs.model.values import PERCENT_PLACES, UNIT_EXPONENTS

AREA_EXPONENT = 2
LOAD_EXPONENT = 3
"""Demand in W and capacity in VA, of kW and kVA."""

MONTH_EXPONENT = 6
"""Months in millionths: see `month_shares`."""

SHARE_PLACES = 2 + PERCENT_PLACES

DirectKind = Literal["usage", "flat", "area", "fixed", "demand", "capacity"]
RelativeKind = Literal["power_factor", "surcharge", "tax"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One line a bill may have: quantity × price.

        `period` and `tier` (from 0) index the matrix of a usage slot; quantities are integers of 10^-exponent `unit`;
        `price` is in 10^-price_places (see `Plan`) of the currency. `times` is how many integers of the quantity make
    one of usage (a factor such as 0.9). A slot with `single` is for accounts without tiers. `per` says which length of
    the period it is multiplied with: days, months by their days, or months begun.
    """

    kind: DirectKind
    component: str
    unit: str
    exponent: int
    price: int
    period: int | None = None
    tier: int | None = None
    per: Literal["day", "month", "begun"] | None = None
    times: int = 1
    single: bool = False


@dataclass(frozen=True, slots=True)
class ShareSlot:
    """One line that is a share of what stands before it: base × share.

    `share` is in 10^-SHARE_PLACES; `of` names components, none: all before it. `at_least` and `below` are bounds of
    the power factor in hundredths between which it holds. An `inclusive` tax is told, not added.
    """

    kind: RelativeKind
    component: str
    share: int
    of: tuple[str, ...]
    at_least: int = 0
    below: int = 101
    inclusive: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What rating needs to know of a tariff, once for all accounts.

    Exact amounts are integers of 10^-`places` of the currency, rounded amounts of 10^-`digits`. `bounds` are inclusive,
    the free quantity first where there is one; `lifts` is how often the household rule moves each of them.
    """

    content: TariffContent
    season: str | None
    slots: tuple[Slot, ...]
    shares: tuple[ShareSlot, ...]
    bounds: tuple[int, ...]
    lifts: tuple[int, ...]
    exponent: int
    digits: int
    price_places: int
    places: int

    @property
    def minor(self) -> int:
        """The smallest unit of the currency as an exact amount."""
        return int(10 ** (self.places - self.digits))

    @property
    def first_tier(self) -> int:
        """The number people give to the first tier: 1, or 0 where it is the free quantity."""
        return 1 if self.content.tiers.free is None else 0

    @property
    def package(self) -> int | None:
        """Size of a package in the base unit; None unless packages are counted."""
        size = self.content.tiers.package
        return None if size is None else _scaled(size, self.exponent)

    def weight(self, slot: Slot) -> int:
        """Exact amount of one integer unit of the slot's quantity."""
        return int(slot.price * 10 ** (self.places - self.price_places - slot.exponent))

    @property
    def raise_per_step(self) -> int:
        """How far one step of the household rule moves a bound, for the tier window; 0 without a rule."""
        rule = self.content.household
        if rule is None:
            return 0
        times = 12 if rule.per == "month" and self.content.tiers.window.kind == "year" else 1
        return _scaled(rule.raise_bounds_by, self.exponent) * times

    def household_steps(self, persons: int) -> int:
        """How many steps of the household rule `persons` are given."""
        rule = self.content.household
        return 0 if rule is None else rule.steps(persons)

    def bounds_for(self, steps: int, covered: int = 1, whole: int = 1) -> tuple[int, ...]:
        """Inclusive upper bounds of one account, in integers of 10^-exponent of the unit.

        `steps` of the household rule are counted in parts of the window, of which there are `whole`; the account is
        there for `covered` of them. Rounded half up.
        """
        raised = self.raise_per_step * steps
        return tuple(
            (2 * (bound * covered + lift * raised) + whole) // (2 * whole)
            for bound, lift in zip(self.bounds, self.lifts, strict=True)
        )


def plan(content: TariffContent, season: str | None = None, least_places: int = 0) -> Plan:
    """Prepares a tariff for a season of it, the first when none is named.

    Exact amounts get `least_places` decimals or more: as many as a carry has that came from another version.
    """
    exponent = UNIT_EXPONENTS.get(content.unit or "", 0)
    season = season or content.season_codes[0]
    digits = minor_digits(content.currency)
    prices = [price for part in content.direct for one in content.season_codes for price in _prices(part, one)]
    price_places = max(digits, *map(places, prices))
    slots = tuple(slot for part in content.direct for slot in _Slots(content, season, exponent, price_places).of(part))
    free = content.tiers.free
    bounds = tuple(_scaled(bound + (free or 0), exponent) for bound in content.tiers.bounds)
    rule = content.household
    lifts = tuple(sum(1 for tier in rule.tiers if tier <= number) if rule else 0 for number in _numbers(content))
    return Plan(
        content=content,
        season=season,
        slots=slots,
        shares=tuple(_shares(content)),
        bounds=bounds if free is None else (_scaled(free, exponent), *bounds),
        lifts=lifts if free is None else (0, *lifts),
        exponent=exponent,
        digits=digits,
        price_places=price_places,
        places=max(least_places, price_places + max(slot.exponent for slot in slots)),
    )


def _numbers(content: TariffContent) -> range:
    return range(1, len(content.tiers.bounds) + 1)


def _prices(part: DirectComponent, season: str | None) -> Iterator[Decimal]:
    if not isinstance(part, EnergyComponent):
        yield part.price
        return
    for row in part.rows(season).values():
        yield from row
    yield from (part.single_prices(season) or {}).values()
    yield from part.flat or ()


@dataclass(frozen=True, slots=True)
class _Slots:
    content: TariffContent
    season: str | None
    exponent: int
    price_places: int

    def of(self, part: DirectComponent) -> list[Slot]:
        match part:
            case EnergyComponent():
                return [*self._usage(part), *self._single(part), *self._flat(part)]
            case FixedComponent():
                if part.per == "day":
                    return [Slot("fixed", part.code, part.per, 0, self._price(part.price), per="day")]
                return [self._standing("fixed", part, part.per, 0)]
            case AreaComponent():
                return [self._standing("area", part, "m2", AREA_EXPONENT)]
            case DemandComponent():
                return [self._standing("demand", part, "kW", LOAD_EXPONENT)]
            case CapacityComponent():
                return [self._standing("capacity", part, "kVA", LOAD_EXPONENT)]

    def _standing(self, kind: DirectKind, part: StandingComponent, unit: str, exponent: int) -> Slot:
        """So much a month of what the account has: its quantity is multiplied with the months."""
        per: Literal["month", "begun"] = "month" if part.partial == "by_day" else "begun"
        return Slot(kind, part.code, unit, exponent + MONTH_EXPONENT, self._price(part.price), per=per)

    def _usage(self, part: EnergyComponent) -> Iterator[Slot]:
        """Period by period and tier by tier; in package mode the quantity is a number of packages."""
        packages = self.content.tiers.mode == "package"
        unit = "package" if packages else self.content.unit or ""
        exponent, times = self._factor(part)
        for period, code in enumerate(self.content.period_codes):
            row = part.rows(self.season)[code]
            free = () if self.content.tiers.free is None else (Decimal(0),)
            for tier, price in enumerate((*free, *row)):
                yield Slot(
                    "usage",
                    part.code,
                    unit,
                    0 if packages else exponent,
                    self._price(price),
                    period=period,
                    tier=tier,
                    times=times,
                )

    def _single(self, part: EnergyComponent) -> Iterator[Slot]:
        prices = part.single_prices(self.season)
        if prices is None:
            return
        exponent, times = self._factor(part)
        for period, code in enumerate(self.content.period_codes):
            price = self._price(prices[code])
            unit = self.content.unit or ""
            yield Slot("usage", part.code, unit, exponent, price, period=period, times=times, single=True)

    def _flat(self, part: EnergyComponent) -> Iterator[Slot]:
        for tier, amount in enumerate(part.flat or ()):
            yield Slot("flat", part.code, "bill", 0, self._price(amount), tier=tier)

    def _factor(self, part: EnergyComponent) -> tuple[int, int]:
        """Decimals of the billed quantity, and how many of its integers make one of usage."""
        more = places(part.factor)
        return self.exponent + more, _scaled(part.factor, more)

    def _price(self, price: Decimal) -> int:
        return _scaled(price, self.price_places)


def _shares(content: TariffContent) -> Iterator[ShareSlot]:
    for part in content.components:
        if isinstance(part, RelativeComponent):
            yield from _share_slots(part)


def _share_slots(part: RelativeComponent) -> Iterator[ShareSlot]:
    if isinstance(part, PowerFactorComponent):
        below = 101
        for step in part.steps:
            at_least = int(step.at_least * 100)
            share = _scaled(step.percent, PERCENT_PLACES)
            yield ShareSlot("power_factor", part.code, share, part.of, at_least=at_least, below=below)
            below = at_least
        return
    inclusive = part.kind == "tax" and part.inclusive
    yield ShareSlot(part.kind, part.code, _scaled(part.percent, PERCENT_PLACES), part.of, inclusive=inclusive)


def _scaled(value: Decimal, exponent: int) -> int:
    return int(value.scaleb(exponent))
