"""What a tariff may say: currency, components, tiers, windows, household rule, time periods, rounding."""

import hashlib
import json
import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from cloud.kit.periods import Period, month_of, year_window

UNIT_EXPONENTS = {"kWh": 3, "m3": 6, "piece": 0}
"""Decimals of a metered unit: usage is counted in integers of 10^-exponent of it (Wh, mL, pieces)."""

PRICE_PLACES = 8

_PRICE = r"^[0-9]{1,10}(\.[0-9]{1,8})?$"
_QUANTITY = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"


def _decimal(pattern: str, expected: str) -> BeforeValidator:
    def read(value: object) -> object:
        if isinstance(value, Decimal):
            value = format(value, "f")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise ValueError(f"{expected}, found {value!r}")
        return Decimal(value)

    return BeforeValidator(read)


_AS_TEXT = PlainSerializer(lambda value: format(value, "f"), return_type=str)

Price = Annotated[
    Decimal,
    _decimal(_PRICE, 'a price of 0 or more with at most 8 decimals, in quotes, such as "0.4883"'),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "pattern": _PRICE, "examples": ["0.4883"]}),
]
Quantity = Annotated[
    Decimal,
    _decimal(_QUANTITY, "a quantity, 0 or more, a whole number or a decimal in quotes"),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _QUANTITY}]}),
]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]

