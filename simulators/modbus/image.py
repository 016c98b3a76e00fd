"""Values in base units to the registers of a template and back: slow, exact, not by the gateway's decoder.

A register's value is made of one or more numbers (`Register.numbers`); their raw values, in that order, are its raws.
"""

import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from gateway.contract import limits
from gateway.templates.modbus_registers import Exponent, Factor, Layout, Number, Register, RegisterType, Sign

Raw = int | float
Raws = tuple[Raw, ...]

_MULTIPLIER, _DIVISOR = 3, 2
_FLOATS: Final = {RegisterType.F32: ">f", RegisterType.F64: ">d"}


def raws_of(register: Register, value: int) -> Raws:
    """What a device would hold for `value`: rolled over, rounded down to its resolution, at its end when too large."""
    beside = beside_of(register, value < 0)
    exact = value / _worth(register, beside)
    if register.values is not None:
        exact = Fraction(next((code for code, ours in register.values.items() if ours == value), 0))
    if register.digits is not None:
        exact %= 10**register.digits
    terms = register.terms
    raws: dict[int, Raw] = {}
    for index in sorted(range(len(terms)), key=lambda index: -Decimal(terms[index].scale)):
        scale = Fraction(Decimal(terms[index].scale))
        raws[index] = nearest_raw(terms[index], exact / scale)
        exact -= Fraction(raws[index]) * scale
    return (*(raws[index] for index in range(len(terms))), *beside)


