"""Registers to exact integers in base units; pure. Everything decidable at start is resolved to functions once."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from gateway.contract import limits
from gateway.contract.messages import Quality
from gateway.contract.quantities import EXPONENT_OF_PREFIXED_UNIT
from gateway.drivers.base import Reading
from gateway.drivers.modbus.planner import Block, Field
from gateway.templates.modbus import ModbusTemplate, Register

Registers = Sequence[int]
RawReader = Callable[[Registers, int], "int | float"]
"""(registers of a block, offset of the value) → value as the device means it, unscaled."""


@dataclass(frozen=True, slots=True)
class ChannelDecoder:
    """Decodes one channel out of a block's registers; None when the device says that it has no value."""

    channel: str
    offset: int
    decode: Callable[[Registers, int], Reading | None]


@dataclass(frozen=True, slots=True)
class BlockDecoder:
    """Decodes all channels of one block."""

    block: Block
    channels: tuple[ChannelDecoder, ...]

    def decode(self, registers: Registers) -> tuple[list[Reading], int]:
        """(readings, number of channels without a value). `registers` has exactly `block.count` items."""
        readings: list[Reading] = []
        for channel in self.channels:
            reading = channel.decode(registers, channel.offset)
            if reading is not None:
                readings.append(reading)
        return readings, len(self.channels) - len(readings)


def field_of(register: Register) -> Field:
    """Where the planner finds the register."""
    return Field(register.function, register.address, register.type.registers)


def compile_block(block: Block, template: ModbusTemplate, registers: Sequence[Register]) -> BlockDecoder:
    """Decoder of `block` for those of `registers` whose fields it holds."""
    members = set(block.fields)
    channels = tuple(
        ChannelDecoder(one.channel, one.address - block.address, compile_register(one, template))
        for one in registers
        if field_of(one) in members
    )
    return BlockDecoder(block, channels)


def compile_register(register: Register, template: ModbusTemplate) -> Callable[[Registers, int], Reading | None]:
    """One function from registers to a Reading in the base unit.

    Integers scale exactly; where the base unit is coarser than the register (only instant values), and for
    floats, the result is rounded half to even. Sentinels, NaN, infinities and values beyond 64 bits give None.
    """
    raw = raw_reader(register, template)
    numerator, denominator = register.factor.as_integer_ratio()
    sentinels = frozenset(register.sentinels)
    low, high = _bounds(register)
    channel = register.channel
    as_ratio = register.type.is_float

    def decode(registers: Registers, offset: int) -> Reading | None:
        value = raw(registers, offset)
        if value in sentinels or (as_ratio and not isfinite(value)):
            return None
        top, bottom = value.as_integer_ratio()
        top, bottom = top * numerator, bottom * denominator
        scaled = top if bottom == 1 else half_even(top, bottom)
        if low <= scaled <= high:
            return Reading(channel, scaled, 0)
        if limits.MIN_VALUE <= scaled <= limits.MAX_VALUE:
            return Reading(channel, scaled, int(Quality.OUT_OF_RANGE))
        return None

    return decode


def half_even(numerator: int, denominator: int) -> int:
    """Exact quotient rounded to the nearest integer, ties to even. `denominator` > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def _bounds(register: Register) -> tuple[int, int]:
    if register.bounds is None:
        return limits.MIN_VALUE, limits.MAX_VALUE
    exponent = EXPONENT_OF_PREFIXED_UNIT[register.unit][1]
    low, high = (Decimal(text).scaleb(exponent) for text in (register.bounds.low, register.bounds.high))
    return int(low.to_integral_value()), int(high.to_integral_value())


def raw_reader(register: Register, template: ModbusTemplate) -> RawReader:
    """Reads the unscaled value; word order says which register comes first, byte order which byte of each."""
    words = register.word_order or template.word_order
    swap = (register.byte_order or template.byte_order) == "little"
    kind = register.type
    if kind.registers == 1 and not kind.is_signed and not swap:
        return _plain_u16
    count = kind.registers
    step = 1 if words == "big" else -1
    if kind.is_float:
        unpack = struct.Struct(">f" if count == 2 else ">d").unpack
        size = count * 2

        def read_float(registers: Registers, offset: int) -> float:
            value: float = unpack(_joined(registers[offset : offset + count][::step], swap).to_bytes(size, "big"))[0]
            return value

        return read_float
    half = 1 << (kind.bits - 1) if kind.is_signed else 0

    def read_integer(registers: Registers, offset: int) -> int:
        return (_joined(registers[offset : offset + count][::step], swap) ^ half) - half

    return read_integer


def _plain_u16(registers: Registers, offset: int) -> int:
    return registers[offset]


def _joined(registers: Registers, swap: bool) -> int:
    joined = 0
    for register in registers:
        joined = joined << 16 | ((register & 0xFF) << 8 | register >> 8 if swap else register)
    return joined
