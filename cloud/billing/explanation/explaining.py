"""What the lines of a charge follow from, in the units that a person can add up by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from cloud.billing.charges.filings import WindowParts
from cloud.billing.concessions.contained import contained_kept
from cloud.billing.estimates.estimating import Estimate
from cloud.billing.explanation.shared_limits import SharedLimitTold, shared_limit
from cloud.billing.records import Bill, Charge, EstimateKind
from cloud.kit.money import from_minor, round_half_up
from cloud.kit.periods import Period
from cloud.tariffs.model.tariff import Limit, Rounding
from cloud.tariffs.model.tiers import HouseholdRule, TierSet
from cloud.tariffs.rating.explain import ContainedTax, shortest
from cloud.tariffs.rating.plan import Plan, plan
from cloud.tariffs.service import TariffVersion

_PLACES = 4

Inputs = Mapping[str, Any]
"""What a bill keeps of one charge: see `drafting`. Amounts and quantities are texts there."""


@dataclass(frozen=True, slots=True)
class TierStep:
    """One tier of a window, in the unit of the tariff: more than `above`, up to and with `upper` (None: no bound).

    `number` counts from 1, 0 is the free quantity. `before` is what earlier bills of the window used of it, `here` what
    this charge does.
    """

    number: int
    above: Decimal
    upper: Decimal | None
    before: Decimal
    here: Decimal


@dataclass(frozen=True, slots=True)
class Tiers:
    """How usage met the tiers: `before` + `here` = `after`, in `window`; the account is there for `share` of it.

    `steps` is empty in a tariff without tiers, and for an account that is billed without them.
    """

    content: TierSet
    window: Period
    share: tuple[int, int]
    before: Decimal
    here: Decimal
    after: Decimal
    steps: tuple[TierStep, ...]


@dataclass(frozen=True, slots=True)
class Household:
    """The household rule as it was applied: `persons` filed now, `times` its step on the average of the window."""

    rule: HouseholdRule
    persons: int
    times: Decimal


@dataclass(frozen=True, slots=True)
class HoursUsed:
    """What was used in one price period, in the unit of the tariff."""

    code: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Metering:
    """From readings to usage: (closing - opening) x `multiplier` = `quantity`, all in the unit of the tariff.

    `plain` is False where the register ran over or was exchanged: then the difference alone says nothing. `beside` is
    what registers counted that the total leaves out: `quantity` + `beside` is the usage.
    """

    opening: Decimal
    closing: Decimal
    multiplier: Decimal
    quantity: Decimal
    plain: bool
    beside: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class RegisterUsed:
    """A register of a price period: (closing - opening) x `multiplier` = `quantity`, as in `Metering`."""

    name: str
    opening: Decimal
    closing: Decimal
    multiplier: Decimal
    quantity: Decimal
    plain: bool


@dataclass(frozen=True, slots=True)
class ByRegister:
    """Usage by price period from registers: `terms` tells which registers, with a minus what is taken off.

    `remainder`: what the total counted beyond them (below 0: short of them), contained in `remainder_in`.
    """

    registers: tuple[RegisterUsed, ...]
    terms: tuple[tuple[str, tuple[str, ...]], ...]
    beside_total: tuple[str, ...]
    remainder: Decimal
    remainder_in: str | None


@dataclass(frozen=True, slots=True)
class Estimated:
    """How far `quantity` is an estimate: `measured` + `estimated` = what was used, in the unit of the tariff.

    `kind`, `reason`, `rules`, `method` and `days` as in `estimating.Estimate`. Where a neighbouring bill cites another
    reading of a boundary, `quantity` differs by what lies between the two.
    """

    kind: EstimateKind
    reason: str
    rules: tuple[str, ...]
    method: int
    days: int
    measured: Decimal
    estimated: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Basis:
    """What standing charges go by: square metres, kW, kVA, power factor; None where nothing goes by it."""

    area: Decimal | None
    demand: Decimal | None
    capacity: Decimal | None
    power_factor: Decimal | None


@dataclass(frozen=True, slots=True)
class Explained:
    """One charge, explained. `carry` is what cumulative rounding carried over from earlier bills of the window.

    `shared_minimum` and `shared_cap`: where `minimum` and `cap` are of several charges of the bill.
    """

    charge_id: int
    tariff_version: int
    tariff_since: date
    unit: str | None
    metering: Metering | None
    estimated: Estimated | None
    tiers: Tiers | None
    household: Household | None
    season: str | None
    hours: tuple[HoursUsed, ...]
    allocation: Literal["proportional", "priority", "chronological"] | None
    factors: tuple[tuple[str, Decimal], ...]
    basis: Basis
    rounding: Rounding
    carry: Decimal
    minimum: Limit | None
    cap: Limit | None
    contained_taxes: tuple[ContainedTax, ...]
    by_register: ByRegister | None = None
    shared_minimum: SharedLimitTold | None = None
    shared_cap: SharedLimitTold | None = None


def explain_bill(bill: Bill, versions: Mapping[int, TariffVersion]) -> tuple[Explained, ...]:
    """Explains the charges of a bill that was rated from a tariff, in their order; `versions` are those they name."""
    kept = {(one["agreement"], one["period"]): one for one in bill.inputs.get("charges", ())}
    return tuple(_explained(bill.charges, kept, versions))


def _explained(
    charges: Sequence[Charge], kept: Mapping[tuple[int, str], Inputs], versions: Mapping[int, TariffVersion]
) -> Iterator[Explained]:
    together = {
        place: (charge.id, kept[place])
        for charge in charges
        if (place := (charge.agreement_id, str(charge.period))) in kept
    }
    for charge in charges:
        inputs = kept.get((charge.agreement_id, str(charge.period)))
        version = None if charge.tariff_version_id is None else versions.get(charge.tariff_version_id)
        if inputs is not None and version is not None:
            yield replace(
                _Charge(charge, inputs, version).explained(),
                shared_minimum=shared_limit("minimum", inputs, together),
                shared_cap=shared_limit("cap", inputs, together),
            )


class _Charge:
    def __init__(self, charge: Charge, inputs: Inputs, version: TariffVersion) -> None:
        self._charge = charge
        self._inputs = inputs
        self._version = version
        self._content = version.content
        self._plan: Plan = plan(version.content, inputs.get("season"))

    def explained(self) -> Explained:
        inputs, content = self._inputs, self._content
        counted = "quantity" in inputs and bool(content.energy)
        return Explained(
            charge_id=self._charge.id,
            tariff_version=self._version.version,
            tariff_since=self._version.valid_from,
            unit=content.unit,
            metering=self._metering() if counted else None,
            estimated=self._estimated() if counted else None,
            tiers=self._tiers() if counted else None,
            household=self._household() if counted else None,
            season=inputs.get("season"),
            hours=tuple(self._hours()) if counted else (),
            allocation=content.periods.allocation.method if content.periods else None,
            factors=tuple((part.code, part.factor) for part in content.energy if part.factor != 1),
            basis=self._basis(),
            rounding=content.rounding,
            carry=Decimal(inputs.get("carry", 0)),
            minimum=content.minimum,
            cap=content.cap,
            contained_taxes=contained_kept(inputs.get("contained_taxes", ()), self._charge, content.currency),
            by_register=self._by_register() if counted and "registers" in inputs else None,
        )

    def _in_unit(self, quantity: int) -> Decimal:
        return from_minor(quantity, self._plan.exponent)

    def _metering(self) -> Metering | None:
        charge, multiplier = self._charge, Decimal(self._inputs.get("multiplier", 1))
        if "estimate" in self._inputs:
            return None
        if charge.opening_value is None or charge.closing_value is None or charge.quantity is None:
            return None
        opening, closing = self._in_unit(charge.opening_value), self._in_unit(charge.closing_value)
        beside = sum((self._in_unit(int(one["advance"])) for one in self._beside()), Decimal(0))
        quantity = self._in_unit(charge.quantity) - beside
        return Metering(opening, closing, multiplier, quantity, (closing - opening) * multiplier == quantity, beside)

    def _beside(self) -> list[Inputs]:
        """Registers that the total leaves out."""
        names = self._inputs.get("register_map", {}).get("beside_total", ())
        return [one for one in self._inputs.get("registers", ()) if one["name"] in names]

    def _by_register(self) -> ByRegister:
        wanted, multiplier = self._inputs["register_map"], Decimal(self._inputs.get("multiplier", 1))
        remainder = self._inputs.get("remainder", {"quantity": 0, "time_period": None})
        return ByRegister(
            registers=tuple(self._register(one, multiplier) for one in self._inputs["registers"]),
            terms=tuple((code, tuple(wanted["periods"][code])) for code in self._content.period_codes),
            beside_total=tuple(wanted.get("beside_total", ())),
            remainder=self._in_unit(int(remainder["quantity"])),
            remainder_in=remainder["time_period"],
        )

    def _register(self, one: Inputs, multiplier: Decimal) -> RegisterUsed:
        opening, closing = (self._in_unit(int(one[end]["value"])) for end in ("opening", "closing"))
        quantity = self._in_unit(int(one["advance"]))
        plain = (closing - opening) * multiplier == quantity
        return RegisterUsed(one["name"], opening, closing, multiplier, quantity, plain)

    def _estimated(self) -> Estimated | None:
        kept = self._inputs.get("estimate")
        if kept is None:
            return None
        one = Estimate.kept(kept)
        return Estimated(
            kind=one.kind,
            reason=one.reason,
            rules=one.rules,
            method=one.method,
            days=one.days,
            measured=self._in_unit(one.measured),
            estimated=self._in_unit(one.estimated),
            quantity=self._in_unit(int(self._inputs["quantity"])),
        )

    def _tiers(self) -> Tiers:
        here, before = int(self._inputs["quantity"]), int(self._inputs.get("used_before", 0))
        start, _, end = self._inputs["tier_window"].partition("/")
        parts = self._parts()
        covered, whole = parts.covered, parts.whole
        bounds = () if self._inputs.get("single") else self._plan.bounds_for(parts.steps, covered, whole)
        return Tiers(
            content=self._content.tiers,
            window=Period(date.fromisoformat(start), date.fromisoformat(end)),
            share=(covered, whole),
            before=self._in_unit(before),
            here=self._in_unit(here),
            after=self._in_unit(before + here),
            steps=tuple(self._steps(bounds, before, here)) if bounds else (),
        )

    def _parts(self) -> WindowParts:
        """What the bill keeps; bills from before households counted month by month kept only their persons."""
        kept = self._inputs.get("window_parts")
        return WindowParts(**kept) if kept else WindowParts(self._plan.household_steps(self._persons()), 1, 1)

    def _persons(self) -> int:
        return int(self._inputs.get("persons", 0))

    def _steps(self, bounds: Sequence[int], before: int, here: int) -> Iterator[TierStep]:
        """What lies of [0, before] and of (before, before + here] in each tier; by volume, all of `here` in one."""
        by_volume = self._content.tiers.mode == "volume"
        reached = sum(1 for bound in bounds if here > bound)
        for tier, (lower, upper) in enumerate(zip((0, *bounds), (*bounds, None), strict=True)):
            then, now = (_within(position, lower, upper) for position in (before, before + here))
            if by_volume:
                then, now = 0, here if tier == reached else 0
            yield TierStep(
                number=tier + self._plan.first_tier,
                above=self._in_unit(lower),
                upper=None if upper is None else self._in_unit(upper),
                before=self._in_unit(then),
                here=self._in_unit(now - then),
            )

    def _household(self) -> Household | None:
        rule, parts = self._content.household, self._parts()
        if rule is None:
            return None
        times = shortest(round_half_up(Decimal(parts.steps) / parts.covered, _PLACES))
        return Household(rule, self._persons(), times)

    def _hours(self) -> Iterator[HoursUsed]:
        if self._content.periods is None:
            return
        for code in self._content.period_codes:
            used = sum(int(quantity) for period, quantity in self._inputs.get("runs", ()) if period == code)
            yield HoursUsed(code, self._in_unit(used))

    def _basis(self) -> Basis:
        kept, kinds = self._inputs.get("basis", {}), {part.kind for part in self._content.components}
        return Basis(
            area=Decimal(kept.get("area", 0)) if "area" in kinds else None,
            demand=from_minor(int(kept.get("demand_w", 0)), 3) if "demand" in kinds else None,
            capacity=from_minor(int(kept.get("capacity_va", 0)), 3) if "capacity" in kinds else None,
            power_factor=from_minor(int(kept.get("power_factor", 0)), 2) if "power_factor" in kinds else None,
        )


def _within(position: int, lower: int, upper: int | None) -> int:
    """How much of [0, position] lies above `lower` and not above `upper`."""
    return max(0, (position if upper is None else min(position, upper)) - lower)