ALL = "all"
"""The period of a tariff that knows none."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnergyComponent(_Strict):
    """Priced by what the meter counted: a price for each period and tier, and a flat part for each tier."""

    kind: Literal["energy"]
    code: Code
    prices: dict[Code, tuple[Price, ...]] = Field(
        description='Period → one price per tier. A tariff without periods has the single key "all".'
    )
    flat: tuple[Price, ...] | None = Field(
        default=None,
        description="Volume mode: amount added once for the tier reached, when anything was used. One per tier.",
    )


class FixedComponent(_Strict):
    """The same for everyone, by the day or by the calendar month."""

    kind: Literal["fixed"]
    code: Code
    per: Literal["day", "month"]
    price: Price


class AreaComponent(_Strict):
    """By floor area and calendar month: property fee."""

    kind: Literal["area"]
    code: Code
    per: Literal["month"] = "month"
    price: Price


Component = Annotated[EnergyComponent | FixedComponent | AreaComponent, Field(discriminator="kind")]


class Window(_Strict):
    """Over which time the tiers fill: one bill, a calendar month, or a year that begins on the anchor."""

    kind: Literal["bill", "month", "year"] = "bill"
    anchor: str = Field(default="01-01", description="First day of the year window, MM-DD.")

    @field_validator("anchor")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        try:
            parsed = date.fromisoformat(f"2023-{value}")  # not a leap year: the anchor exists in every year
        except ValueError:
            raise ValueError(f"a day MM-DD that exists in every year, found {value!r}") from None
        return f"{parsed:%m-%d}"

    def around(self, period: Period) -> Period:
        """The window in which `period` begins."""
        if self.kind == "year":
            month, day = map(int, self.anchor.split("-"))
            return year_window(period.start, month, day)
        return month_of(period.start) if self.kind == "month" else period


class TierSet(_Strict):
    """Tiers by inclusive upper bounds: with the bound 240, unit 240 is still tier 1."""

    mode: Literal["graduated", "volume", "package"] = "graduated"
    bounds: tuple[Quantity, ...] = ()
    window: Window = Window()

    @field_validator("mode")
    @classmethod
    def _supported(cls, value: str) -> str:
        if value == "package":
            raise ValueError("graduated or volume: package tiers are not supported yet")
        return value

    @field_validator("bounds")
    @classmethod
    def _rising(cls, value: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        if any(upper <= lower for lower, upper in zip((Decimal(0), *value), value, strict=False)):
            raise ValueError("upper bounds above 0, each higher than the one before")
        return value

    @model_validator(mode="after")
    def _volume_is_per_bill(self) -> Self:
        if self.mode == "volume" and self.window.kind != "bill":
            raise ValueError("volume tiers look at one bill: their window must be bill")
        return self


class HouseholdRule(_Strict):
    """Raises every upper bound for large households.

    `each: household` raises once; `each: extra_person` once for every person from the `from_persons`-th on.
    """

    from_persons: int = Field(ge=1, le=99)
    raise_bounds_by: Quantity
    per: Literal["month", "year"]
    each: Literal["household", "extra_person"] = "household"


class Allocation(_Strict):
    """How the usage of several periods meets the tiers.

    proportional: every period has the same share of every tier; priority: the periods fill the tiers one after the
    other in `order`.
    """

    method: Literal["proportional", "priority", "chronological"]
    order: tuple[Code, ...] = ()

    @field_validator("method")
    @classmethod
    def _supported(cls, value: str) -> str:
        if value == "chronological":
            raise ValueError("proportional or priority: chronological allocation is not supported yet")
        return value


class TimePeriods(_Strict):
    """Periods of the day that the meter counts in registers of their own: peak, flat, valley …"""

    codes: tuple[Code, ...] = Field(min_length=2, max_length=8)
    allocation: Allocation

    @model_validator(mode="after")
    def _order_names_each_once(self) -> Self:
        if len(set(self.codes)) != len(self.codes) or ALL in self.codes:
            raise ValueError(f"codes: different names, none of them {ALL!r}")
        order = self.allocation.order
        if self.allocation.method == "priority" and sorted(order) != sorted(self.codes):
            raise ValueError(f"allocation.order: each of {', '.join(self.codes)} once")
        if self.allocation.method != "priority" and order:
            raise ValueError("allocation.order: only with the method priority")
        return self


class Rounding(_Strict):
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


class TariffContent(_Strict):
    """One version of a tariff, as a YAML file or as stored in the database."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    service: Code
    unit: Literal["kWh", "m3", "piece"] | None = Field(default=None, description="Unit of usage; none without a meter.")
    source: str = Field(default="", max_length=1000, pattern=r"^[^\x00]*$", description="Where the prices come from.")
    components: tuple[Component, ...] = Field(min_length=1, max_length=20)
    tiers: TierSet = TierSet()
    household: HouseholdRule | None = None
    periods: TimePeriods | None = None
    rounding: Rounding = Rounding()

    @property
    def energy(self) -> tuple[EnergyComponent, ...]:
        """The components that need a meter."""
        return tuple(part for part in self.components if isinstance(part, EnergyComponent))

    @property
    def period_codes(self) -> tuple[str, ...]:
        """Codes of the periods; the single code `all` without periods."""
        return self.periods.codes if self.periods else (ALL,)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        codes = [part.code for part in self.components]
        if len(set(codes)) != len(codes):
            raise ValueError("components: each code once")
        if (self.unit is None) == bool(self.energy):
            raise ValueError("unit: needed with energy components, and only then")
        if not self.energy and (self.tiers.bounds or self.periods or self.household):
            raise ValueError("tiers, household and periods need an energy component")
        for part in self.energy:
            self._check_matrix(part)
        self._check_household()
        self._check_places()
        return self

    def _check_matrix(self, part: EnergyComponent) -> None:
        tiers = len(self.tiers.bounds) + 1
        if set(part.prices) != set(self.period_codes):
            raise ValueError(f"{part.code}.prices: a row for each of {', '.join(self.period_codes)} and no other")
        for period, row in part.prices.items():
            if len(row) != tiers:
                raise ValueError(f"{part.code}.prices.{period}: {tiers} prices, one per tier, found {len(row)}")
        if part.flat is not None and (self.tiers.mode != "volume" or len(part.flat) != tiers):
            raise ValueError(f"{part.code}.flat: only in volume mode, one amount per tier ({tiers})")

    def _check_household(self) -> None:
        if self.household is None:
            return
        window = self.tiers.window.kind
        if window == "bill" or (window == "month" and self.household.per == "year"):
            raise ValueError(f"household.per {self.household.per}: does not fit the tier window {window}")

    def _check_places(self) -> None:
        exponent = UNIT_EXPONENTS.get(self.unit or "", 0)
        quantities = (*self.tiers.bounds, *((self.household.raise_bounds_by,) if self.household else ()))
        for quantity in quantities:
            if quantity.scaleb(exponent) % 1:
                raise ValueError(f"bounds: at most {exponent} decimals of {self.unit}, found {quantity}")


def content_hash(content: TariffContent) -> bytes:
    """SHA-256 of the canonical JSON of a version: equal content, equal hash."""
    document = json.dumps(content.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(document.encode()).digest()
