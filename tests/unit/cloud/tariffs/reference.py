"""The same tariff rated the obvious way: one account, one loop, Decimal. What the engine must equal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from cloud.kit.money import minor_digits, round_half_up
from cloud.tariffs.model.components import (
    AreaComponent,
    CapacityComponent,
    DemandComponent,
    DirectComponent,
    EnergyComponent,
    FixedComponent,
    PowerFactorComponent,
    RelativeComponent,
)
from cloud.tariffs.model.hours import ALL
from cloud.tariffs.model.tariff import Limit, TariffContent
from cloud.tariffs.model.tiers import HouseholdRule
from cloud.tariffs.model.values import UNIT_EXPONENTS

INFINITE = Decimal(10) ** 30
NOTHING = Decimal(0)


@dataclass(frozen=True)
class Shared:
    """A minimum or cap that parts of a bill share; `before`: what earlier ones of them cost, the cap disregarded."""

    amount: Decimal
    before: Decimal
    last: bool


@dataclass(frozen=True)
class Account:
    """One account in display units (kWh, m³, m², kW, months). `in_time`: usage by period in the order of time.

    `steps` of the household rule over the `whole` parts of its window; None: `persons` are there in all `covered`.
    `minimum` and `cap`: limits of a bill of which this is a part; None: those of the tariff are its own.
    """

    usage: dict[str, Decimal]
    before: Decimal = NOTHING
    persons: int = 0
    covered: int = 1
    whole: int = 1
    single: bool = False
    area: Decimal = NOTHING
    demand: Decimal = NOTHING
    capacity: Decimal = NOTHING
    power_factor: Decimal = Decimal(1)
    days: int = 0
    months: Decimal = NOTHING
    begun: Decimal = NOTHING
    carry: Decimal | None = None
    in_time: tuple[tuple[str, Decimal], ...] | None = None
    steps: int | None = None
    minimum: Shared | None = None
    cap: Shared | None = None


@dataclass
class Result:
    """Total, unrounded total of the direct components, and what each component, period and tier (from 1) costs.

    `alone` is the cost before limits and taxes, `lifted` that with what the minimum adds.
    """

    total: Decimal = NOTHING
    alone: Decimal = NOTHING
    lifted: Decimal = NOTHING
    exact: Decimal = NOTHING
    contained: Decimal = NOTHING
    lines: list[tuple[str, str | None, int | None, Decimal, Decimal]] = field(default_factory=list)
    """component, period, tier, quantity, exact amount"""
    shares: list[tuple[str, Decimal, Decimal]] = field(default_factory=list)
    """component, base, amount"""


def rate(content: TariffContent, account: Account, season: str | None = None) -> Result:
    """Rates one account."""
    with localcontext() as context:
        context.prec = 60
        return _rate(content, account, season)


def _rate(content: TariffContent, account: Account, season: str | None) -> Result:
    result = Result()
    bounds = tier_bounds(content, account)
    split = allocate(content, account, bounds) if content.energy else {}
    for part in content.direct:
        result.lines += _direct(content, account, part, season, split, bounds)
    result.lines = [line for line in result.lines if line[3]]
    result.exact = sum((line[4] for line in result.lines), NOTHING)
    result.total = _rounded_total(content, account, result, season)
    _shares(content, account, result)
    return result


def _direct(
    content: TariffContent,
    account: Account,
    part: DirectComponent,
    season: str | None,
    split: dict[tuple[str, int], Decimal],
    bounds: list[Decimal],
) -> list[tuple[str, str | None, int | None, Decimal, Decimal]]:
    match part:
        case EnergyComponent():
            return _energy(content, account, part, season, split, bounds)
        case FixedComponent():
            of_month = account.months if part.partial == "by_day" else account.begun
            quantity = Decimal(account.days) if part.per == "day" else of_month
        case AreaComponent():
            quantity = account.area * (account.months if part.partial == "by_day" else account.begun)
        case DemandComponent():
            quantity = account.demand * (account.months if part.partial == "by_day" else account.begun)
        case CapacityComponent():
            quantity = account.capacity * (account.months if part.partial == "by_day" else account.begun)
    return [(part.code, None, None, quantity, quantity * part.price)]


def _energy(
    content: TariffContent,
    account: Account,
    part: EnergyComponent,
    season: str | None,
    split: dict[tuple[str, int], Decimal],
    bounds: list[Decimal],
) -> list[tuple[str, str | None, int | None, Decimal, Decimal]]:
    single = part.single_prices(season)
    if account.single and single is not None:
        quantities = {code: account.usage[code] * part.factor for code in content.period_codes}
        return [(part.code, code, None, used, used * single[code]) for code, used in quantities.items()]
    rows, free = part.rows(season), content.tiers.free is not None
    lines: list[tuple[str, str | None, int | None, Decimal, Decimal]] = []
    for (period, tier), quantity in split.items():
        prices = (NOTHING, *rows[period]) if free else rows[period]
        billed = quantity * part.factor
        lines.append((part.code, period, tier + (0 if free else 1), billed, billed * prices[tier]))
    used = sum(account.usage.values(), NOTHING)
    if part.flat and used > 0:
        lines.append((part.code, None, None, Decimal(1), part.flat[volume_tier(bounds, used)]))
    return lines


def tier_bounds(content: TariffContent, account: Account) -> list[Decimal]:
    """Inclusive upper bounds; the last tier has none, here a very large number."""
    base = Decimal(1).scaleb(-UNIT_EXPONENTS.get(content.unit or "", 0))
    free = content.tiers.free
    share = Decimal(account.covered)
    bounds = [] if free is None else [(free * share / account.whole)]
    rule = content.household
    for number, bound in enumerate(content.tiers.bounds, start=1):
        lift = NOTHING
        if rule is not None:
            steps = times_of(rule, account.persons) * account.covered if account.steps is None else account.steps
            months = 12 if rule.per == "month" and content.tiers.window.kind == "year" else 1
            lift = rule.raise_bounds_by * steps * months * len([tier for tier in rule.tiers if tier <= number])
        bounds.append(((bound + (free or 0)) * share + lift) / account.whole)
    return [bound.quantize(base, rounding=ROUND_HALF_UP) for bound in bounds] + [INFINITE]


def times_of(rule: HouseholdRule, persons: int) -> int:
    """How many times a household of so many is given the rule."""
    if persons < rule.from_persons:
        return 0
    return persons - rule.from_persons + 1 if rule.each == "extra_person" else 1


def volume_tier(bounds: list[Decimal], used: Decimal) -> int:
    """The tier in which the whole usage falls."""
    return next(tier for tier, bound in enumerate(bounds) if used <= bound)


def fill(bounds: list[Decimal], start: Decimal, amount: Decimal) -> list[Decimal]:
    """How much of the `amount` used after `start` lands in each tier."""
    result, lower = [], NOTHING
    for upper in bounds:
        result.append(max(NOTHING, min(start + amount, upper) - max(start, lower)))
        lower = upper
    return result


def begun_packages(size: Decimal, bounds: list[Decimal], start: Decimal, amount: Decimal) -> list[Decimal]:
    """Packages of each tier that are begun by the `amount` used after `start`."""
    after, before = fill(bounds, NOTHING, start + amount), fill(bounds, NOTHING, start)
    return [Decimal(_ceil(late / size) - _ceil(early / size)) for late, early in zip(after, before, strict=True)]


def _ceil(number: Decimal) -> int:
    return -int((-number).to_integral_value(rounding=ROUND_FLOOR))


def allocate(content: TariffContent, account: Account, bounds: list[Decimal]) -> dict[tuple[str, int], Decimal]:
    """Usage by period and tier."""
    used = sum(account.usage.values(), NOTHING)
    if content.tiers.mode == "volume":
        return {(period, volume_tier(bounds, used)): quantity for period, quantity in account.usage.items()}
    if content.tiers.package is not None:
        begun = begun_packages(content.tiers.package, bounds, account.before, used)
        return {(ALL, tier): packages for tier, packages in enumerate(begun)}
    if content.periods is not None and content.periods.allocation.method == "proportional":
        return _proportional(content, account, fill(bounds, account.before, used))
    order: list[tuple[str, Decimal]] = [(code, account.usage[code]) for code in content.period_codes]
    if content.periods is not None and content.periods.allocation.method == "priority":
        order = [(code, account.usage[code]) for code in content.periods.allocation.order]
    if content.periods is not None and content.periods.allocation.method == "chronological":
        assert account.in_time is not None
        order = list(account.in_time)
    result = {(code, tier): NOTHING for code in content.period_codes for tier in range(len(bounds))}
    position = account.before
    for period, amount in order:
        for tier, quantity in enumerate(fill(bounds, position, amount)):
            result[period, tier] += quantity
        position += amount
    return result


def _proportional(content: TariffContent, account: Account, taken: list[Decimal]) -> dict[tuple[str, int], Decimal]:
    """Each tier by what is left of the periods, in whole base units: floor of the running share, periods in order."""
    base = Decimal(1).scaleb(-UNIT_EXPONENTS[content.unit or ""])
    left = dict(account.usage)
    result: dict[tuple[str, int], Decimal] = {}
    for tier, amount in enumerate(taken):
        whole, running, given = sum(left.values(), NOTHING), NOTHING, NOTHING
        for period in content.period_codes:
            running += left[period]
            # Multiply before dividing: the quotient of whole base units must be exact enough for its floor.
            up_to = Decimal(int(amount / base) * int(running / base) // int(whole / base)) * base if whole else base * 0
            assert up_to == up_to.quantize(base, rounding=ROUND_FLOOR)
            result[period, tier] = up_to - given
            given = up_to
        for period in content.period_codes:
            left[period] -= result[period, tier]
    return result


def _rounded_total(content: TariffContent, account: Account, result: Result, season: str | None) -> Decimal:
    digits = minor_digits(content.currency)
    if content.rounding.level == "line":
        return sum((round_half_up(line[4], digits) for line in result.lines), NOTHING)
    if content.rounding.level == "component":
        codes = {line[0] for line in result.lines}
        return sum((_component(content, result, code) for code in sorted(codes)), NOTHING)
    if not content.rounding.cumulative:
        return round_half_up(result.exact, digits)
    carry = _carry(content, account, season)
    return round_half_up(carry + result.exact, digits) - round_half_up(carry, digits)


def _component(content: TariffContent, result: Result, code: str) -> Decimal:
    """What a component costs, rounded by itself."""
    direct = sum((line[4] for line in result.lines if line[0] == code), NOTHING)
    shares = sum((amount for component, _, amount in result.shares if component == code), NOTHING)
    return round_half_up(direct, minor_digits(content.currency)) + shares


def _carry(content: TariffContent, account: Account, season: str | None) -> Decimal:
    """What the window has cost before this bill."""
    if account.carry is not None:
        return account.carry
    if content.periods is not None or content.tiers.mode == "volume":
        return NOTHING
    earlier = Account(
        usage={ALL: account.before},
        persons=account.persons,
        covered=account.covered,
        whole=account.whole,
        single=account.single,
        steps=account.steps,
    )
    bounds = tier_bounds(content, account)
    split = allocate(content, earlier, bounds)
    lines = [line for part in content.energy for line in _energy(content, earlier, part, season, split, bounds)]
    return sum((line[4] for line in lines), NOTHING)


def _shares(content: TariffContent, account: Account, result: Result) -> None:
    digits = minor_digits(content.currency)
    for part in content.components:
        if isinstance(part, RelativeComponent) and part.kind != "tax":
            _share(content, account, result, part, result.total)
    result.alone = result.total
    if content.minimum is not None:
        least = account.minimum or Shared(round_half_up(_limit(content.minimum, account), digits), NOTHING, last=True)
        if least.last and least.before + result.alone < least.amount:
            result.total = least.amount - least.before
    result.lifted = result.total
    if content.cap is not None:
        most = account.cap or Shared(round_half_up(_limit(content.cap, account), digits), NOTHING, last=True)
        result.total = min(most.before + result.lifted, most.amount) - min(most.before, most.amount)
    untaxed = result.total
    paid = None
    if not result.alone == result.lifted == result.total:
        paid = _paid_of_components(content, result, digits)
    for part in content.components:
        if part.kind == "tax":
            _share(content, account, result, part, untaxed, paid)


def _paid_of_components(content: TariffContent, result: Result, digits: int) -> dict[str, Decimal]:
    """What is paid of each component: as its lines are printed, its share of what the minimum adds to them all, and
    less its share of what the cap takes off.
    """
    printed: dict[str, Decimal] = {}
    for component, *_, amount in result.lines:
        printed[component] = printed.get(component, NOTHING) + round_half_up(amount, digits)
    shares = sum((amount for _, _, amount in result.shares), NOTHING)
    rounding = result.alone - shares - sum(printed.values(), NOTHING)
    named = [code for part in content.components if part.kind == "tax" and part.inclusive for code in part.of]
    if rounding:
        printed["rounding"] = rounding
    for component, _, amount in result.shares:
        printed[component] = printed.get(component, NOTHING) + amount
    added = result.lifted - result.alone
    if added:
        there = [component for component, amount in printed.items() if amount > 0 and component != "rounding"]
        if there:
            for component, part in _by_remainder(added, {one: printed[one] for one in there}, digits).items():
                printed[component] += part
        elif named:
            printed[named[0]] = printed.get(named[0], NOTHING) + added
    positive = {component: amount for component, amount in printed.items() if amount > 0}
    off = min(result.lifted - result.total, sum(positive.values(), NOTHING))
    taken = _by_remainder(off, positive, digits) if positive else {}
    return {one: amount - taken.get(one, NOTHING) for one, amount in printed.items()}


def _by_remainder(amount: Decimal, weights: Mapping[str, Decimal], digits: int) -> dict[str, Decimal]:
    """To the cent below, then a cent each to the largest remainders."""
    whole, cent = sum(map(Fraction, weights.values()), Fraction(0)), Fraction(1, 10**digits)
    exact = {component: Fraction(amount) * Fraction(cost) / whole / cent for component, cost in weights.items()}
    given = {component: math.floor(part) for component, part in exact.items()}
    left = int(Fraction(amount) / cent) - sum(given.values())
    for component in sorted(exact, key=lambda one: given[one] - exact[one])[:left]:
        given[component] += 1
    return {component: Decimal(part).scaleb(-digits) for component, part in given.items()}


def _share(
    content: TariffContent,
    account: Account,
    result: Result,
    part: RelativeComponent,
    everything: Decimal,
    paid: Mapping[str, Decimal] | None = None,
) -> None:
    base = sum((_component(content, result, code) for code in part.of), NOTHING) if part.of else everything
    if isinstance(part, PowerFactorComponent):
        percent = next(step.percent for step in part.steps if account.power_factor >= step.at_least)
    else:
        percent = part.percent
    inclusive = part.kind == "tax" and part.inclusive
    if inclusive and part.of and paid is not None:
        base = sum((paid.get(code, NOTHING) for code in part.of), NOTHING)
    amount = round_half_up(base * percent / (100 + percent if inclusive else 100), minor_digits(content.currency))
    if inclusive:
        result.contained += amount
        return
    result.shares.append((part.code, base, amount))
    result.total += amount


def _limit(limit: Limit, account: Account) -> Decimal:
    return limit.amount * {"bill": Decimal(1), "day": Decimal(account.days), "month": account.months}[limit.per]
