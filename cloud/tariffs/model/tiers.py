"""Tiers: their bounds, the window in which they fill, what is free, and what large households get."""

import re
from datetime import date
from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, StrictInt, field_validator, model_validator

from cloud.kit.periods import Period, month_of, months, year_window
from cloud.tariffs.model.problems import Wrong
from cloud.tariffs.model.values import Quantity, Strict

_MONTH_DAY = re.compile(r"[0-9]{2}-[0-9]{2}")

Share = tuple[int, int]
"""Numerator and denominator."""


class Window(Strict):
    """Over which time the tiers fill: one bill, a calendar month, or a year that begins on the anchor.

    `partial` says what an account gets that is there only for a part of the window: full tiers, tiers by the calendar
    months it touches, or by days.
    """

    kind: Literal["bill", "month", "year"] = "bill"
    anchor: str = Field(default="01-01", description="First day of the year window, MM-DD.")
    partial: Literal["full", "by_month", "by_day"] = Field(
        default="full", description="Tiers of an account that moves in or out within the window."
    )

    @field_validator("anchor")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        return month_day(value)

    @model_validator(mode="after")
    def _a_bill_is_whole(self) -> Self:
        if self.kind == "bill" and self.partial != "full":
            raise Wrong("bill-partial", "partial")
        if self.kind == "month" and self.partial == "by_month":
            raise Wrong("month-partial", "partial")
        return self

    def around(self, period: Period) -> Period:
        """The window in which `period` begins."""
        if self.kind == "year":
            month, day = map(int, self.anchor.split("-"))
            return year_window(period.start, month, day)
        return month_of(period.start) if self.kind == "month" else period

    def parts(self, window: Period, stay: Period) -> Share:
        """How much of a window counts for an account that is there during `stay`: months or days of all."""
        there = window.overlap(stay)
        if there is None or self.partial == "full":
            return 1, 1
        if self.partial == "by_day":
            return there.days, window.days
        of_stay = sum(1 for _ in months(there.start, there.end))
        return min(of_stay, 12), 12


class TierSet(Strict):
    """Tiers by inclusive upper bounds: with the bound 240, unit 240 is still tier 1.

    graduated: every unit costs the price of the tier it falls into; volume: all units cost the price of the tier that
    the last one falls into; package: whole packages, begun ones included, by the tier they fall into.
    """

    mode: Literal["graduated", "volume", "package"] = "graduated"
    bounds: tuple[Quantity, ...] = ()
    window: Window = Window()
    free: Quantity | None = Field(
        default=None, description="Free in each window; the tiers begin above it. Graduated mode only."
    )
    package: Quantity | None = Field(default=None, description="Units in one package; only in package mode.")

    @field_validator("bounds")
    @classmethod
    def _rising(cls, value: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        if any(upper <= lower for lower, upper in zip((Decimal(0), *value), value, strict=False)):
            raise Wrong("bounds")
        return value

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        if self.mode == "volume" and self.window.kind != "bill":
            raise Wrong("volume-window", "window", "kind")
        if (self.mode == "package") != (self.package is not None):
            raise Wrong("package-size", "package")
        if self.package is not None and self.package <= 0:
            raise Wrong("package-zero", "package", found=self.package)
        if self.free is not None and (self.mode != "graduated" or self.free <= 0):
            raise Wrong("free", "free")
        return self


class HouseholdRule(Strict):
    """Widens tiers for large households.

    `each: household` widens once; `each: extra_person` once for every person from the `from_persons`-th on. A tier that
    is widened moves its own bound and all bounds above it.
    """

    from_persons: int = Field(ge=1, le=99, strict=True)
    raise_bounds_by: Quantity
    per: Literal["month", "year"]
    each: Literal["household", "extra_person"] = "household"
    tiers: tuple[StrictInt, ...] = Field(
        default=(1,), min_length=1, description="Which tiers are widened, counted from 1."
    )

    @field_validator("tiers")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(tier < 1 for tier in value) or list(value) != sorted(set(value)):
            raise Wrong("household-tiers")
        return value

    def steps(self, persons: int) -> int:
        """How many times a household of `persons` is given the rule."""
        over = max(persons - self.from_persons + 1, 0)
        return over if self.each == "extra_person" else min(over, 1)


def month_day(text: str) -> str:
    """A day as MM-DD. Raises ValueError unless it exists in every year."""
    try:
        if _MONTH_DAY.fullmatch(text) is None:  # fromisoformat alone takes weeks too
            raise ValueError(text)
        parsed = date.fromisoformat(f"2023-{text}")  # not a leap year: the day exists in every year
    except ValueError:
        raise Wrong("day", found=repr(text)) from None
    return f"{parsed:%m-%d}"
