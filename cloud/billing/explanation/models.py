"""What the API says of why a bill comes to its amount."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cloud.billing.agreements.rents import Unit
from cloud.billing.explanation.explaining import (
    Basis,
    ByRegister,
    Estimated,
    Explained,
    HoursUsed,
    Household,
    Metering,
    RegisterUsed,
    Tiers,
    TierStep,
)
from cloud.billing.explanation.explaining_agreed import AgreedExplained, explain_agreed
from cloud.billing.explanation.limit_models import LimitOut
from cloud.billing.models import BillDetailOut, PeriodOut
from cloud.billing.records import Bill, EstimateKind
from cloud.kit.amounts import MoneyOut, QuantityOut, plain
from cloud.tariffs.rating.explain import ContainedTax

Text = Annotated[str, Field(examples=["2880"])]
"""A decimal number in the unit of the tariff."""


class LateFeeStepOut(BaseModel):
    """days × principal × rate = part, not rounded."""

    first: date
    last: date
    days: int
    principal: str
    rate: str
    part: str


class MeteringOut(BaseModel):
    """(closing − opening) × multiplier = quantity; not where the register ran over or was exchanged: `plain` false."""

    opening: Text
    closing: Text
    multiplier: Annotated[str, Field(examples=["1"])]
    quantity: Text
    plain: bool
    beside: Annotated[Text, Field(description="What registers counted that the total leaves out: usage too.")]

    @classmethod
    def of(cls, one: Metering) -> "MeteringOut":
        """From our records."""
        return cls(
            opening=plain(one.opening),
            closing=plain(one.closing),
            multiplier=plain(one.multiplier),
            quantity=plain(one.quantity),
            plain=one.plain,
            beside=plain(one.beside),
        )


class RegisterUsedOut(BaseModel):
    """A register of a price period, as in `metering`: (closing − opening) × multiplier = quantity."""

    name: Annotated[str, Field(examples=["peak"])]
    opening: Text
    closing: Text
    multiplier: Annotated[str, Field(examples=["1"])]
    quantity: Text
    plain: bool

    @classmethod
    def of(cls, one: RegisterUsed) -> "RegisterUsedOut":
        """From our records."""
        return cls(
            name=one.name,
            opening=plain(one.opening),
            closing=plain(one.closing),
            multiplier=plain(one.multiplier),
            quantity=plain(one.quantity),
            plain=one.plain,
        )


class ByRegisterOut(BaseModel):
    """Usage by price period from the meter's registers: each period is the sum of its `terms`, the remainder added."""

    registers: list[RegisterUsedOut]
    terms: Annotated[dict[str, list[str]], Field(examples=[{"sharp": ["sharp"], "peak": ["peak", "-sharp"]}])]
    beside_total: Annotated[list[str], Field(description="Registers whose energy the total register leaves out.")]
    remainder: Annotated[Text, Field(description="What the total counted beyond the registers; below 0: short of.")]
    remainder_in: Annotated[str | None, Field(description="The price period that contains the remainder.")]

    @classmethod
    def of(cls, one: ByRegister) -> "ByRegisterOut":
        """From our records."""
        return cls(
            registers=[RegisterUsedOut.of(used) for used in one.registers],
            terms={code: list(terms) for code, terms in one.terms},
            beside_total=list(one.beside_total),
            remainder=plain(one.remainder),
            remainder_in=one.remainder_in,
        )


class EstimatedOut(BaseModel):
    """measured + estimated = quantity; `between`: a share of what was counted between two readings.

    Where a neighbouring bill cites another reading of a boundary, what lies between the two is added or taken off.
    """

    kind: EstimateKind
    reason: Annotated[str, Field(description="Why it could not be billed by readings.", examples=["missing-reading"])]
    rules: Annotated[list[str], Field(description="Of the open findings about its readings.")]
    method: Annotated[
        int,
        Field(
            description="0 measured, 2 by time, 3 evenly, 4 after like days, 5 after the average day, 6 after the class"
        ),
    ]
    days: Annotated[int, Field(description="Days without measured usage; a begun one counts.")]
    measured: Text
    estimated: Text
    quantity: Text

    @classmethod
    def of(cls, one: Estimated) -> "EstimatedOut":
        """From our records."""
        return cls(
            kind=one.kind,
            reason=one.reason,
            rules=list(one.rules),
            method=one.method,
            days=one.days,
            measured=plain(one.measured),
            estimated=plain(one.estimated),
            quantity=plain(one.quantity),
        )


