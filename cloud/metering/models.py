"""What the API of metering takes and gives. Quantities are decimal strings in the unit people use."""

from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.errors import InvalidInput
from cloud.kit.inputs import Day, Id, Input, Instant, ListQuery
from cloud.kit.periods import Period
from cloud.metering.assets.ratings import MAX_DIGITS, Digits, bounds_of, max_per_hour_of
from cloud.metering.consumption.selection import LONGEST
from cloud.metering.records import (
    MAX_MODULUS,
    MAX_PER_HOUR,
    Medium,
    Meter,
    MeterFilter,
    NewMeter,
    Reading,
    Step,
    UsageBar,
)
from gateway.contract.quantities import BY_CODE, BY_NUMBER, Quantity

Decimal4 = Annotated[Decimal, Field(gt=0, le=10**8, max_digits=12, decimal_places=4)]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class QuantityOut(_Out):
    """A number with its unit."""

    quantity: str = Field(examples=["123.456"])
    unit: str = Field(examples=["kWh"])

    @classmethod
    def of(cls, value: int, quantity: Quantity) -> Self:
        """From the base unit of a quantity."""
        shown = Decimal(value).scaleb(quantity.display_exponent)
        return cls(quantity=f"{shown:f}", unit=quantity.display_unit)


class MeterQuery(ListQuery):
    """Which meters are wanted."""

    unit_id: Id | None = None
    medium: Medium | None = None
    meter_class: Annotated[str, Field(max_length=64)] | None = None
    parent_id: Id | None = None
    due_by: (
        Annotated[Day, Field(description="Verification due on this day or before; meters in place only.")] | None
    ) = None

    def wanted(self) -> MeterFilter:
        """The same as the service knows it."""
        return MeterFilter(self.unit_id, self.medium, self.meter_class, self.parent_id, self.due_by)


class MeterIn(Input):
    """A new meter.

    The register is said by its digits and the rating of the meter, or at once by `modulus` and `max_per_hour` in the
    base unit of the main channel (Wh, mL).
    """

    project_id: Id
    code: Annotated[str, Field(min_length=1, max_length=64)]
    medium: Medium
    unit_id: Id | None = None
    modulus: Annotated[int, Field(ge=1, le=MAX_MODULUS, examples=[1_000_000_000])] | None = None
    max_per_hour: Annotated[int, Field(ge=1, le=MAX_PER_HOUR, examples=[13_200])] | None = None
    digits: Annotated[int, Field(ge=1, le=MAX_DIGITS, description="Before the point.")] | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] = 0
    unit: Annotated[str, Field(max_length=8)] = ""
    rating: Annotated[
        dict[str, Annotated[int, Field(ge=1, le=10**12)]] | None,
        Field(examples=[{"voltage_v": 230, "max_current_ma": 60_000, "phases": 1}]),
    ] = None
    installed_on: Day
    multiplier: Decimal4 = Decimal(1)
    parent_id: Id | None = None
    serial: Annotated[str, Field(max_length=64)] = ""
    place: Annotated[str, Field(max_length=200)] = ""
    meter_class: Annotated[str, Field(max_length=64)] = ""
    interval_s: Literal[900, 1800, 3600, 86400] = 3600
    verification_due: Day | None = None

    def new(self) -> NewMeter:
        """The same as the service knows it. Raises InvalidInput."""
        modulus, resolution = self.modulus, 1
        if self.digits is not None:
            modulus, resolution = bounds_of(self.medium, Digits(self.digits, self.decimals, self.unit))
        if modulus is None:
            raise InvalidInput("bad-digits", "expected digits (or modulus)", field="digits")
        maximum = self.max_per_hour if self.rating is None else max_per_hour_of(self.medium, self.rating)
        if maximum is None:
            raise InvalidInput("bad-rating", "expected rating (or max_per_hour)", field="rating")
        said = self.model_dump(include={field.name for field in fields(NewMeter)})
        said |= {"modulus": modulus, "resolution": resolution, "max_per_hour": maximum, "rating": self.rating or {}}
        return NewMeter(**said)


