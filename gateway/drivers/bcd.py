"""Decimal digits in half bytes, lowest byte first, and the readings made of them; pure.

DL/T 645 and CJ/T 188 carry nearly everything so. A value whose bytes are all FF is one that the meter does not have.
"""

from collections.abc import Callable

from gateway.contract.messages import Quality
from gateway.drivers.base import Reading
from gateway.drivers.scaling import half_even
from gateway.errors import MalformedReply
from gateway.templates.bcd import BcdRegister

Decode = Callable[[bytes], Reading | None]
"""Bytes of one value → its reading in the base unit; None when the meter has no value. Raises MalformedReply."""


def number_in(data: bytes, signed: bool = False) -> int | None:
    """The number in `data`; None when all its bytes are FF. With `signed` the highest bit is a minus sign.

    Raises MalformedReply when a half byte is no digit.
    """
    if data.count(0xFF) == len(data):
        return None
    negative = signed and bool(data[-1] & 0x80)
    text = (data[:-1] + bytes([data[-1] & 0x7F]) if signed else data)[::-1].hex()
    if not text.isdecimal():
        raise MalformedReply(f"digits {text}")
    return -int(text) if negative else int(text)


def bytes_of(value: int, size: int, signed: bool = False) -> bytes:
    """`value` as `size` bytes. Raises ValueError when it does not fit."""
    text = f"{abs(value):0{2 * size}}"
    if len(text) > 2 * size or (value < 0 and not signed) or (signed and text[0] > "7"):
        raise ValueError(f"{value} does not fit into {size} bytes")
    data = bytearray(bytes.fromhex(text)[::-1])
    if value < 0:
        data[-1] |= 0x80
    return bytes(data)


def compile_register(register: BcdRegister) -> Decode:
    """One function from the bytes of a value to its reading.

    Digits scale exactly; where the base unit is coarser than the meter's step (only instant values) the result is
    rounded half to even. Of bits, the masked number is looked up in `meanings`, and none found is no value.
    """
    return _compile_bits(register) if register.type == "bits" else _compile_digits(register)


def _compile_digits(register: BcdRegister) -> Decode:
    top, bottom = register.factor.as_integer_ratio()
    low, high = register.plausible
    channel, signed = register.channel, register.signed

    def decode(data: bytes) -> Reading | None:
        raw = number_in(data, signed)
        if raw is None:
            return None
        value = half_even(raw * top, bottom)
        return Reading(channel, value, 0 if low <= value <= high else int(Quality.OUT_OF_RANGE))

    return decode


def _compile_bits(register: BcdRegister) -> Decode:
    mask, meanings = register.mask_bits, register.meaning_of
    channel = register.channel

    def decode(data: bytes) -> Reading | None:
        bits = int.from_bytes(data, "little") & mask
        value = bits if meanings is None else meanings.get(bits)
        return None if value is None else Reading(channel, value, 0)

    return decode