class TierStepOut(BaseModel):
    """More than `above`, up to and with `upper`; used of it before in the window, and by this charge."""

    number: Annotated[int, Field(description="From 1; 0 is the free quantity.")]
    above: Text
    upper: Text | None
    used_before: Text
    used_here: Text

    @classmethod
    def of(cls, step: TierStep) -> "TierStepOut":
        """From our records."""
        return cls(
            number=step.number,
            above=plain(step.above),
            upper=None if step.upper is None else plain(step.upper),
            used_before=plain(step.before),
            used_here=plain(step.here),
        )


class TiersOut(BaseModel):
    """used_before + used_here = used_after within `window`; `steps` is empty without tiers."""

    mode: Literal["graduated", "volume", "package"]
    window: PeriodOut
    covered: Annotated[int, Field(description="Parts of the window that the account is there for, of `whole`.")]
    whole: int
    used_before: Text
    used_here: Text
    used_after: Text
    package: Text | None
    steps: list[TierStepOut]

    @classmethod
    def of(cls, tiers: Tiers) -> "TiersOut":
        """From our records."""
        return cls(
            mode=tiers.content.mode,
            window=PeriodOut.of(tiers.window),
            covered=tiers.share[0],
            whole=tiers.share[1],
            used_before=plain(tiers.before),
            used_here=plain(tiers.here),
            used_after=plain(tiers.after),
            package=None if tiers.content.package is None else plain(tiers.content.package),
            steps=[TierStepOut.of(step) for step in tiers.steps],
        )


class HouseholdOut(BaseModel):
    """`times` × `raise_bounds_by` a month or year, for the persons filed."""

    persons: int
    from_persons: int
    raise_bounds_by: Text
    per: Literal["month", "year"]
    tiers: list[int]
    times: Text

    @classmethod
    def of(cls, one: Household) -> "HouseholdOut":
        """From our records."""
        return cls(
            persons=one.persons,
            from_persons=one.rule.from_persons,
            raise_bounds_by=plain(one.rule.raise_bounds_by),
            per=one.rule.per,
            tiers=list(one.rule.tiers),
            times=plain(one.times),
        )


class HoursUsedOut(BaseModel):
    """Usage in one price period."""

    time_period: Annotated[str, Field(examples=["peak"])]
    quantity: Text

    @classmethod
    def of(cls, one: HoursUsed) -> "HoursUsedOut":
        """From our records."""
        return cls(time_period=one.code, quantity=plain(one.quantity))


class BasisOut(BaseModel):
    """What standing charges go by; null where nothing goes by it."""

    area: QuantityOut | None
    demand: QuantityOut | None
    capacity: QuantityOut | None
    power_factor: Annotated[str | None, Field(examples=["0.92"])]

    @classmethod
    def of(cls, basis: Basis) -> "BasisOut":
        """From our records."""
        return cls(
            area=None if basis.area is None else QuantityOut.of(basis.area, "m2"),
            demand=None if basis.demand is None else QuantityOut.of(basis.demand, "kW"),
            capacity=None if basis.capacity is None else QuantityOut.of(basis.capacity, "kVA"),
            power_factor=None if basis.power_factor is None else plain(basis.power_factor),
        )


class RoundingOut(BaseModel):
    """Where amounts are rounded half up; `carry` came from earlier bills of the window, cumulative only."""

    level: Literal["line", "component", "bill"]
    cumulative: bool
    carry: Annotated[str, Field(examples=["0.00123"])]


class ContainedTaxOut(BaseModel):
    """base × share ÷ (1 + share) = amount: contained in the prices, not added; of what remains after concessions."""

    component: str
    base: MoneyOut
    share: Annotated[str, Field(examples=["0.13"])]
    amount: MoneyOut

    @classmethod
    def of(cls, tax: ContainedTax, currency: str) -> "ContainedTaxOut":
        """From our records."""
        return cls(
            component=tax.component,
            base=MoneyOut.of(tax.base, currency),
            share=plain(tax.share),
            amount=MoneyOut.of(tax.amount, currency),
        )


