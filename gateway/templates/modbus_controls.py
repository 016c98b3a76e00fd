"""What can be written to a Modbus meter: unlocking, switching the supply, setting the clock."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.templates.base import Strict
from gateway.templates.modbus_registers import Address, Bits, Number, RegisterType


class Write(Strict):
    """One write request."""

    function: Literal[5, 6, 15, 16]
    """5 and 15 write one coil and several, 6 and 16 one register and several."""
    address: Address
    values: Annotated[tuple[Annotated[int, Field(ge=0, le=65_535)], ...], Field(min_length=1, max_length=123)]
    """0 and 1 for coils."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.function in (5, 6) and len(self.values) != 1:
            raise ValueError(f"expected one value with function {self.function}")
        if self.function in (5, 15) and max(self.values) > 1:
            raise ValueError("expected 0 or 1 for a coil")
        if self.address + len(self.values) > 65_536:
            raise ValueError("expected all written addresses below 65536")
        return self


Writes = Annotated[tuple[Write, ...], Field(min_length=1)]


class Unlock(Strict):
    """What must be written before the device can be read."""

    every: Literal["visit", "connection"] = "visit"
    """Before each visit, or once after each connection and after each failure of the device."""
    writes: Writes


class Shown(Number):
    """Where the device shows whether the supply is connected."""

    function: Literal[1, 2, 3, 4] = 3
    connected: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    disconnected: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Any other number is a state in between."""

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if (self.type is RegisterType.BIT) != (self.function in (1, 2)):
            raise ValueError("expected type bit with function 1 or 2, and only there")
        if self.type.is_float or set(self.connected) & set(self.disconnected):
            raise ValueError("expected an integer with different numbers for connected and disconnected")
        return self


class Switch(Strict):
    """A relay or a valve: the order itself is the last write of each list, others before it unlock it."""

    connect: Writes
    """Closes the relay, opens the valve."""
    disconnect: Writes
    shown: Shown
    within_s: Annotated[int, Field(ge=1, le=180)] = 5
    """How long the device may take to get there."""
    look_every_ms: Annotated[int, Field(ge=50, le=30_000)] = 500
    """Time between two looks at `shown`."""


class ClockPart(StrEnum):
    """What a number of a clock means, in local time."""

    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    WEEKDAY = "weekday"
    HOUR = "hour"
    MINUTE = "minute"
    SECOND = "second"
    EPOCH = "epoch"
    """Seconds of the local clock since 1970-01-01 00:00."""


class ClockField(Bits):
    """One part of the time and where it lies."""

    part: ClockPart
    address: Address
    type: RegisterType = RegisterType.U16
    minus: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """The device's number is this much lower: 2000 for a year of two digits."""
    weekdays: Annotated[tuple[int, ...], Field(min_length=7, max_length=7)] | None = None
    """The device's numbers of the seven days, Monday first; 1 to 7 when absent."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.refuse_bits(self.type)
        if self.type.is_float or self.type.is_mod10 or self.type is RegisterType.BIT:
            raise ValueError("expected an integer or BCD")
        if self.weekdays is not None and self.part is not ClockPart.WEEKDAY:
            raise ValueError("expected weekdays only for the part weekday")
        return self


_CALENDAR = frozenset(set(ClockPart) - {ClockPart.EPOCH, ClockPart.WEEKDAY, ClockPart.SECOND})


class Clock(Strict):
    """How the device's clock is set and read back."""

    function: Literal[6, 16] = 16
    """16 writes all registers of the clock at once, 6 one after the other in order of address."""
    read_function: Literal[3, 4] = 3
    fields: Annotated[tuple[ClockField, ...], Field(min_length=1)]
    before: tuple[Write, ...] = ()
    """Writes that unlock the clock."""
    after: tuple[Write, ...] = ()
    """Writes that make the device take over what was written."""
    tolerance_s: Annotated[int, Field(ge=1, le=120)] = 5
    """How far the clock that is read back may be off; at least 60 when the device takes no seconds."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        parts = [field.part for field in self.fields]
        if len(set(parts)) < len(parts):
            raise ValueError("expected each part of the time once")
        if parts != [ClockPart.EPOCH] and (ClockPart.EPOCH in parts or not _CALENDAR.issubset(parts)):
            raise ValueError(f"expected {', '.join(sorted(_CALENDAR))}, or epoch alone")
        covered = {at for one in self.fields for at in range(one.address, one.address + one.type.registers)}
        if max(covered) - min(covered) >= len(covered) or len(covered) > 123:
            raise ValueError("expected registers without a hole between them, at most 123")
        if self.tolerance_s < 60 and not {ClockPart.SECOND, ClockPart.EPOCH} & set(parts):
            raise ValueError("expected a tolerance_s of at least 60 for a clock without seconds")
        return self


class Controls(Strict):
    """What can be commanded."""

    relay: Switch | None = None
    valve: Switch | None = None
    clock: Clock | None = None
