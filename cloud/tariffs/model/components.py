"""What a bill is made of: energy, fixed, area, demand and capacity, and what is a percentage of them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, field_validator, model_validator

from cloud.tariffs.model.problems import Wrong
from cloud.tariffs.model.values import Code, Factor, Percent, Price, Strict

PriceRows = dict[Code, tuple[Price, ...]]
"""Period → one price per tier. A tariff without periods has the single key "all"."""

Prices = dict[Code, Price]
"""Period → price."""

PartialMonth = Annotated[
    Literal["by_day", "full"],
    Field(description="A month that is billed in part: by its days, or in full once it has begun."),
]


class EnergyComponent(Strict):
    """Priced by what the meter counted: a price for each season, period and tier.

    `prices` without seasons, `by_season` with seasons: season → period → one price per tier.
    """

    kind: Literal["energy"]
    code: Code
    prices: PriceRows | None = Field(
        default=None,
        description='Period → one price per tier. A tariff without periods has the single key "all".',
    )
    by_season: dict[Code, PriceRows] | None = Field(
        default=None, description="Season → period → one price per tier; in tariffs with seasons, instead of prices."
    )
    factor: Factor = Field(
        default=Decimal(1), description='Billed quantity = usage × factor: "0.9" for sewage of 90 % of the water.'
    )
    flat: tuple[Price, ...] | None = Field(
        default=None,
        description="Volume mode: amount added once for the tier reached, when anything was used. One per tier.",
    )
    single: Prices | None = Field(
        default=None, description="Period → one price for accounts that are billed without tiers (shared meters)."
    )
    single_by_season: dict[Code, Prices] | None = Field(
        default=None, description="Season → period → price; in tariffs with seasons, instead of single."
    )

    @field_validator("factor")
    @classmethod
    def _counts(cls, value: Decimal) -> Decimal:
        if value == 0:
            raise Wrong("factor-zero")
        return value

    @model_validator(mode="after")
    def _one_price_table(self) -> Self:
        if (self.prices is None) == (self.by_season is None):
            raise Wrong("price-tables", component=self.code)
        if self.single is not None and self.single_by_season is not None:
            raise Wrong("single-tables", component=self.code)
        return self

    def rows(self, season: str | None) -> PriceRows:
        """Prices of a season, by period; of a tariff without seasons under None. Raises KeyError for another."""
        if self.by_season is not None:
            return self.by_season[season or ""]
        assert self.prices is not None
        return self.prices

    def single_prices(self, season: str | None) -> Prices | None:
        """Prices without tiers of a season, by period; None where every account has tiers."""
        return self.single if self.single_by_season is None else self.single_by_season[season or ""]

    def tables(self) -> Iterator[tuple[tuple[str, ...], PriceRows]]:
        """Every table of prices with its place inside the component."""
        if self.prices is not None:
            yield ("prices",), self.prices
        for season, rows in (self.by_season or {}).items():
            yield ("by_season", season), rows

    def single_tables(self) -> Iterator[tuple[tuple[str, ...], Prices]]:
        """Every table of prices without tiers with its place inside the component."""
        if self.single is not None:
            yield ("single",), self.single
        for season, prices in (self.single_by_season or {}).items():
            yield ("single_by_season", season), prices


class FixedComponent(Strict):
    """The same for everyone, by the day or by the calendar month."""

    kind: Literal["fixed"]
    code: Code
    per: Literal["day", "month"]
    price: Price
    partial: PartialMonth = "by_day"


class AreaComponent(Strict):
    """By floor area and calendar month: property fee."""

    kind: Literal["area"]
    code: Code
    per: Literal["month"] = "month"
    price: Price
    partial: PartialMonth = "by_day"


class DemandComponent(Strict):
    """By the highest mean load of each calendar month, in kW."""

    kind: Literal["demand"]
    code: Code
    price: Price = Field(description="For one kW and calendar month.")
    partial: PartialMonth = "by_day"


class CapacityComponent(Strict):
    """By the capacity that is contracted, in kVA, whatever was used."""

    kind: Literal["capacity"]
    code: Code
    price: Price = Field(description="For one kVA and calendar month.")
    partial: PartialMonth = "by_day"


class PowerFactorStep(Strict):
    """From this power factor on (in hundredths, rounded half up) the percentage holds."""

    at_least: Factor
    percent: Percent

    @field_validator("at_least")
    @classmethod
    def _is_a_power_factor(cls, value: Decimal) -> Decimal:
        if value > 1 or value * 100 % 1:
            raise Wrong("power-factor", found=value)
        return value


class PowerFactorComponent(Strict):
    """Adds to, or takes off, what other components cost, by the power factor of the period (力调电费)."""

    kind: Literal["power_factor"]
    code: Code
    of: tuple[Code, ...] = Field(default=(), description="Components it is a share of; none named: all before it.")
    steps: tuple[PowerFactorStep, ...] = Field(min_length=2, max_length=101)

    @field_validator("steps")
    @classmethod
    def _falling(cls, value: tuple[PowerFactorStep, ...]) -> tuple[PowerFactorStep, ...]:
        factors = [step.at_least for step in value]
        if factors != sorted(set(factors), reverse=True) or factors[-1] != 0:
            raise Wrong("power-factor-steps")
        return value


class SurchargeComponent(Strict):
    """A percentage of other components; of everything before it when none is named."""

    kind: Literal["surcharge"]
    code: Code
    percent: Percent
    of: tuple[Code, ...] = Field(default=(), description="Components it is a share of; none named: all before it.")


class TaxComponent(Strict):
    """A tax on other components: added to them, or, when prices include it, only told."""

    kind: Literal["tax"]
    code: Code
    percent: Percent
    inclusive: StrictBool = Field(
        default=False, description="Prices include the tax: nothing is added, the share is told."
    )
    of: tuple[Code, ...] = Field(default=(), description="Components that are taxed; none named: all before it.")

    @field_validator("percent")
    @classmethod
    def _not_negative(cls, value: Decimal) -> Decimal:
        if value < 0:
            raise Wrong("tax-negative", found=value)
        return value


StandingComponent = FixedComponent | AreaComponent | DemandComponent | CapacityComponent
DirectComponent = EnergyComponent | StandingComponent
RelativeComponent = PowerFactorComponent | SurchargeComponent | TaxComponent
Component = Annotated[DirectComponent | RelativeComponent, Field(discriminator="kind")]
