"""The fee rule of a lot, as it is written in YAML and stored with each published version."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from cloud.kit.calendars import DAY_TYPES, DayType
from cloud.kit.money import minor_digits
from cloud.parking.fees.problems import Wrong

MINUTES_PER_DAY = 24 * 60
_WEEK = 7 * MINUTES_PER_DAY
_YEAR = 366 * MINUTES_PER_DAY


_AMOUNT = re.compile(r"\d{1,6}(\.\d{1,3})?", re.ASCII)


def _amount(value: object) -> Decimal:
    text = str(value) if isinstance(value, str | Decimal) else ""
    if not _AMOUNT.fullmatch(text):
        raise Wrong("amount", found=repr(value))
    return Decimal(text)


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "string", "pattern": f"^{_AMOUNT.pattern}$"}),
]
ClockTime = Annotated[
    str,
    Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$", description='Local time, "00:00" to "24:00".'),
]


def clock_minutes(text: str) -> int:
    """Minutes since midnight of an `HH:MM` text."""
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


class RuleModel(BaseModel):
    """Unknown keys are refused; a rule never changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Unit(RuleModel):
    """Every unit begun costs its price."""

    minutes: int = Field(ge=1, le=MINUTES_PER_DAY, description="Length of a unit; a unit begun is a unit charged.")
    price: Amount


class Step(Unit):
    """Units of one price up to a time; every step counts its units anew."""

    up_to_minutes: int | None = Field(
        default=None,
        ge=1,
        le=_WEEK,
        description="Billed minutes since billing began, the first block included; in a window, since it was entered.",
    )


def _in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    bounds = [step.up_to_minutes for step in steps]
    if steps and (bounds[-1] is not None or None in bounds[:-1]):
        raise Wrong("steps-open")
    rising = [bound for bound in bounds if bound is not None]
    for before, following in pairwise(rising):
        if following <= before:
            raise Wrong("steps-order", next=following, before=before)
    return steps


class PriceWindow(RuleModel):
    """A part of the local day with its own price. `end` may lie past midnight: 18:00 to 08:00."""

    start: ClockTime
    end: ClockTime
    days: tuple[DayType, ...] = Field(
        default=DAY_TYPES, min_length=1, description="Kinds of days on which it begins, by the project's calendar."
    )
    minutes: int | None = Field(default=None, ge=1, le=MINUTES_PER_DAY, description="Length of a unit.")
    price: Amount | None = None
    steps: tuple[Step, ...] = Field(default=(), description="Instead of minutes and price.")
    cap: Amount | None = Field(default=None, description="Most for each time the window lasts.")

    _steps_in_order = field_validator("steps")(_in_order)

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if {self.minutes is None, self.price is None} != {bool(self.steps)}:
            raise Wrong("window-price")
        return self

    @property
    def length(self) -> int:
        """Minutes from start to end; the whole day when both are the same."""
        return (clock_minutes(self.end) - clock_minutes(self.start) - 1) % MINUTES_PER_DAY + 1

    @property
    def plan(self) -> tuple[Step, ...]:
        """Its steps; one of them when it has one price."""
        if self.minutes is None or self.price is None:
            return self.steps
        return (Step(minutes=self.minutes, price=self.price),)


class FirstBlock(RuleModel):
    """The first minutes that are billed cost one amount, however few are used."""

    minutes: int = Field(ge=1, le=_WEEK)
    amount: Amount


class EscalatingCap(RuleModel):
    """Most that is charged in all for what begins within a time from the entry."""

    within_minutes: int = Field(ge=1, le=_YEAR)
    amount: Amount


class Caps(RuleModel):
    """Most that is charged for units and blocks that begin within a period."""

    per_24_hours: Amount | None = Field(default=None, description="In each 24 hours counted from the entry.")
    per_calendar_day: Amount | None = Field(default=None, description="On each local date.")
    escalating: tuple[EscalatingCap, ...] = Field(default=(), description="From the entry; the longest time last.")

    @field_validator("escalating")
    @classmethod
    def _rising(cls, caps: tuple[EscalatingCap, ...]) -> tuple[EscalatingCap, ...]:
        for before, following in pairwise(caps):
            if following.within_minutes <= before.within_minutes:
                raise Wrong("escalating-time", next=following.within_minutes, before=before.within_minutes)
            if following.amount < before.amount:
                raise Wrong("escalating-amount", next=following.amount, before=before.amount)
        return caps


class ChargingCredit(RuleModel):
    """Minutes that cost nothing because the vehicle was charged here."""

    free_minutes_per_kwh: int = Field(default=0, ge=0, le=MINUTES_PER_DAY)
    free_minutes_per_minute: int = Field(default=0, ge=0, le=10, description="For each minute of charging.")
    at_most_minutes: int | None = Field(default=None, ge=1, le=_WEEK)

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if not self.free_minutes_per_kwh and not self.free_minutes_per_minute:
            raise Wrong("charging-nothing")
        return self


