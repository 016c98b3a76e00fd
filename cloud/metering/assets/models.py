"""What the API of meters as things takes and gives."""

from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.devices.bindings import BoundDevice
from cloud.kit.inputs import Day, Id, Input, Instant, ListQuery
from cloud.metering.assets.ratings import MAX_DIGITS, Digits, bounds_of, max_per_hour_of
from cloud.metering.models import Decimal4, MeterOut, QuantityOut
from cloud.metering.records import MasterData, Medium, Meter, MeterRegister, Reading
from gateway.contract.quantities import BY_NUMBER

Text64 = Annotated[str, Field(max_length=64)]
Text200 = Annotated[str, Field(max_length=200)]
Why = Annotated[str, Field(min_length=1, max_length=500)]
Small = Annotated[int, Field(ge=1, le=10**12)]


class Out(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(from_attributes=True)


class FaceIn(Input):
    """What a register shows and what its meter is rated for; all of it may be left out."""

    digits: Annotated[int, Field(ge=1, le=MAX_DIGITS, description="Before the point.")] | None = None
    decimals: Annotated[int, Field(ge=0, le=6)] = 0
    unit: Annotated[str, Field(max_length=8, examples=["kWh"])] = ""
    rating: dict[str, Small] | None = Field(
        default=None, examples=[{"voltage_v": 230, "max_current_ma": 60_000, "phases": 1}]
    )

    def bounds(self, medium: Medium) -> tuple[int, int] | None:
        """Modulus and resolution, or None where no digits were given. Raises InvalidInput."""
        if self.digits is None:
            return None
        return bounds_of(medium, Digits(self.digits, self.decimals, self.unit))

    def maximum(self, medium: Medium) -> int | None:
        """The most in an hour, or None where no rating was given. Raises InvalidInput."""
        return None if self.rating is None else max_per_hour_of(medium, self.rating)


class MeterPatch(Input):
    """Corrections of a meter; what is absent stays, and null is none where there can be none."""

    code: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    unit_id: Id | None = None
    parent_id: Id | None = None
    place: Text200 = ""
    meter_class: Text64 = ""
    interval_s: Literal[900, 1800, 3600, 86400] = 3600
    verification_due: Day | None = None

    def corrected(self, data: MasterData) -> MasterData:
        """The master data with what was given."""
        said = self.model_dump(exclude_unset=True)
        return replace(data, **{**said, "code": self.code or data.code})


class RegisterPatch(FaceIn):
    """Corrections of what was entered wrongly of a register; what is absent stays."""

    serial: Text64 | None = None
    multiplier: Decimal4 | None = None
    note: Text200 | None = None

    def said(self, medium: Medium) -> dict[str, object]:
        """The fields that were given, as the service knows them. Raises InvalidInput."""
        said: dict[str, object] = {
            name: value for name in ("serial", "multiplier", "note") if (value := getattr(self, name)) is not None
        }
        if (bounds := self.bounds(medium)) is not None:
            said["modulus"], said["resolution"] = bounds
        if (maximum := self.maximum(medium)) is not None:
            said["max_per_hour"], said["rating"] = maximum, self.rating
        return said


class ChannelEndOut(Out):
    """Where a channel stood at the ends of a register; null where nobody knows."""

    channel: str
    opening: QuantityOut | None
    closing: QuantityOut | None


class RegisterOut(Out):
    """A register in force from `valid_from` to `valid_until` (null: still)."""

    id: int
    meter_id: int
    valid_from: datetime
    valid_until: datetime | None
    reason: str
    serial: str
    multiplier: str
    modulus: int
    resolution: int
    max_per_hour: int
    rating: dict[str, int]
    note: str
    ends: list[ChannelEndOut]

    @classmethod
    def of(cls, register: MeterRegister) -> Self:
        """From the record."""
        fields = {name: getattr(register, name) for name in cls.model_fields if name not in ("multiplier", "ends")}
        ends = [
            ChannelEndOut(
                channel=BY_NUMBER[number].code,
                opening=shown_quantity(ends[0], number),
                closing=shown_quantity(ends[1], number),
            )
            for number, ends in sorted(register.ends.items())
        ]
        return cls(**fields, multiplier=f"{register.multiplier:f}", ends=ends)


class SealIn(Input):
    """A seal was put on a meter."""

    number: Annotated[str, Field(min_length=1, max_length=64)]
    place: Text64 = ""
    applied_at: Instant
    applied_by: Annotated[str, Field(max_length=64, description="Who asks, unless it is said.")] = ""


class SealRemovalIn(Input):
    """A seal was taken off."""

    at: Instant
    reason: Why


class SealOut(Out):
    """A seal of a meter."""

    id: int
    meter_id: int
    number: str
    place: str
    applied_at: datetime
    applied_by: str
    removed_at: datetime | None
    removed_by: str
    removed_reason: str


class VerificationIn(Input):
    """A meter was verified."""

    verified_on: Day
    result: Literal["passed", "failed"]
    next_due: Day | None = None
    certificate: Text64 = ""
    note: Text200 = ""


class VerificationOut(Out):
    """A verification of a meter."""

    id: int
    meter_id: int
    verified_on: date
    result: Literal["passed", "failed"]
    next_due: date | None
    certificate: str
    note: str
    actor: str


class TreeOut(MeterOut):
    """A meter in a tree: `depth` is 0 for the one that was asked for, below 0 for its masters."""

    depth: int


class ChannelOut(Out):
    """A channel that a meter has readings of, and the newest of them."""

    channel: str
    kind: Literal["cumulative", "instant", "state"]
    is_main: bool
    taken_at: datetime
    value: QuantityOut

    @classmethod
    def of(cls, reading: Reading, meter: Meter) -> Self:
        """From the record."""
        quantity = BY_NUMBER[reading.channel]
        return cls(
            channel=quantity.code,
            kind=quantity.kind.value,
            is_main=quantity == meter.main_channel,
            taken_at=reading.taken_at,
            value=QuantityOut.of(reading.value, quantity),
        )


class BindingQuery(ListQuery):
    """Which bindings are wanted."""

    device_id: Id | None = None
    meter_id: Id | None = None


class BindingEndIn(Input):
    """When a binding ends."""

    at: Instant


class BoundDeviceOut(Out):
    """A device that carries a meter, from when to when."""

    id: int
    project_id: int
    device_id: int
    device_code: str
    gateway_code: str
    meter_id: int
    valid_from: datetime
    valid_until: datetime | None

    @classmethod
    def of(cls, binding: BoundDevice) -> Self:
        """From the record."""
        return cls.model_validate(binding)


def shown_quantity(value: int | None, number: int) -> QuantityOut | None:
    """A number in the base unit of a channel, or null."""
    return None if value is None else QuantityOut.of(value, BY_NUMBER[number])
