"""What a tariff may say, as a whole: currency, components, tiers, seasons and hours, household rule, rounding."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, field_validator, model_validator

from cloud.kit.money import minor_digits
from cloud.tariffs.model.components import (
    Component,
    DirectComponent,
    EnergyComponent,
    PowerFactorComponent,
    SurchargeComponent,
    TaxComponent,
)
from cloud.tariffs.model.hours import ALL, Season, TimePeriods, schedule_problems, season_on, season_problems
from cloud.tariffs.model.problems import Wrong, refuse
from cloud.tariffs.model.tiers import HouseholdRule, TierSet
from cloud.tariffs.model.values import UNIT_EXPONENTS, Code, Price, Strict

_RELATIVE = (PowerFactorComponent, SurchargeComponent, TaxComponent)


class Rounding(Strict):
    """Where amounts are rounded half up to the smallest unit of the currency.

    `cumulative`: a bill is the rounded total of the window so far minus the rounded total before it, so that the
    bills of a window add up to what the window costs.
    """

    level: Literal["line", "component", "bill"] = "bill"
    cumulative: StrictBool = False

    @model_validator(mode="after")
    def _cumulative_is_per_bill(self) -> Self:
        if self.cumulative and self.level != "bill":
            raise Wrong("cumulative", "cumulative")
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
        refuse(season_problems(value))
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
    def limits_bills(self) -> bool:
        """Whether a least or highest amount is of a whole bill, which no part of it can tell."""
        return any(limit is not None and limit.per == "bill" for limit in (self.minimum, self.cap))

    @property
    def by_load(self) -> bool:
        """Whether the highest load of each calendar month is charged."""
        return any(part.kind == "demand" for part in self.components)

    def season_on(self, day: date) -> str | None:
        """The season of a local day; None without seasons."""
        return season_on(self.seasons, day)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Wrong]:
        codes = [part.code for part in self.components]
        for code in sorted({code for code in codes if codes.count(code) > 1}):
            yield Wrong("component-twice", "components", found=code)
        if (self.unit is None) == bool(self.energy):
            yield Wrong("unit", "unit")
        if not self.energy and (self.tiers != TierSet() or self.periods or self.household or self.seasons):
            yield Wrong("not-energy")
        for part in self.energy:
            yield from self._price_problems(part)
        if len({any(True for _ in part.single_tables()) for part in self.energy}) > 1:
            yield Wrong("single-all", "components")
        if self.periods is not None:
            yield from schedule_problems(self.periods, self.seasons)
        yield from self._order_problems()
        yield from self._mode_problems()
        yield from self._household_problems()
        yield from self._decimal_problems()
        yield from self._limit_problems()

    def _price_problems(self, part: EnergyComponent) -> Iterator[Wrong]:
        tiers = len(self.tiers.bounds) + 1
        if bool(self.seasons) != (part.by_season is not None):
            yield Wrong("prices-by-season" if self.seasons else "prices-without-seasons", component=part.code)
        yield from self._season_problems(part, "by_season", part.by_season)
        yield from self._season_problems(part, "single_by_season", part.single_by_season)
        if self.seasons and part.single is not None:
            yield Wrong("single-by-season", "single", component=part.code)
        for place, table in part.tables():
            yield from self._period_problems(part, place, set(table))
            for period, row in table.items():
                if len(row) != tiers:
                    yield Wrong("tier-prices", *place, period, component=part.code, wanted=tiers, found=len(row))
        for place, prices in part.single_tables():
            yield from self._period_problems(part, place, set(prices))
        if part.flat is not None and (self.tiers.mode != "volume" or len(part.flat) != tiers):
            yield Wrong("flat", "flat", component=part.code, wanted=tiers)

    def _season_problems(
        self, part: EnergyComponent, place: str, table: Mapping[str, object] | None
    ) -> Iterator[Wrong]:
        wanted = [season.code for season in self.seasons]
        if table is not None and set(table) != set(wanted):
            yield Wrong("seasons-named", place, component=part.code, wanted=", ".join(wanted) or "–")

    def _period_problems(self, part: EnergyComponent, place: tuple[str, ...], found: set[str]) -> Iterator[Wrong]:
        if found != set(self.period_codes):
            yield Wrong("periods-named", *place, component=part.code, wanted=", ".join(self.period_codes))

    def _order_problems(self) -> Iterator[Wrong]:
        """Percentages come after what has a price, each after what it is a percentage of, and taxes come last."""
        before: list[str] = []
        reached = 0
        for part in self.components:
            rank = 2 if isinstance(part, TaxComponent) else int(isinstance(part, _RELATIVE))
            if rank < reached:
                yield Wrong("order", component=part.code)
            if isinstance(part, _RELATIVE):
                unknown = [code for code in part.of if code not in before]
                if unknown or not before:
                    yield Wrong("of-unknown", "of", component=part.code, found=", ".join(unknown) or "–")
            reached = max(rank, reached)
            before.append(part.code)

    def _mode_problems(self) -> Iterator[Wrong]:
        if self.tiers.mode == "volume" and self.seasons:
            yield Wrong("volume-seasons", "tiers", "mode")
        if self.tiers.mode != "package":
            return
        if self.periods is not None:
            yield Wrong("package-periods", "periods")
        for part in self.energy:
            if part.factor != 1:
                yield Wrong("package-factor", "factor", component=part.code)

    def _household_problems(self) -> Iterator[Wrong]:
        rule = self.household
        if rule is None:
            return
        window = self.tiers.window.kind
        if window == "bill" or (window == "month" and rule.per == "year"):
            yield Wrong("household-window", "household", "per", per=rule.per, window=window)
        if self.tiers.bounds and rule.tiers[-1] > len(self.tiers.bounds):
            yield Wrong("household-bounds", "household", "tiers", highest=len(self.tiers.bounds))

    def _decimal_problems(self) -> Iterator[Wrong]:
        exponent = UNIT_EXPONENTS.get(self.unit or "", 0)
        quantities: list[tuple[tuple[str | int, ...], Decimal | None]] = [
            *((("tiers", "bounds", n), bound) for n, bound in enumerate(self.tiers.bounds)),
            (("tiers", "free"), self.tiers.free),
            (("tiers", "package"), self.tiers.package),
            (("household", "raise_bounds_by"), self.household.raise_bounds_by if self.household else None),
        ]
        for place, quantity in quantities:
            if quantity is not None and quantity.scaleb(exponent) % 1:
                yield Wrong("decimals", *place, places=exponent, unit=self.unit, found=quantity)

    def _limit_problems(self) -> Iterator[Wrong]:
        digits = minor_digits(self.currency)
        for name, limit in (("minimum", self.minimum), ("cap", self.cap)):
            if limit is not None and places(limit.amount) > digits:
                yield Wrong("decimals", name, "amount", places=digits, unit=self.currency, found=limit.amount)
        if self.minimum is None or self.cap is None:
            return
        if self.minimum.per != self.cap.per or self.minimum.amount > self.cap.amount:
            yield Wrong("cap-minimum", "cap")


def content_hash(content: TariffContent) -> bytes:
    """SHA-256 of the canonical JSON of a version: equal content, equal hash."""
    document = json.dumps(content.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(document.encode()).digest()


def places(value: Decimal) -> int:
    """Decimals of a number without trailing zeros."""
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)
