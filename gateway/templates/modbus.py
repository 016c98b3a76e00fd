"""The shape of a Modbus meter template: transports, limits and registers."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.templates.base import DeviceTemplate, Measured, Order, Strict
from gateway.templates.located import Finding


class RegisterType(StrEnum):
    """How a value lies in its registers: unsigned, signed or IEEE 754, and its bits."""

    U16 = "u16"
    S16 = "s16"
    U32 = "u32"
    S32 = "s32"
    U64 = "u64"
    S64 = "s64"
    F32 = "f32"
    F64 = "f64"

    @property
    def bits(self) -> int:
        """16, 32 or 64."""
        return int(self.value[1:])

    @property
    def registers(self) -> int:
        """How many 16-bit registers the value takes."""
        return self.bits // 16

    @property
    def is_float(self) -> bool:
        """Whether it is IEEE 754."""
        return self.value[0] == "f"

    @property
    def is_signed(self) -> bool:
        """Whether an integer of this type can be negative."""
        return self.value[0] == "s"


class Register(Measured):
    """One value of the device and where it lies."""

    function: Literal[3, 4]
    """3 reads holding registers, 4 reads input registers."""
    address: Annotated[int, Field(ge=0, le=65_535)]
    """Zero-based, as it goes over the bus."""
    type: RegisterType
    word_order: Order | None = None
    """Which register of a value comes first; the template's order when absent."""
    byte_order: Order | None = None
    sentinels: tuple[int, ...] = ()
    """Raw values that mean "no value"."""

    @property
    def is_exact(self) -> bool:
        """Not for floating point."""
        return not self.type.is_float

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.address + self.type.registers > 65_536:
            raise ValueError("expected all registers of the value below 65536")
        return self


class RtuPreset(Strict):
    """Factory settings of the serial port."""

    baud_rate: Annotated[int, Field(ge=300, le=921_600)] = 9_600
    data_bits: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    unit_id: Annotated[int, Field(ge=1, le=247)] = 1


class TcpPreset(Strict):
    """Factory settings of the network port."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1


class Transports(Strict):
    """How the device leaves the factory."""

    modbus_rtu: RtuPreset | None = None
    modbus_tcp: TcpPreset | None = None


class Limits(Strict):
    """What the device cannot bear."""

    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Most registers in one read."""
    refuses_holes: bool = False
    """Answers an exception when a read covers an address that it does not have."""
    pause_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Silence that the device needs between two requests."""


class ModbusTemplate(DeviceTemplate):
    """One model of meter that speaks Modbus, over whatever carries it."""

    protocol: Literal["modbus"] = "modbus"
    transports: Transports
    limits: Limits = Limits()
    word_order: Order = "big"
    byte_order: Order = "big"
    registers: Annotated[tuple[Register, ...], Field(min_length=1)]

    def findings(self) -> Iterable[Finding]:
        """Also values that are longer than a read may be."""
        yield from super().findings()
        for index, register in enumerate(self.registers):
            if register.type.registers > self.limits.max_registers:
                text = f"a value of at most {self.limits.max_registers} registers (limits.max_registers)"
                yield ("registers", index, "type"), text
