"""The fee rule of a lot, as it is written in YAML and stored with each published version."""

import json
import re
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from cloud.kit.money import minor_digits

MINUTES_PER_DAY = 24 * 60


_AMOUNT = re.compile(r"\d{1,6}(\.\d{1,3})?", re.ASCII)


def _amount(value: object) -> Decimal:
    text = str(value) if isinstance(value, str | Decimal) else ""
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f'expected a quoted amount such as "5.00", at most 999999.999, found {value!r}')
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


class Window(Unit):
    """A part of the local day with its own unit. `end` may lie past midnight: 18:00 to 08:00."""

    start: ClockTime
    end: ClockTime


class FirstBlock(RuleModel):
    """The first minutes that are billed cost one amount, however few are used."""

    minutes: int = Field(ge=1, le=7 * MINUTES_PER_DAY)
    amount: Amount


class Caps(RuleModel):
    """Most that is charged for units and blocks that begin within a period."""

    per_24_hours: Amount | None = Field(default=None, description="In each 24 hours counted from the entry.")
    per_calendar_day: Amount | None = Field(default=None, description="On each local date.")


class Schedule(RuleModel):
    """What one class of vehicles pays: `unit` all day long, or `windows` that cover the day exactly once."""

    free_minutes: int = Field(default=0, ge=0, le=7 * MINUTES_PER_DAY)
    billing_from: Literal["entry", "end-of-free"] = Field(
        default="entry",
        description="Once the free minutes are exceeded: whether they are billed after all (entry) or stay free.",
    )
    first: FirstBlock | None = None
    unit: Unit | None = None
    windows: tuple[Window, ...] = ()
    caps: Caps = Caps()

    @model_validator(mode="after")
    def _one_way_to_charge(self) -> Self:
        if (self.unit is None) == (not self.windows):
            raise ValueError("expected either unit or windows")
        covered = bytearray(MINUTES_PER_DAY)
        for window in self.windows:
            start, end = clock_minutes(window.start) % MINUTES_PER_DAY, clock_minutes(window.end)
            length = (end - start - 1) % MINUTES_PER_DAY + 1
            for minute in range(start, start + length):
                covered[minute % MINUTES_PER_DAY] += 1
        if self.windows and set(covered) != {1}:
            minute, times = next((at, times) for at, times in enumerate(covered) if times != 1)
            found = "no window" if times == 0 else f"{times} windows"
            raise ValueError(f"windows must cover the day once, but {minute // 60:02}:{minute % 60:02} is in {found}")
        return self

    def amounts(self) -> list[Decimal]:
        """Every amount of the schedule."""
        units = [self.unit] if self.unit is not None else list(self.windows)
        found = [unit.price for unit in units]
        found += [self.first.amount] if self.first is not None else []
        return found + [cap for cap in (self.caps.per_24_hours, self.caps.per_calendar_day) if cap is not None]


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
        for schedule in (self.schedule, *self.classes.values()):
            for amount in schedule.amounts():
                if amount != round(amount, digits):
                    raise ValueError(f"{amount}: amounts in {self.currency} have at most {digits} decimals")
        return self

    def schedule_of(self, vehicle_class: str) -> Schedule:
        """The schedule that vehicles of this class pay by."""
        return self.classes.get(vehicle_class, self.schedule)


def rule_schema() -> str:
    """JSON Schema of fee rule files, as it lies in `firmware-config/schema/`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ParkingRule.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
