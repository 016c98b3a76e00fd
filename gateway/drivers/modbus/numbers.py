"""The registers of an answer to the numbers in them; pure. Everything decidable at start is resolved to functions once.

All numbers of a block are unpacked at once. Words and bytes are put in order for the whole block before, so that one
struct fits every order: with the low word first the registers are taken backwards, with the low byte first they are
packed the other way round. Numbers of different orders, or numbers that overlap, take a pass each.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter

from gateway.drivers.modbus.planner import COIL_FUNCTIONS
from gateway.templates.modbus_registers import Layout, RegisterType


class Absent(Enum):
    """Why there is no value."""

    MISSING = "missing"
    """The device says that it has none: a sentinel."""
    ERROR = "error"
    """What the device answered is no number: NaN, infinity, digits that are none."""


Raw = int | float | bytes | Absent
"""A number as it was unpacked; bytes when no struct code has its size, ERROR when it could not be read."""
Read = Callable[[Sequence[Raw]], "int | float | Absent"]
"""Takes one number out of all that were unpacked."""

_CODES = {
    RegisterType.S16: "h", RegisterType.S32: "i", RegisterType.S64: "q", RegisterType.F32: "f", RegisterType.F64: "d",
}  # fmt: skip
_CODE_OF_BITS = {16: "H", 32: "I", 48: "6s", 64: "Q"}


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through a block's registers."""

    pack: Callable[..., bytes]
    backwards: bool
    unpack: Callable[[bytes], tuple[Raw, ...]]


class Unpacker:
    """Unpacks the numbers of one block; `position` says where each of them is in the result."""

    def __init__(self, address: int, count: int, layouts: Sequence[Layout]) -> None:
        """`layouts` lie between `address` and `address + count`, all of one function."""
        self.position: dict[Layout, int] = {}
        self._passes: list[Pass] = []
        self._coils = bool(layouts) and layouts[0].function in COIL_FUNCTIONS
        if self._coils:
            self.position = {layout: layout.address - address for layout in layouts}
            self.size = count
            return
        self.size = 0
        places = {layout: _place(layout, address, count) for layout in layouts}
        for order in sorted({(layout.word_order, layout.byte_order) for layout in layouts}):
            waiting = {place for layout, place in places.items() if (layout.word_order, layout.byte_order) == order}
            while waiting:
                row = _row(waiting)
                waiting.difference_update(row)
                self._passes.append(_pass(row, count, *order))
                slots = {place: self.size + index for index, place in enumerate(row)}
                self.size += len(row)
                self.position |= {
                    layout: slots[place]
                    for layout, place in places.items()
                    if place in slots and (layout.word_order, layout.byte_order) == order
                }

    def __call__(self, registers: Sequence[int]) -> list[Raw]:
        """All numbers. `registers` has exactly as many items as the block; for coils they are 0 and 1."""
        if self._coils:
            return [*map(int, registers)]
        numbers: list[Raw] = []
        for one in self._passes:
            numbers += one.unpack(one.pack(*(registers[::-1] if one.backwards else registers)))
        return numbers


_Place = tuple[int, int, str]
"""Offset in bytes, size in bytes, struct code."""


def _place(layout: Layout, address: int, count: int) -> _Place:
    offset, size = layout.address - address, layout.type.registers
    if layout.word_order == "little":
        offset = count - offset - size
    return 2 * offset, 2 * size, _CODES.get(layout.type, _CODE_OF_BITS.get(layout.type.bits, ""))


def _row(places: set[_Place]) -> list[_Place]:
    """The first of `places` that do not overlap, in order."""
    row: list[_Place] = []
    end = 0
    for place in sorted(places):
        if place[0] >= end:
            row.append(place)
            end = place[0] + place[1]
    return row


def _pass(row: list[_Place], count: int, word_order: str, byte_order: str) -> Pass:
    form, at = ">", 0
    for offset, size, code in row:
        form += f"{offset - at}x{code}"
        at = offset + size
    form += f"{2 * count - at}x"
    pack = struct.Struct(f"{'<' if byte_order == 'little' else '>'}{count}H").pack
    return Pass(pack, word_order == "little", struct.Struct(form).unpack)


def reader(layout: Layout, position: int, nan: Absent = Absent.ERROR) -> Read:
    """One function from everything that was unpacked to the number at `position`."""
    taken: Read = itemgetter(position)
    if layout.type.is_float:
        read = _checked_float(taken, nan)
    else:
        if layout.type.registers == 3:
            taken = _from_bytes(position, layout.type.is_signed)
        if layout.type.is_bcd or layout.type.is_mod10:
            return _digits(taken, layout)
        read = taken if layout.mask is None else _masked(taken, layout.mask)
    return _guarded(read, layout.sentinels) if layout.sentinels else read


def _from_bytes(position: int, signed: bool) -> Read:
    def read(numbers: Sequence[Raw]) -> int | Absent:
        raw = numbers[position]
        return int.from_bytes(raw, "big", signed=signed) if isinstance(raw, bytes) else Absent.ERROR

    return read


def _guarded(read: Read, sentinels: frozenset[int]) -> Read:
    def guarded(numbers: Sequence[Raw]) -> int | float | Absent:
        number = read(numbers)
        return Absent.MISSING if number in sentinels else number

    return guarded


def _checked_float(read: Read, nan: Absent) -> Read:
    def checked(numbers: Sequence[Raw]) -> int | float | Absent:
        number = read(numbers)
        if isinstance(number, float) and number - number != 0:  # NaN or infinity
            return nan if number != number else Absent.ERROR
        return number

    return checked


def _masked(read: Read, mask: int) -> Read:
    shift = (mask & -mask).bit_length() - 1

    def masked(numbers: Sequence[Raw]) -> int | float | Absent:
        number = read(numbers)
        return (number & mask) >> shift if isinstance(number, int) else number

    return masked


def _digits(read: Read, layout: Layout) -> Read:
    """BCD or MOD10; sentinels are compared before the digits are looked at, as they need not be digits."""
    counted = read if layout.mask is None else _masked(read, layout.mask)
    sentinels = layout.sentinels
    decode = _bcd if layout.type.is_bcd else _mod10

    def digits(numbers: Sequence[Raw]) -> int | float | Absent:
        bits = counted(numbers)
        if bits in sentinels:
            return Absent.MISSING
        return decode(bits) if isinstance(bits, int) else bits

    return digits


def _bcd(bits: int) -> int | Absent:
    text = f"{bits:x}"
    return int(text) if text.isdecimal() else Absent.ERROR


def _mod10(bits: int) -> int | Absent:
    number = 0
    for shift in range((max(1, bits.bit_length()) - 1) // 16 * 16, -1, -16):
        register = ((bits >> shift & 0xFFFF) ^ 0x8000) - 0x8000
        if not -9_999 <= register <= 9_999:
            return Absent.ERROR
        number = number * 10_000 + register
    return number
