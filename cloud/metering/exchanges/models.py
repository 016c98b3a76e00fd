"""What the API of exchanges and removals takes and gives. Readings are decimal strings in the unit people use."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field

from cloud.kit.errors import InvalidInput
from cloud.kit.inputs import Day, Id, Input, Instant
from cloud.metering.assets.models import FaceIn, Out, Text64, Text200, Why, shown_quantity
from cloud.metering.exchanges.records import (
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
from cloud.metering.models import Decimal4, QuantityOut
from cloud.metering.records import MAX_MODULUS, Meter
from gateway.contract.quantities import BY_CODE, BY_NUMBER, Quantity

RegisterValue = Annotated[Decimal, Field(ge=0, le=MAX_MODULUS, max_digits=24, examples=["12345.67"])]
"""A register as it is read, in the unit people use (kWh, m³)."""


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


class KnownReadingOut(Out):
    """A reading that counts."""

    taken_at: datetime
    value: QuantityOut

    @classmethod
    def of(cls, reading: KnownReading | None, number: int) -> Self | None:
        """From the record."""
        if reading is None:
            return None
        return cls(taken_at=reading.taken_at, value=QuantityOut.of(reading.value, BY_NUMBER[number]))


class ChannelOutcomeOut(Out):
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
            final=shown_quantity(outcome.end.final, number),
            initial=shown_quantity(outcome.end.initial, number),
            last=KnownReadingOut.of(outcome.neighbours.before, number),
            next=KnownReadingOut.of(outcome.neighbours.after, number),
            used_before=shown_quantity(outcome.used_before, number),
            used_after=shown_quantity(outcome.used_after, number),
        )


class WarningOut(Out):
    """Something to look at; it forbids nothing."""

    code: WarningCode
    channel: str


class ProcedureOut(Out):
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


class ChangeOut(Out):
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
