"""Registers to exact integers in base units, or why there is none; pure. Everything is resolved to functions once.

Integers scale exactly. Where a value is finer than the base unit, and for floats, it is rounded half to even, once, at
the end. A 32-bit float times a whole factor below 2**29 is exact in a double (24 + 29 bits), which saves the detour
over fractions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import lcm
from typing import Final

from gateway.contract import limits
from gateway.contract.messages import Quality
from gateway.drivers.base import Reading
from gateway.drivers.modbus.numbers import Absent, Raw, Read, Unpacker, reader
from gateway.drivers.modbus.planner import Block
from gateway.drivers.scaling import half_even
from gateway.templates.modbus_registers import Factor, Layout, Number, Register, RegisterType

Result = Reading | Absent
Step = Callable[[Sequence[Raw]], Result]
"""From all numbers of a block, and the constants behind them, to one channel."""
Finish = Callable[[int, int], Result]
"""From the exact quotient of two integers, the second above 0, to the rounded and judged value."""
Place = Callable[[Number], tuple[Layout, int]]
"""Where a number of a register lies, and at which position it is unpacked."""

_LARGEST_EXPONENT: Final = 36
_OUT_OF_RANGE: Final = int(Quality.OUT_OF_RANGE)


@dataclass(frozen=True, slots=True)
class BlockDecoder:
    """Decodes all channels of one block."""

    block: Block
    registers: tuple[Register, ...]
    unpack: Callable[[Sequence[int]], list[Raw]]
    steps: tuple[Step, ...]

    def decode(self, registers: Sequence[int], constants: Sequence[Raw] = ()) -> tuple[list[Reading], int, int]:
        """(readings, channels that are missing, channels in error). `registers` has exactly `block.count` items.

        `constants` are those of the template, in order.
        """
        numbers = self.unpack(registers)
        numbers += constants
        readings: list[Reading] = []
        missing = errors = 0
        for step in self.steps:
            result = step(numbers)
            if result.__class__ is Reading:
                readings.append(result)
            elif result is Absent.MISSING:
                missing += 1
            else:
                errors += 1
        return readings, missing, errors


def compile_block(
    block: Block,
    registers: Sequence[Register],
    layout: Callable[[Number, int], Layout],
    constants: Mapping[Layout, int],
    nan: Absent,
) -> BlockDecoder:
    """Decoder of `block` for `registers`, all of which it holds.

    `layout` resolves a number and the function of its register, `constants` says which of the constants one is.
    """
    placed = dict.fromkeys(
        layout(number, one.function) for one in registers for number in one.numbers if number not in one.constants
    )
    unpacker = Unpacker(block.address, block.count, list(placed))

    def place(register: Register) -> Place:
        def of(number: Number) -> tuple[Layout, int]:
            resolved = layout(number, register.function)
            if number in register.constants:
                return resolved, unpacker.size + constants[resolved]
            return resolved, unpacker.position[resolved]

        return of

    return BlockDecoder(block, tuple(registers), unpacker, tuple(_step(one, place(one), nan) for one in registers))


def _step(register: Register, place: Place, nan: Absent) -> Step:
    finish = _finish(register)
    if len(register.numbers) > 1:
        return _composed(register, place, nan, finish)
    layout, position = place(register.terms[0])
    read = reader(layout, position, nan)
    if register.values is not None:
        return _state(register.channel, read, register.values)
    numerator, denominator = (register.factor * Decimal(register.terms[0].scale)).as_integer_ratio()
    if not layout.type.is_float and denominator == 1:
        return _whole(register, read, numerator, finish)
    slow = _ratio(read, numerator, denominator, finish)
    if layout.type is RegisterType.F32 and denominator == 1 and numerator < 1 << 29 and not layout.sentinels:
        return _whole_float(register, position, numerator, slow)
    return slow


def _whole(register: Register, read: Read, factor: int, finish: Finish) -> Step:
    channel, (low, high) = register.channel, register.plausible

    def step(numbers: Sequence[Raw]) -> Result:
        number = read(numbers)
        if isinstance(number, int):
            value = number * factor
            return Reading(channel, value, 0) if low <= value <= high else finish(value, 1)
        return number if isinstance(number, Absent) else Absent.ERROR

    return step


def _whole_float(register: Register, position: int, factor: int, slow: Step) -> Step:
    channel, (low, high) = register.channel, register.plausible

    def step(numbers: Sequence[Raw]) -> Result:
        product = numbers[position] * factor  # type: ignore[operator]  # unpacked as a float
        if low <= product <= high:  # type: ignore[operator]  # not when it is no number
            return Reading(channel, round(product), 0)  # type: ignore[arg-type]
        return slow(numbers)

    return step


def _ratio(read: Read, numerator: int, denominator: int, finish: Finish) -> Step:
    def step(numbers: Sequence[Raw]) -> Result:
        number = read(numbers)
        if isinstance(number, Absent):
            return number
        top, bottom = number.as_integer_ratio()
        return finish(top * numerator, bottom * denominator)

    return step


def _state(channel: str, read: Read, values: Mapping[int, int]) -> Step:
    readings: dict[int | float | Absent, Result] = {code: Reading(channel, ours, 0) for code, ours in values.items()}
    readings[Absent.MISSING] = Absent.MISSING

    def step(numbers: Sequence[Raw]) -> Result:
        return readings.get(read(numbers), Absent.ERROR)

    return step


def _composed(register: Register, place: Place, nan: Absent, finish: Finish) -> Step:
    """Terms are added up over one denominator, then multiplied by everything that is read besides."""
    weights = [(register.factor * Decimal(term.scale)).as_integer_ratio() for term in register.terms]
    common = lcm(*(denominator for _, denominator in weights))
    terms = [
        (reader(*place(term), nan), numerator * (common // denominator))
        for term, (numerator, denominator) in zip(register.terms, weights, strict=True)
    ]
    factors: list[_Ratio] = []
    if register.exponent is not None:
        factors.append(_power_of_ten(reader(*place(register.exponent), nan)))
    factors += [_factor_of(one, reader(*place(one), nan)) for one in register.multipliers]
    factors += [_inverted(_factor_of(one, reader(*place(one), nan))) for one in register.divisors]
    if register.sign is not None:
        factors.append(_sign_of(register.sign.negative, reader(*place(register.sign), nan)))

    def step(numbers: Sequence[Raw]) -> Result:
        top, bottom = 0, 1
        for read, weight in terms:
            number = read(numbers)
            if isinstance(number, Absent):
                return number
            numerator, denominator = number.as_integer_ratio()
            top, bottom = top * denominator + numerator * weight * bottom, bottom * denominator
        for ratio in factors:
            factor = ratio(numbers)
            if isinstance(factor, Absent):
                return factor
            top, bottom = top * factor[0], bottom * factor[1]
        return finish(top, bottom * common)

    return step


_Ratio = Callable[[Sequence[Raw]], "tuple[int, int] | Absent"]
"""A factor that is read, as numerator and denominator."""


def _factor_of(factor: Factor, read: Read) -> _Ratio:
    if factor.values is not None:
        known = {code: Decimal(text).as_integer_ratio() for code, text in factor.values.items()}

        def of_code(numbers: Sequence[Raw]) -> tuple[int, int] | Absent:
            code = read(numbers)
            return code if isinstance(code, Absent) else known.get(int(code), Absent.ERROR)

        return of_code
    numerator, denominator = Decimal(factor.scale).as_integer_ratio()

    def of_number(numbers: Sequence[Raw]) -> tuple[int, int] | Absent:
        number = read(numbers)
        if isinstance(number, Absent):
            return number
        if number <= 0:  # no ratio: it would turn the value into 0 or turn its sign
            return Absent.ERROR
        top, bottom = number.as_integer_ratio()
        return top * numerator, bottom * denominator

    return of_number


def _inverted(ratio: _Ratio) -> _Ratio:
    def inverted(numbers: Sequence[Raw]) -> tuple[int, int] | Absent:
        found = ratio(numbers)
        return found if isinstance(found, Absent) else (found[1], found[0])

    return inverted


def _power_of_ten(read: Read) -> _Ratio:
    def power(numbers: Sequence[Raw]) -> tuple[int, int] | Absent:
        number = read(numbers)
        if not isinstance(number, int):
            return number if isinstance(number, Absent) else Absent.ERROR
        if abs(number) > _LARGEST_EXPONENT:
            return Absent.ERROR
        return (10**number, 1) if number >= 0 else (1, 10**-number)

    return power


def _sign_of(negative: Sequence[int], read: Read) -> _Ratio:
    def sign(numbers: Sequence[Raw]) -> tuple[int, int] | Absent:
        number = read(numbers)
        if isinstance(number, Absent):
            return number
        return (-1, 1) if number in negative else (1, 1)

    return sign


def _finish(register: Register) -> Finish:
    channel, (low, high) = register.channel, register.plausible

    def finish(numerator: int, denominator: int) -> Result:
        value = numerator if denominator == 1 else half_even(numerator, denominator)
        if low <= value <= high:
            return Reading(channel, value, 0)
        if limits.MIN_VALUE <= value <= limits.MAX_VALUE:
            return Reading(channel, value, _OUT_OF_RANGE)
        return Absent.ERROR

    return finish