def nearest_raw(number: Number, wanted: Fraction) -> Raw:
    """`wanted` as this number can hold it."""
    if number.type.is_float:
        code = _FLOATS[number.type]
        held: float = struct.unpack(code, struct.pack(code, float(wanted)))[0]
        return held
    low, high = range_of(number)
    return min(max(wanted.numerator // wanted.denominator, low), high)


def range_of(number: Number) -> tuple[int, int]:
    """Least and largest integer that a number can be."""
    kind = number.type
    bits = kind.bits
    if number.counted is not None:
        bits = (number.counted // (number.counted & -number.counted)).bit_length()
    if kind.is_bcd:
        return 0, 10 ** (bits // 4) - 1
    if kind.is_mod10:
        return 1 - 10 ** (4 * kind.registers), 10 ** (4 * kind.registers) - 1
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind.is_signed else (0, (1 << bits) - 1)


def beside_of(register: Register, negative: bool) -> Raws:
    """Raws of what is beside the terms: an exponent of -1 (or 1), ratios of 3 and 2, the first code, the sign."""
    return tuple(_beside(number, register, negative) for number in register.numbers[len(register.terms) :])


def _beside(number: Number, register: Register, negative: bool) -> Raw:
    match number:
        case Exponent():
            return -1 if number.type.is_signed else 1
        case Factor():
            if number.values is not None:
                return min(number.values)
            return _MULTIPLIER if number in register.multipliers else _DIVISOR
        case Sign():
            if negative:
                return number.negative[0]
            return next(code for code in range(len(number.negative) + 1) if code not in number.negative)
    raise AssertionError(number)


def value_of(register: Register, raws: Raws) -> int | None:
    """What the cloud must get for `raws`: the exact product, rounded half to even. None when that is no value."""
    terms = register.terms
    if register.values is not None:
        return register.values.get(int(raws[0]))
    beside = raws[len(terms) :]
    try:
        total = sum(
            (Fraction(raw) * Fraction(Decimal(term.scale)) for term, raw in zip(terms, raws, strict=False)), Fraction(0)
        )
        value = round(total * _worth(register, beside))
    except (ValueError, OverflowError, KeyError):  # not a number, infinite, no ratio or an unknown code
        return None
    return value if limits.MIN_VALUE <= value <= limits.MAX_VALUE else None


def _worth(register: Register, beside: Raws) -> Fraction:
    """What 1 of the sum of the terms is worth, its sign included. Raises ValueError, KeyError for what is no factor."""
    worth = Fraction(register.factor)
    for number, raw in zip(register.numbers[len(register.terms) :], beside, strict=True):
        match number:
            case Exponent():
                if abs(raw) > 36:
                    raise ValueError(raw)
                worth *= Fraction(10) ** int(raw)
            case Factor():
                factor = Fraction(Decimal(number.values[int(raw)] if number.values is not None else number.scale))
                if number.values is None:
                    factor *= Fraction(raw)
                if factor <= 0:
                    raise ValueError(raw)
                worth = worth / factor if number in register.divisors else worth * factor
            case Sign():
                worth = -worth if raw in number.negative else worth
    return worth


def step_of(register: Register) -> int:
    """The least difference of two values that shows in the raws, rounded up, in the base unit."""
    least = min(Fraction(Decimal(term.scale)) for term in register.terms)
    step = least * abs(_worth(register, beside_of(register, negative=False)))
    return max(1, -(-step.numerator // step.denominator))


def words_of(layout: Layout, raw: Raw) -> list[int]:
    """The registers (or the coil) that hold `raw`, lowest address first; bits outside its mask are 0."""
    kind = layout.type
    if kind is RegisterType.BIT:
        return [int(raw)]
    size = 2 * kind.registers
    if kind.is_float:
        data = struct.pack(_FLOATS[kind], raw)
    else:
        bits = _bits_of(kind, int(raw))
        if layout.mask is not None:
            bits = bits * (layout.mask & -layout.mask) & layout.mask
        data = bits.to_bytes(size, "big")
    pairs = [data[index : index + 2] for index in range(0, size, 2)]
    if layout.word_order == "little":
        pairs.reverse()
    return [int.from_bytes(pair, layout.byte_order) for pair in pairs]


def _bits_of(kind: RegisterType, raw: int) -> int:
    if kind.is_bcd:
        return int(str(raw), 16)
    if kind.is_mod10:
        sign, digits = (-1 if raw < 0 else 1), abs(raw)
        bits = 0
        for place in range(kind.registers):
            bits |= (sign * (digits // 10_000**place % 10_000) & 0xFFFF) << (16 * place)
        return bits
    return raw & ((1 << kind.bits) - 1)


def raw_in(layout: Layout, words: Mapping[int, int]) -> Raw | None:
    """The raw that registers by address hold; None for a sentinel, NaN for digits that are none."""
    registers = [words[address] for address in range(layout.address, layout.end)]
    kind = layout.type
    if kind is RegisterType.BIT:
        return None if registers[0] in layout.sentinels else registers[0]
    pairs = [word.to_bytes(2, layout.byte_order) for word in registers]
    if layout.word_order == "little":
        pairs.reverse()
    data = b"".join(pairs)
    if kind.is_float:
        number: float = struct.unpack(_FLOATS[kind], data)[0]
        return None if number in layout.sentinels else number
    bits = int.from_bytes(data, "big", signed=kind.is_signed)
    if layout.mask is not None:
        bits = (bits & layout.mask) // (layout.mask & -layout.mask)
    return None if bits in layout.sentinels else _digits_in(kind, bits, pairs)


def _digits_in(kind: RegisterType, bits: int, pairs: Sequence[bytes]) -> Raw:
    if kind.is_bcd:
        text = format(bits, "x")
        return int(text) if set(text) <= set("0123456789") else float("nan")
    if kind.is_mod10:
        number = 0
        for pair in pairs:
            digits = int.from_bytes(pair, "big", signed=True)
            if abs(digits) > 9_999:
                return float("nan")
            number = number * 10_000 + digits
        return number
    return bits


def text_words(text: str, registers: int) -> list[int]:
    """A text as registers hold it, two characters in each, filled up with blanks."""
    data = text.encode("ascii").ljust(2 * registers)
    return [int.from_bytes(data[index : index + 2], "big") for index in range(0, 2 * registers, 2)]