class ChargeExplanationOut(BaseModel):
    """What the lines of one charge follow from. Numbers without a unit of their own are in `unit`."""

    charge_id: int
    tariff_version: int
    tariff_since: date
    unit: Annotated[str | None, Field(examples=["kWh"])]
    metering: MeteringOut | None
    estimated: EstimatedOut | None
    tiers: TiersOut | None
    household: HouseholdOut | None
    season: str | None
    hours: list[HoursUsedOut]
    by_register: Annotated[
        ByRegisterOut | None, Field(description="Where `hours` come from; null where they come from intervals.")
    ]
    allocation: Literal["proportional", "priority", "chronological"] | None
    factors: Annotated[dict[str, str], Field(description="Components charged for a part of the usage.")]
    basis: BasisOut
    rounding: RoundingOut
    minimum: LimitOut | None
    cap: LimitOut | None
    contained_taxes: list[ContainedTaxOut]

    @classmethod
    def of(cls, one: Explained, currency: str) -> "ChargeExplanationOut":
        """From our records."""
        return cls(
            charge_id=one.charge_id,
            tariff_version=one.tariff_version,
            tariff_since=one.tariff_since,
            unit=one.unit,
            metering=None if one.metering is None else MeteringOut.of(one.metering),
            estimated=None if one.estimated is None else EstimatedOut.of(one.estimated),
            tiers=None if one.tiers is None else TiersOut.of(one.tiers),
            household=None if one.household is None else HouseholdOut.of(one.household),
            season=one.season,
            hours=[HoursUsedOut.of(used) for used in one.hours],
            by_register=None if one.by_register is None else ByRegisterOut.of(one.by_register),
            allocation=one.allocation,
            factors={code: plain(factor) for code, factor in one.factors},
            basis=BasisOut.of(one.basis),
            rounding=RoundingOut(level=one.rounding.level, cumulative=one.rounding.cumulative, carry=plain(one.carry)),
            minimum=LimitOut.of(one.minimum, one.shared_minimum, currency),
            cap=LimitOut.of(one.cap, one.shared_cap, currency),
            contained_taxes=[ContainedTaxOut.of(tax, currency) for tax in one.contained_taxes],
        )


class AmountSinceOut(BaseModel):
    """An amount, or an area, from a day on; null: ever since."""

    from_day: date | None
    value: Annotated[str, Field(examples=["8000"])]


class AgreedExplanationOut(BaseModel):
    """What the lines of a rent, a package or a one-off charge follow from: amounts for a `unit` (of a m²), areas."""

    charge_id: int
    unit: Unit | None
    amounts: list[AmountSinceOut]
    areas: Annotated[list[AmountSinceOut], Field(description="m², where amounts are for a square metre.")]
    contained_taxes: list[ContainedTaxOut]

    @classmethod
    def of(cls, one: AgreedExplained, currency: str) -> "AgreedExplanationOut":
        """From our records."""
        return cls(
            charge_id=one.charge_id,
            unit=one.unit,
            amounts=[AmountSinceOut(from_day=step.from_day, value=plain(step.amount)) for step in one.steps],
            areas=[
                AmountSinceOut(from_day=None if step.from_day == date.min else step.from_day, value=plain(step.area))
                for step in one.areas
            ],
            contained_taxes=[ContainedTaxOut.of(tax, currency) for tax in one.contained_taxes],
        )


class ExplanationOut(BaseModel):
    """Everything the amounts follow from: same inputs and engine, same bill."""

    bill: BillDetailOut
    charges: Annotated[list[ChargeExplanationOut], Field(description="Those that go by a tariff.")]
    agreed: Annotated[list[AgreedExplanationOut], Field(description="Those that go by none.")]
    engine_version: str
    inputs: dict[str, Any]
    late_fee: MoneyOut
    late_fee_steps: list[LateFeeStepOut]

    @classmethod
    def of(cls, bill: Bill, explained: tuple[Explained, ...]) -> "ExplanationOut":
        """From our records."""
        steps = bill.late_fee.steps if bill.late_fee else []
        currency = bill.summary.currency
        return cls(
            bill=BillDetailOut.whole(bill),
            charges=[ChargeExplanationOut.of(one, currency) for one in explained],
            agreed=[AgreedExplanationOut.of(one, currency) for one in explain_agreed(bill)],
            engine_version=bill.engine_version,
            inputs=bill.inputs,
            late_fee=MoneyOut.of(bill.summary.late_fee, currency),
            late_fee_steps=[LateFeeStepOut.model_validate(step) for step in steps],
        )