class Schedule(RuleModel):
    """What one class of vehicles pays: by `unit` all day long, by `steps`, or by `windows` that cover the day once."""

    free_minutes: int = Field(default=0, ge=0, le=_WEEK)
    free_minutes_per: Literal["stay", "day"] = Field(
        default="stay",
        description="Whether each stay has them, or the stays of a plate that begin on one local day share them.",
    )
    billing_from: Literal["entry", "end-of-free"] = Field(
        default="entry",
        description="Once the free minutes are exceeded: whether they are billed after all (entry) or stay free.",
    )
    first: FirstBlock | None = None
    unit: Unit | None = None
    steps: tuple[Step, ...] = ()
    windows: tuple[PriceWindow, ...] = ()
    caps: Caps = Caps()
    charging: ChargingCredit | None = None

    _steps_in_order = field_validator("steps")(_in_order)

    @field_validator("windows")
    @classmethod
    def _cover_the_day(cls, windows: tuple[PriceWindow, ...]) -> tuple[PriceWindow, ...]:
        if windows:
            for day in DAY_TYPES:
                for before in DAY_TYPES:
                    _covered_once(windows, day, before)
        return windows

    @model_validator(mode="after")
    def _one_way_to_charge(self) -> Self:
        if [self.unit is None, not self.steps, not self.windows].count(False) != 1:
            raise Wrong("one-way")
        bound = self.steps[0].up_to_minutes if self.steps else None
        if self.first is not None and bound is not None and bound <= self.first.minutes:
            raise Wrong("step-unreached", first=self.first.minutes, up_to=bound)
        if self.free_minutes_per == "day" and not self.free_minutes:
            raise Wrong("quota-nothing")
        return self

    @property
    def plan(self) -> tuple[Step, ...]:
        """The steps of a schedule without windows."""
        return self.steps if self.unit is None else (Step(minutes=self.unit.minutes, price=self.unit.price),)

    @property
    def daily_quota(self) -> bool:
        """Whether the free minutes are shared by the stays of a day."""
        return self.free_minutes_per == "day"

    def amounts(self) -> Iterator[tuple[str, Decimal]]:
        """Every amount of the schedule and the field it is in."""
        if self.unit is not None:
            yield "unit.price", self.unit.price
        yield from _step_prices("steps", self.steps)
        for number, window in enumerate(self.windows):
            found = {"price": window.price, "cap": window.cap}
            yield from ((f"windows[{number}].{name}", one) for name, one in found.items() if one is not None)
            yield from _step_prices(f"windows[{number}].steps", window.steps)
        if self.first is not None:
            yield "first.amount", self.first.amount
        caps = {"caps.per_24_hours": self.caps.per_24_hours, "caps.per_calendar_day": self.caps.per_calendar_day}
        yield from ((name, cap) for name, cap in caps.items() if cap is not None)
        for number, one in enumerate(self.caps.escalating):
            yield f"caps.escalating[{number}].amount", one.amount


def _step_prices(field: str, steps: tuple[Step, ...]) -> Iterator[tuple[str, Decimal]]:
    return ((f"{field}[{number}].price", step.price) for number, step in enumerate(steps))


def _covered_once(windows: tuple[PriceWindow, ...], day: DayType, before: DayType) -> None:
    """Raises Wrong unless each minute of a day that follows a day of another kind is in one window."""
    covered = bytearray(MINUTES_PER_DAY)
    for window in windows:
        start = clock_minutes(window.start) % MINUTES_PER_DAY
        minutes: list[int] = []
        if day in window.days:
            minutes += range(start, min(start + window.length, MINUTES_PER_DAY))
        if before in window.days:
            minutes += range(max(start + window.length - MINUTES_PER_DAY, 0))
        for minute in minutes:
            covered[minute] += 1
    if set(covered) == {1}:
        return
    minute, times = next((at, times) for at, times in enumerate(covered) if times != 1)
    code = "window-overlap" if times else "window-gap"
    of_days = any(len(window.days) < len(DAY_TYPES) for window in windows)
    clock = f"{minute // 60:02}:{minute % 60:02}"
    raise Wrong(f"{code}-days" if of_days else code, clock=clock, count=times, day=day, before=before)


VehicleClass = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class ParkingRule(RuleModel):
    """The whole fee rule. Classes without a schedule of their own pay by `schedule`."""

    name: str = Field(min_length=1, max_length=200)
    source: str = Field(default="", max_length=500, description="Where the numbers come from.")
    currency: str = Field(default="CNY", pattern=r"^[A-Z]{3}$")
    leave_within_minutes: int = Field(
        default=15, ge=0, le=MINUTES_PER_DAY, description="How long after a payment leaving costs no more."
    )
    schedule: Schedule
    classes: dict[VehicleClass, Schedule] = {}

    @model_validator(mode="after")
    def _amounts_fit_the_currency(self) -> Self:
        digits = minor_digits(self.currency)
        for place, schedule in self.schedules():
            for field, amount in schedule.amounts():
                if amount != round(amount, digits):
                    found = {"field": f"{place}.{field}", "amount": amount}
                    raise Wrong("decimals", **found, currency=self.currency, digits=digits)
        return self

    def schedules(self) -> Iterator[tuple[str, Schedule]]:
        """All schedules with the field they are in."""
        yield "schedule", self.schedule
        yield from ((f"classes.{name}", schedule) for name, schedule in self.classes.items())

    def schedule_of(self, vehicle_class: str) -> Schedule:
        """The schedule that vehicles of this class pay by."""
        return self.classes.get(vehicle_class, self.schedule)

    @property
    def daily_quota(self) -> bool:
        """Whether stays of some class share free minutes of the day."""
        return any(schedule.daily_quota for _, schedule in self.schedules())


def rule_schema() -> str:
    """JSON Schema of fee rule files, as it lies in `firmware-config/schema/`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ParkingRule.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
