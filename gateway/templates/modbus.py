"""The shape of a Modbus meter template: transports, limits, identity, registers, controls."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.templates.base import DeviceTemplate, Order, Strict
from gateway.templates.located import Finding, Loc
from gateway.templates.modbus_controls import Controls, Unlock
from gateway.templates.modbus_limits import AddressRange, Limits, findings, named
from gateway.templates.modbus_registers import (
    Address,
    Bits,
    Layout,
    Number,
    Register,
    Registers,
    RegisterType,
    refuse_sentinels,
)

__all__ = ["Layout", "ModbusTemplate", "Register", "RegisterType"]


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


class Identifier(Bits):
    """A number or a text by which a device is known."""

    function: Literal[3, 4]
    address: Address
    type: RegisterType | Literal["ascii"]
    characters: Annotated[int, Field(ge=1, le=64)] | None = None
    """Length of a text, two characters in a register; blanks and zeros at its end do not count."""

    @property
    def registers(self) -> int:
        """How many registers it takes."""
        if isinstance(self.type, RegisterType):
            return self.type.registers
        return ((self.characters or 0) + 1) // 2

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if (self.type == "ascii") != (self.characters is not None):
            raise ValueError("expected characters with type ascii, and only there")
        if isinstance(self.type, RegisterType):
            self.refuse_bits(self.type)
            if self.type.is_float or self.type is RegisterType.BIT:
                raise ValueError("expected an integer, BCD or ascii")
        return self


class Mark(Identifier):
    """What tells this model from others."""

    equals: Annotated[tuple[int | str, ...], Field(min_length=1)]
    """Any of these; texts in full."""

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        wanted = str if self.type == "ascii" else int
        if any(type(one) is not wanted for one in self.equals):
            raise ValueError(f"expected {'texts in quotes' if wanted is str else 'numbers'} for type {self.type}")
        return self


class Instances(Strict):
    """One unit that holds several meters of the same kind, each a device of its own."""

    count: Annotated[int, Field(ge=2, le=128)]
    stride: int
    """From an address of one instance to that of the next, unless a register has its own `instance_stride`."""


class ModbusTemplate(DeviceTemplate):
    """One model of meter that speaks Modbus, over whatever carries it."""

    protocol: Literal["modbus"] = "modbus"
    transports: Transports
    limits: Limits = Limits()
    word_order: Order = "big"
    byte_order: Order = "big"
    sentinels: dict[RegisterType, tuple[int, ...]] = Field(default_factory=dict)
    """Numbers that mean "no value", for all registers of a type that say nothing themselves."""
    nan: Literal["error", "missing"] = "error"
    """What a NaN of a floating point register means: a faulty device, or a value that it does not have."""
    instances: Instances | None = None
    identity: tuple[Mark, ...] = ()
    """A device is of this model when all of these agree."""
    serial_number: Identifier | None = None
    unlock: Unlock | None = None
    registers: Registers
    controls: Controls = Controls()

    def places(self) -> Iterator[Loc]:
        """Where in the file each of `registers` is written."""
        return (("registers", register.entry) for register in self.registers)

    def for_instance(self, number: int) -> tuple[Register, ...]:
        """The registers of one of `instances`, counted from 0."""
        if self.instances is None:
            return self.registers
        stride = self.instances.stride
        return tuple(register.instance(number, stride) for register in self.registers)

    def findings(self) -> Iterable[Finding]:
        """Also values that no read can hold, that lie out of reach or that lie over each other."""
        yield from super().findings()
        yield from findings(self._by_instance(), tuple(self.places()), self.limits)
        for kind, sentinels in self.sentinels.items():
            try:
                refuse_sentinels(kind, sentinels)
            except ValueError as error:
                yield ("sentinels", kind.value), str(error)
        for supply in ("relay", "valve"):
            if self.instances is not None and getattr(self.controls, supply) is not None:
                yield ("controls", supply), "none beside instances, an order would be for all of them"

    def named(self) -> tuple[AddressRange, ...]:
        """All addresses that registers lie on, in order, as ranges that do not touch each other."""
        return named(register for registers in self._by_instance() for register in registers)

    def _by_instance(self) -> tuple[tuple[Register, ...], ...]:
        return tuple(self.for_instance(number) for number in range(self.instances.count if self.instances else 1))

    def layout(self, number: Number, function: int) -> Layout:
        """Where and how `number` lies; `function` is that of its register."""
        sentinels = self.sentinels.get(number.type, ()) if number.sentinels is None else number.sentinels
        return self.bits_of(number, number.type, number.function or function, number.address, frozenset(sentinels))

    def bits_of(
        self, bits: Bits, kind: RegisterType, function: int, address: int, sentinels: frozenset[int] = frozenset()
    ) -> Layout:
        """A layout with the template's orders where `bits` has none."""
        words, order = bits.word_order or self.word_order, bits.byte_order or self.byte_order
        return Layout(function, address, kind, words, order, bits.counted, sentinels)
