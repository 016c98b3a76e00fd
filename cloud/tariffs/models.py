"""What a tariff may say, as a whole: currency, components, tiers, seasons and hours, household rule, rounding."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from cloud.kit.money import minor_digits
from cloud.tariffs.components import (
    Component,
    DirectComponent,
    EnergyComponent,
    PowerFactorComponent,
    SurchargeComponent,
    TaxComponent,
)
from cloud.tariffs.hours import ALL, Season, TimePeriods, check_schedule, check_seasons, season_on
from cloud.tariffs.tiers import HouseholdRule, TierSet
from cloud.tariffs.values import UNIT_EXPONENTS, Code, Price, Strict

_RELATIVE = (PowerFactorComponent, SurchargeComponent, TaxComponent)


class Rounding(Strict):
    """Where amounts are rounded half up to the smallest unit of the currency.

    `cumulative`: a bill is the rounded total of the window so far minus the rounded total before it, so that the
    bills of a window add up to what the window costs.
    """

    level: Literal["line", "component", "bill"] = "bill"
    cumulative: bool = False

    @model_validator(mode="after")
    def _cumulative_is_per_bill(self) -> Self:
        if self.cumulative and self.level != "bill":
            raise ValueError("cumulative rounding needs the level bill")
        return self


class Limit(Strict):
    """A least or a highest amount, before taxes, of a bill or of each day or month of it."""

    amount: Price
    per: Literal["bill", "day", "month"] = "bill"


class TariffContent(Strict):
    """One version of a tariff, as a YAML file or as stored in the database."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    service: Code
    unit: Literal["kWh", "m3", "piece"] | None = Field(default=None, description="Unit of usage; none without a meter.")
    source: str = Field(default="", max_length=1000, pattern=r"^[^\x00]*$", description="Where the prices come from.")
    components: tuple[Component, ...] = Field(min_length=1, max_length=20)
    tiers: TierSet = TierSet()
    household: HouseholdRule | None = None
    seasons: tuple[Season, ...] = Field(default=(), max_length=12)
    periods: TimePeriods | None = None
    minimum: Limit | None = Field(default=None, description="What is missing to it is charged.")
    cap: Limit | None = Field(default=None, description="What is above it is taken off.")
    rounding: Rounding = Rounding()

    @field_validator("seasons")
    @classmethod
    def _make_up_the_year(cls, value: tuple[Season, ...]) -> tuple[Season, ...]:
        check_seasons(value)
        return value

    @property
    def energy(self) -> tuple[EnergyComponent, ...]:
        """The components that need a meter."""
        return tuple(part for part in self.components if isinstance(part, EnergyComponent))

    @property
    def direct(self) -> tuple[DirectComponent, ...]:
        """The components that are no percentage of others."""
        return tuple(part for part in self.components if not isinstance(part, _RELATIVE))

    @property
    def period_codes(self) -> tuple[str, ...]:
        """Codes of the periods; the single code `all` without periods."""
        return self.periods.codes if self.periods else (ALL,)

    @property
    def season_codes(self) -> tuple[str | None, ...]:
        """Codes of the seasons; the single None without seasons."""
        return tuple(season.code for season in self.seasons) or (None,)

    @property
    def by_load(self) -> bool:
        """Whether the highest load of each calendar month is charged."""
        return any(part.kind == "demand" for part in self.components)

    def season_on(self, day: date) -> str | None:
        """The season of a local day; None without seasons."""
        return season_on(self.seasons, day)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        codes = [part.code for part in self.components]
        if len(set(codes)) != len(codes):
            raise ValueError("components: each code once")
        if (self.unit is None) == bool(self.energy):
            raise ValueError("unit: needed with energy components, and only then")
        if not self.energy and (self.tiers != TierSet() or self.periods or self.household or self.seasons):
            raise ValueError("tiers, household, seasons and periods need an energy component")
        for part in self.energy:
            self._check_prices(part)
        if len({any(True for _ in part.single_tables()) for part in self.energy}) > 1:
            raise ValueError("single: prices without tiers for every energy component or for none")
        if self.periods is not None:
            check_schedule(self.periods, self.seasons)
        self._check_order()
        self._check_volume()
        self._check_package()
        self._check_household()
        self._check_places()
        self._check_limits()
        return self

    def _check_prices(self, part: EnergyComponent) -> None:
        tiers = len(self.tiers.bounds) + 1
        if bool(self.seasons) != (part.by_season is not None):
            raise ValueError(f"{part.code}: {'by_season, since there are seasons' if self.seasons else 'prices'}")
        self._check_seasons_named(f"{part.code}.by_season", part.by_season)
        self._check_seasons_named(f"{part.code}.single_by_season", part.single_by_season)
        if self.seasons and part.single is not None:
            raise ValueError(f"{part.code}.single: single_by_season, since there are seasons")
        for place, table in part.tables():
            self._check_periods_named(place, set(table))
            for period, row in table.items():
                if len(row) != tiers:
                    raise ValueError(f"{place}.{period}: {tiers} prices, one per tier, found {len(row)}")
        for place, prices in part.single_tables():
            self._check_periods_named(place, set(prices))
        if part.flat is not None and (self.tiers.mode != "volume" or len(part.flat) != tiers):
            raise ValueError(f"{part.code}.flat: only in volume mode, one amount per tier ({tiers})")

    def _check_seasons_named(self, place: str, table: Mapping[str, object] | None) -> None:
        wanted = [season.code for season in self.seasons]
        if table is not None and set(table) != set(wanted):
            raise ValueError(f"{place}: prices for each of {', '.join(wanted) or 'no season'} and no other")

    def _check_periods_named(self, place: str, found: set[str]) -> None:
        if found != set(self.period_codes):
            raise ValueError(f"{place}: a row for each of {', '.join(self.period_codes)} and no other")

    def _check_order(self) -> None:
        """Percentages come after what has a price, each after what it is a percentage of, and taxes come last."""
        before: list[str] = []
        reached = 0
        for part in self.components:
            rank = 2 if isinstance(part, TaxComponent) else int(isinstance(part, _RELATIVE))
            if rank < reached:
                raise ValueError(f"{part.code}: first what has a price, then percentages, then taxes")
            if isinstance(part, _RELATIVE):
                unknown = [code for code in part.of if code not in before]
                if unknown or not before:
                    raise ValueError(f"{part.code}.of: components before it, found {', '.join(unknown) or 'none'}")
            reached = rank
            before.append(part.code)

    def _check_volume(self) -> None:
        if self.tiers.mode == "volume" and self.seasons:
            raise ValueError("tiers.mode volume: looks at one bill as a whole, which seasons would divide")

    def _check_package(self) -> None:
        if self.tiers.mode != "package":
            return
        if self.periods is not None:
            raise ValueError("periods: packages are counted without periods")
        if any(part.factor != 1 for part in self.energy):
            raise ValueError("factor: packages are counted as they are used, without a factor")

    def _check_household(self) -> None:
        rule = self.household
        if rule is None:
            return
        window = self.tiers.window.kind
        if window == "bill" or (window == "month" and rule.per == "year"):
            raise ValueError(f"household.per {rule.per}: does not fit the tier window {window}")
        if self.tiers.bounds and rule.tiers[-1] > len(self.tiers.bounds):
            raise ValueError(f"household.tiers: tiers with a bound, 1 to {len(self.tiers.bounds)}")

    def _check_places(self) -> None:
        exponent = UNIT_EXPONENTS.get(self.unit or "", 0)
        single = (self.tiers.free, self.tiers.package, self.household.raise_bounds_by if self.household else None)
        for quantity in (*self.tiers.bounds, *(one for one in single if one is not None)):
            if quantity.scaleb(exponent) % 1:
                raise ValueError(f"bounds: at most {exponent} decimals of {self.unit}, found {quantity}")

    def _check_limits(self) -> None:
        digits = minor_digits(self.currency)
        for name, limit in (("minimum", self.minimum), ("cap", self.cap)):
            if limit is not None and places(limit.amount) > digits:
                raise ValueError(f"{name}.amount: at most {digits} decimals of {self.currency}, found {limit.amount}")
        if self.minimum is None or self.cap is None:
            return
        if self.minimum.per != self.cap.per or self.minimum.amount > self.cap.amount:
            raise ValueError("cap: not below the minimum, and per the same time")


def content_hash(content: TariffContent) -> bytes:
    """SHA-256 of the canonical JSON of a version: equal content, equal hash."""
    document = json.dumps(content.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(document.encode()).digest()


def places(value: Decimal) -> int:
    """Decimals of a number without trailing zeros."""
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)
