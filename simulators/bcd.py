"""Values in base units to the bytes of a register: the other direction of the gateway's decoder, on its own."""

from fractions import Fraction

from gateway.templates.bcd import BcdRegister


def raw_of(register: BcdRegister, value: int) -> int:
    """The number that a meter would show for `value`: rolled over, rounded down to its resolution.

    Of bits, the pattern that means `value`, or the first that means anything.
    """
    if register.type == "bits":
        meanings = register.meaning_of
        if meanings is None:
            return value & register.mask_bits
        return next((bits for bits, meant in meanings.items() if meant == value), next(iter(meanings)))
    exact = value / Fraction(register.factor)
    raw = exact.numerator // exact.denominator
    return raw % 10 ** (register.digits or 2 * register.size) if raw >= 0 else raw


def value_of(register: BcdRegister, raw: int) -> int | None:
    """What the cloud must get for `raw`: the exact product, rounded half to even; None when it means nothing."""
    if register.type == "bits":
        meanings = register.meaning_of
        return raw & register.mask_bits if meanings is None else meanings.get(raw & register.mask_bits)
    return round(Fraction(raw) * Fraction(register.factor))


def bytes_of(register: BcdRegister, raw: int | None) -> bytes:
    """How `raw` lies in the answer, lowest byte first; a value that the meter does not have is all FF."""
    if raw is None:
        return b"\xff" * register.size
    if register.type == "bits":
        return raw.to_bytes(register.size, "little")
    text = f"{abs(raw):0{2 * register.size}d}"[-2 * register.size :]
    data = bytearray(int(text[at : at + 2], 16) for at in range(len(text) - 2, -1, -2))
    if raw < 0:
        data[-1] |= 0x80
    return bytes(data)
