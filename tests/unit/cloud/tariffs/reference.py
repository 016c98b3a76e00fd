"""The same tariff rated the obvious way: one account, one loop, Decimal. What the engine must equal."""

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal, localcontext

from cloud.kit.money import minor_digits, round_half_up
from cloud.tariffs.models import UNIT_EXPONENTS, AreaComponent, EnergyComponent, FixedComponent, TariffContent

INFINITE = Decimal(10) ** 30


@dataclass(frozen=True)
class Account:
    """One account in display units (kWh, m³, m²)."""

    usage: dict[str, Decimal]
    before: Decimal = Decimal(0)
    persons: int = 0
    area: Decimal = Decimal(0)
    days: int = 0
    months: int = 0
    carry: Decimal | None = None


@dataclass
class Result:
    """Total, unrounded total, and what each component, period and tier (from 1) costs."""

    total: Decimal = Decimal(0)
    exact: Decimal = Decimal(0)
    lines: list[tuple[str, str | None, int | None, Decimal, Decimal]] = field(default_factory=list)
    """component, period, tier, quantity, exact amount"""


def rate(content: TariffContent, account: Account) -> Result:
    """Rates one account."""
    with localcontext() as context:
        context.prec = 60
        return _rate(content, account)


def _rate(content: TariffContent, account: Account) -> Result:
    result = Result()
    bounds = tier_bounds(content, account.persons)
    split = allocate(content, account, bounds) if content.energy else {}
    used = sum(account.usage.values(), Decimal(0))
    for part in content.components:
        if isinstance(part, EnergyComponent):
            for (period, tier), quantity in split.items():
                amount = quantity * part.prices[period][tier]
                result.lines.append((part.code, period, tier + 1, quantity, amount))
            if part.flat and used > 0:
                result.lines.append((part.code, None, None, Decimal(1), part.flat[volume_tier(bounds, used)]))
        elif isinstance(part, FixedComponent):
            times = Decimal(account.days if part.per == "day" else account.months)
            result.lines.append((part.code, None, None, times, times * part.price))
        elif isinstance(part, AreaComponent):
            area = account.area * account.months
            result.lines.append((part.code, None, None, area, area * part.price))
    result.lines = [line for line in result.lines if line[3]]
    result.exact = sum((line[4] for line in result.lines), Decimal(0))
    result.total = _rounded_total(content, account, result)
    return result


def tier_bounds(content: TariffContent, persons: int) -> list[Decimal]:
    """Inclusive upper bounds; the last tier has none, here a very large number."""
    lift = Decimal(0)
    rule = content.household
    if rule is not None and persons >= rule.from_persons:
        times = persons - rule.from_persons + 1 if rule.each == "extra_person" else 1
        months = 12 if rule.per == "month" and content.tiers.window.kind == "year" else 1
        lift = rule.raise_bounds_by * times * months
    return [bound + lift for bound in content.tiers.bounds] + [INFINITE]


def volume_tier(bounds: list[Decimal], used: Decimal) -> int:
    """The tier in which the whole usage falls."""
    return next(tier for tier, bound in enumerate(bounds) if used <= bound)


def fill(bounds: list[Decimal], start: Decimal, amount: Decimal) -> list[Decimal]:
    """How much of the `amount` used after `start` lands in each tier."""
    result, lower = [], Decimal(0)
    for upper in bounds:
        result.append(max(Decimal(0), min(start + amount, upper) - max(start, lower)))
        lower = upper
    return result


def allocate(content: TariffContent, account: Account, bounds: list[Decimal]) -> dict[tuple[str, int], Decimal]:
    """Usage by period and tier."""
    used = sum(account.usage.values(), Decimal(0))
    if content.tiers.mode == "volume":
        return {(period, volume_tier(bounds, used)): quantity for period, quantity in account.usage.items()}
    if content.periods is not None and content.periods.allocation.method == "proportional":
        return _proportional(content, account, fill(bounds, account.before, used))
    order = content.periods.allocation.order if content.periods else content.period_codes
    result: dict[tuple[str, int], Decimal] = {}
    position = account.before
    for period in order:
        for tier, quantity in enumerate(fill(bounds, position, account.usage[period])):
            result[period, tier] = quantity
        position += account.usage[period]
    return result


def _proportional(content: TariffContent, account: Account, taken: list[Decimal]) -> dict[tuple[str, int], Decimal]:
    """Each tier by what is left of the periods, in whole base units: floor of the running share, periods in order."""
    base = Decimal(1).scaleb(-UNIT_EXPONENTS[content.unit or ""])
    left = dict(account.usage)
    result: dict[tuple[str, int], Decimal] = {}
    for tier, amount in enumerate(taken):
        whole, running, given = sum(left.values(), Decimal(0)), Decimal(0), Decimal(0)
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


def _rounded_total(content: TariffContent, account: Account, result: Result) -> Decimal:
    digits = minor_digits(content.currency)
    if content.rounding.level == "line":
        return sum((round_half_up(line[4], digits) for line in result.lines), Decimal(0))
    if content.rounding.level == "component":
        codes = {line[0] for line in result.lines}
        parts = [sum((line[4] for line in result.lines if line[0] == code), Decimal(0)) for code in sorted(codes)]
        return sum((round_half_up(part, digits) for part in parts), Decimal(0))
    if not content.rounding.cumulative:
        return round_half_up(result.exact, digits)
    carry = _carry(content, account)
    return round_half_up(carry + result.exact, digits) - round_half_up(carry, digits)


def _carry(content: TariffContent, account: Account) -> Decimal:
    """What the window has cost before this bill."""
    if account.carry is not None:
        return account.carry
    if content.periods is not None or content.tiers.mode == "volume":
        return Decimal(0)
    bounds = tier_bounds(content, account.persons)
    quantities = fill(bounds, Decimal(0), account.before)
    return sum(
        (quantity * part.prices["all"][tier] for part in content.energy for tier, quantity in enumerate(quantities)),
        Decimal(0),
    )
