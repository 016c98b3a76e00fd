"""What the API of meters as things takes and gives. Readings are decimal strings in the unit people use."""

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.devices.bindings import BoundDevice
from cloud.kit.errors import InvalidInput
from cloud.kit.inputs import Day, Id, Input, Instant, ListQuery
from cloud.metering.exchange_records import (
    ChannelEnd,
    ChannelOutcome,
    Exchange,
    ExchangePlan,
    ExchangeReason,
    KnownReading,
    Procedure,
    ProcedureKind,
    Removal,
    WarningCode,
)
from cloud.metering.models import Decimal4, MeterOut, QuantityOut
from cloud.metering.ratings import MAX_DIGITS, Digits, bounds_of, max_per_hour_of
from cloud.metering.records import MAX_MODULUS, MasterData, Medium, Meter, MeterRegister, Reading
from gateway.contract.quantities import BY_CODE, BY_NUMBER, Quantity

Text64 = Annotated[str, Field(max_length=64)]
Text200 = Annotated[str, Field(max_length=200)]
Why = Annotated[str, Field(min_length=1, max_length=500)]
RegisterValue = Annotated[Decimal, Field(ge=0, le=MAX_MODULUS, max_digits=24, examples=["12345.67"])]
"""A register as it is read, in the unit people use (kWh, m³)."""
Small = Annotated[int, Field(ge=1, le=10**12)]


class _Out(BaseModel):
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


class EndIn(Input):
    """Where another channel stood on the old register and on the new one."""

    channel: Text64
    final: RegisterValue | None = None
    initial: RegisterValue | None = None

    def end(self) -> ChannelEnd:
        """In the base unit. Raises InvalidInput."""
        if self.channel not in BY_CODE:
            raise InvalidInput("unknown-channel", "expected the code of a channel", field="others.channel")
        quantity = BY_CODE[self.channel]
        name = f"others.{self.channel}"
        return ChannelEnd(quantity.number, in_base(self.final, quantity, name), in_base(self.initial, quantity, name))


class ExchangeIn(FaceIn):
    """A meter was exchanged, or its multiplier changed, at an instant that has passed.

    `final` is what the old register showed, `initial` what the new one showed. With the reason `multiplier` the
    register runs on: `final` alone is needed.
    """

    at: Instant
    reason: ExchangeReason = "exchanged"
    final: RegisterValue | None = None
    initial: RegisterValue | None = None
    others: Annotated[tuple[EndIn, ...], Field(max_length=30)] = ()
    serial: Text64 = ""
    multiplier: Decimal4 | None = None
    device_id: Id | None = None
    verification_due: Day | None = None
    note: Text200 = ""
    preview: Annotated[bool, Field(description="Only say what it would do.")] = False

    def wanted(self, meter: Meter) -> Exchange:
        """The same as the service knows it. Raises InvalidInput."""
        channel = meter.main_channel
        return Exchange(
            meter.id,
            self.at,
            self.reason,
            in_base(self.final, channel, "final"),
            in_base(self.initial, channel, "initial"),
            tuple(other.end() for other in self.others),
            self.serial,
            self.multiplier,
            self.bounds(meter.medium),
            self.maximum(meter.medium),
            self.rating or {},
            self.device_id,
            self.verification_due,
            self.note,
        )


class RemovalIn(Input):
    """A meter was taken out for good."""

    at: Instant
    final: RegisterValue | None = None
    others: Annotated[tuple[EndIn, ...], Field(max_length=30)] = ()
    note: Text200 = ""
    preview: Annotated[bool, Field(description="Only say what it would do.")] = False

    def wanted(self, meter: Meter) -> Removal:
        """The same as the service knows it. Raises InvalidInput."""
        final = in_base(self.final, meter.main_channel, "final")
        return Removal(meter.id, self.at, final, tuple(other.end() for other in self.others), self.note)


class UndoIn(Input):
    """Why a procedure is taken back."""

    reason: Why


class ChannelEndOut(_Out):
    """Where a channel stood at the ends of a register; null where nobody knows."""

    channel: str
    opening: QuantityOut | None
    closing: QuantityOut | None


class RegisterOut(_Out):
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
                channel=BY_NUMBER[number].code, opening=_shown(ends[0], number), closing=_shown(ends[1], number)
            )
            for number, ends in sorted(register.ends.items())
        ]
        return cls(**fields, multiplier=f"{register.multiplier:f}", ends=ends)


class KnownReadingOut(_Out):
    """A reading that counts."""

    taken_at: datetime
    value: QuantityOut

    @classmethod
    def of(cls, reading: KnownReading | None, number: int) -> Self | None:
        """From the record."""
        if reading is None:
            return None
        return cls(taken_at=reading.taken_at, value=QuantityOut.of(reading.value, BY_NUMBER[number]))


class ChannelOutcomeOut(_Out):
    """What a change means for a channel: usage before it and after it, multiplier applied; null: not known."""

    channel: str
    final: QuantityOut | None
    initial: QuantityOut | None
    last: KnownReadingOut | None
    next: KnownReadingOut | None
    used_before: QuantityOut | None
    used_after: QuantityOut | None

    @classmethod
    def of(cls, outcome: ChannelOutcome) -> Self:
        """From the record."""
        number = outcome.end.channel
        return cls(
            channel=BY_NUMBER[number].code,
            final=_shown(outcome.end.final, number),
            initial=_shown(outcome.end.initial, number),
            last=KnownReadingOut.of(outcome.neighbours.before, number),
            next=KnownReadingOut.of(outcome.neighbours.after, number),
            used_before=_shown(outcome.used_before, number),
            used_after=_shown(outcome.used_after, number),
        )


class WarningOut(_Out):
    """Something to look at; it forbids nothing."""

    code: WarningCode
    channel: str


class ProcedureOut(_Out):
    """An exchange or a removal, and whether it was undone."""

    id: int
    meter_id: int
    kind: ProcedureKind
    at: datetime
    note: str
    actor: str
    created_at: datetime
    undone_at: datetime | None
    undone_by: str
    undone_reason: str


class ChangeOut(_Out):
    """What a change does, and the procedure that was written down; null for a preview."""

    channels: list[ChannelOutcomeOut]
    warnings: list[WarningOut]
    procedure: ProcedureOut | None

    @classmethod
    def of(cls, plan: ExchangePlan, made: Procedure | None) -> Self:
        """From the records."""
        return cls(
            channels=[ChannelOutcomeOut.of(outcome) for outcome in plan.outcomes],
            warnings=[WarningOut(code=one.code, channel=BY_NUMBER[one.channel].code) for one in plan.warnings],
            procedure=None if made is None else ProcedureOut.model_validate(made),
        )


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


class SealOut(_Out):
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


class VerificationOut(_Out):
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


class ChannelOut(_Out):
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


class BoundDeviceOut(_Out):
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


def in_base(value: Decimal | None, quantity: Quantity, field: str) -> int | None:
    """A register as it is read, in the base unit. Raises InvalidInput when it has digits below that."""
    if value is None:
        return None
    scaled = value.scaleb(-quantity.display_exponent)
    if scaled != scaled.to_integral_value():
        raise InvalidInput(
            "bad-decimals", f"expected at most {-quantity.display_exponent} decimals of {quantity.display_unit}",
            field=field,
        )  # fmt: skip
    return int(scaled)


def _shown(value: int | None, number: int) -> QuantityOut | None:
    return None if value is None else QuantityOut.of(value, BY_NUMBER[number])
