"""How a meter's face becomes numbers: digits to modulus and resolution, ratings to the physical maximum of an hour."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cloud.kit.errors import InvalidInput
from cloud.metering.records import MAIN_CHANNEL, MAX_MODULUS, MAX_PER_HOUR, MAX_PRODUCT, Medium
from gateway.contract.quantities import EXPONENT_OF_PREFIXED_UNIT

MAX_DIGITS: Final = 12
RATING_KEYS: Final[Mapping[Medium, tuple[str, ...]]] = {
    "electricity": ("voltage_v", "max_current_ma", "phases"),
    "water": ("q3_ml_per_h", "q4_ml_per_h"),
    "heat": ("max_power_w",),
}
"""What the rating of a medium is made of."""


@dataclass(frozen=True, slots=True)
class Digits:
    """What a register shows: `digits` before the point and `decimals` after it, in `unit` (the usual one if empty)."""

    digits: int
    decimals: int = 0
    unit: str = ""


def bounds_of(medium: Medium, face: Digits) -> tuple[int, int]:
    """(modulus, resolution) in the base unit of the main channel.

    Six digits and two decimals of kWh start again at 10^6 kWh = 10^9 Wh, and the last digit is 10 Wh.
    Raises InvalidInput when the unit is of another quantity, or the last digit is less than the base unit.
    """
    channel = MAIN_CHANNEL[medium]
    base, exponent = EXPONENT_OF_PREFIXED_UNIT.get(face.unit or channel.display_unit, ("", 0))
    if base != channel.unit:
        raise InvalidInput(
            "bad-unit", f"expected a unit of {channel.unit}, such as {channel.display_unit}", field="unit"
        )
    if not 1 <= face.digits <= MAX_DIGITS:
        raise InvalidInput("bad-digits", f"expected 1 to {MAX_DIGITS} digits before the point", field="digits")
    if not 0 <= face.decimals <= exponent:
        raise InvalidInput(
            "bad-decimals", f"expected 0 to {exponent} decimals: {channel.unit} is kept", field="decimals"
        )
    modulus = 10 ** (face.digits + exponent)
    if modulus > MAX_MODULUS:
        raise InvalidInput("bad-digits", f"expected a register of at most {MAX_MODULUS} {channel.unit}", field="digits")
    return modulus, 10 ** (exponent - face.decimals)


def max_per_hour_of(medium: Medium, rating: Mapping[str, int]) -> int:
    """The most that a register can advance in an hour, in its base unit, rounded up.

    Electricity: U x I_max x phases x 1 h, with U from phase to neutral (for one phase and for three alike).
    Water: Q4 x 1 h; where only Q3 is known Q4 = 1.25 x Q3 (the ratio that ISO 4064-1 and OIML R 49-1 fix).
    Heat: the greatest thermal power x 1 h. Raises InvalidInput.
    """
    keys = RATING_KEYS[medium]
    if not rating or not set(rating) <= set(keys):
        raise InvalidInput("bad-rating", f"expected of {medium}: {', '.join(keys)}", field="rating")
    if min(rating.values()) < 1:
        raise InvalidInput("bad-rating", "expected numbers above 0", field="rating")
    found = _MAXIMA[medium](rating)
    if not 0 < found <= MAX_PER_HOUR:
        raise InvalidInput("bad-rating", f"expected at most {MAX_PER_HOUR} in an hour", field="rating")
    return found


def digits_of(medium: Medium, modulus: int, resolution: int) -> Digits | None:
    """The face that `bounds_of` makes these of, in the usual unit; None when no such face does."""
    _, exponent = EXPONENT_OF_PREFIXED_UNIT[MAIN_CHANNEL[medium].display_unit]
    zeros, last = len(str(modulus)) - 1, len(str(resolution)) - 1
    if 10**zeros != modulus or 10**last != resolution or zeros <= exponent or last > exponent:
        return None
    return Digits(zeros - exponent, exponent - last, MAIN_CHANNEL[medium].display_unit)


def _electric(rating: Mapping[str, int]) -> int:
    if set(rating) != set(RATING_KEYS["electricity"]):
        raise InvalidInput("bad-rating", "expected voltage_v, max_current_ma and phases", field="rating")
    if rating["phases"] not in (1, 3):
        raise InvalidInput("bad-rating", "expected 1 or 3 phases", field="rating.phases")
    return -(-rating["voltage_v"] * rating["max_current_ma"] * rating["phases"] // 1000)


def _water(rating: Mapping[str, int]) -> int:
    if "q4_ml_per_h" not in rating:
        return -(-5 * rating["q3_ml_per_h"] // 4)
    if rating["q4_ml_per_h"] < rating.get("q3_ml_per_h", 0):
        raise InvalidInput("bad-rating", "expected Q4 to be at least Q3", field="rating.q4_ml_per_h")
    return rating["q4_ml_per_h"]


def _heat(rating: Mapping[str, int]) -> int:
    return rating["max_power_w"]


_MAXIMA: Final = {"electricity": _electric, "water": _water, "heat": _heat}


def check_bounds(modulus: int, max_per_hour: int, multiplier: Decimal) -> None:
    """Raises InvalidInput when the usage engine could not count such a register in 64 bits."""
    if not 0 < modulus <= MAX_MODULUS:
        raise InvalidInput("bad-modulus", f"expected 1 to {MAX_MODULUS}", field="modulus")
    if not 0 < max_per_hour <= MAX_PER_HOUR:
        raise InvalidInput("bad-maximum", f"expected 1 to {MAX_PER_HOUR}", field="max_per_hour")
    if not (multiplier.is_finite() and multiplier > 0) or multiplier.quantize(Decimal("0.0001")) != multiplier:
        raise InvalidInput("bad-multiplier", "expected a number above 0 with at most 4 decimals", field="multiplier")
    if modulus * multiplier > MAX_PRODUCT:
        raise InvalidInput("bad-multiplier", f"modulus times multiplier exceeds {MAX_PRODUCT}", field="multiplier")


def product(value: int, multiplier: Decimal) -> int:
    """A register value with the multiplier, halves up: usage is the difference of two of these."""
    return (value * int(multiplier * 10_000) + 5_000) // 10_000