class MeterOut(_Out):
    """A meter."""

    id: int
    project_id: int
    code: str
    medium: Medium
    unit_id: int | None
    parent_id: int | None
    serial: str
    place: str
    multiplier: str
    modulus: int
    max_per_hour: int
    installed_on: date
    removed_on: date | None
    meter_class: str
    interval_s: int
    verification_due: date | None

    @classmethod
    def of(cls, meter: Meter) -> Self:
        """From the record."""
        fields = {name: getattr(meter, name) for name in cls.model_fields if name != "multiplier"}
        return cls(**fields, multiplier=f"{meter.multiplier:f}")


class ReadingQuery(ListQuery):
    """Readings of one channel (the billed one unless named) in [start, end)."""

    channel: Annotated[str, Field(max_length=64, examples=["energy_import_total"])] | None = None
    start: Instant | None = None
    end: Instant | None = None

    def number(self, meter: Meter) -> int:
        """The channel's number. Raises InvalidInput."""
        return channel_number(self.channel, meter)


class ReadingOut(_Out):
    """One reading of the register, before the multiplier."""

    channel: str
    taken_at: datetime
    value: QuantityOut
    quality: int

    @classmethod
    def of(cls, reading: Reading) -> Self:
        """From the record."""
        quantity = BY_NUMBER[reading.channel]
        value = QuantityOut.of(reading.value, quantity)
        return cls(channel=quantity.code, taken_at=reading.taken_at, value=value, quality=reading.quality)


class UsageQuery(Input):
    """Local days [from, to) in steps."""

    from_: Annotated[Day, Field(alias="from", examples=["2026-01-01"])]
    to: Annotated[Day, Field(examples=["2026-02-01"])]
    step: Step = "day"
    channel: Annotated[str, Field(max_length=64)] | None = None

    def period(self) -> Period:
        """The same as the services know it. Raises InvalidInput."""
        longest = LONGEST[self.step]
        if not 1 <= (self.to - self.from_).days <= longest:
            raise InvalidInput("bad-period", f"expected 1 to {longest} days for step {self.step}", field="to")
        return Period(self.from_, self.to)


class BarOut(_Out):
    """Usage of one step; `quantity` is null where it is not known, `gap` says that readings are missing for too long
    to estimate it, `estimated` that it is, at least in part, an estimate."""

    start: datetime
    end: datetime
    quantity: str | None
    gap: bool
    estimated: bool


class UsageOut(_Out):
    """Bars of one meter."""

    meter_id: int
    channel: str
    unit: str
    step: Step
    time_zone: str
    items: list[BarOut]

    @classmethod
    def of(cls, meter: Meter, number: int, step: Step, time_zone: str, bars: list[UsageBar]) -> Self:
        """From the records."""
        quantity = BY_NUMBER[number]
        items = [
            BarOut(
                start=bar.start,
                end=bar.end,
                quantity=None if bar.quantity is None else QuantityOut.of(bar.quantity, quantity).quantity,
                gap=bar.spans_gap,
                estimated=bar.estimated,
            )
            for bar in bars
        ]
        return cls(
            meter_id=meter.id, channel=quantity.code, unit=quantity.display_unit, step=step, time_zone=time_zone,
            items=items,
        )  # fmt: skip


class BindingIn(Input):
    """From `valid_from` on the device's readings are the meter's."""

    device_id: Id
    meter_id: Id
    valid_from: Instant
    valid_until: Instant | None = None


class BindingOut(_Out):
    """A binding of a device to a meter."""

    id: int
    device_id: int
    meter_id: int
    valid_from: datetime
    valid_until: datetime | None


def channel_number(code: str | None, meter: Meter) -> int:
    """Number of a channel, the meter's billed one unless named. Raises InvalidInput."""
    if code is None:
        return meter.main_channel.number
    if code not in BY_CODE:
        raise InvalidInput("unknown-channel", "expected the code of a channel", field="channel")
    return BY_CODE[code].number
