"""Values in base units to the registers of a template: the other direction of the gateway's decoder, on its own."""

import struct
from fractions import Fraction

from gateway.templates.modbus import ModbusTemplate, Register


def raw_of(register: Register, value: int) -> int | float:
    """The raw number that a device would hold for `value`: rolled over, rounded down to its resolution."""
    exact = value / Fraction(register.factor)
    if register.type.is_float:
        code = ">f" if register.type.registers == 2 else ">d"
        held: float = struct.unpack(code, struct.pack(code, float(exact)))[0]
        return held
    raw = exact.numerator // exact.denominator
    return raw % 10**register.digits if register.digits is not None else raw


def value_of(register: Register, raw: int | float) -> int:
    """What the cloud must get for `raw`: the exact product, rounded half to even."""
    return round(Fraction(raw) * Fraction(register.factor))


def words_of(register: Register, template: ModbusTemplate, raw: int | float) -> list[int]:
    """The 16-bit registers that hold `raw`, lowest address first."""
    size = 2 * register.type.registers
    if isinstance(raw, float):
        data = struct.pack(">f" if size == 4 else ">d", raw)
    else:
        data = raw.to_bytes(size, "big", signed=register.type.is_signed)
    pairs = [data[index : index + 2] for index in range(0, size, 2)]
    if (register.word_order or template.word_order) == "little":
        pairs.reverse()
    order = register.byte_order or template.byte_order
    return [int.from_bytes(pair, order) for pair in pairs]
