"""Amounts of money: Decimal in the units of the currency, rounded half up, never a float."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext

# ISO 4217: currencies whose smaller unit is not a hundredth. `gm.minor_digits` in the database knows the same.
_MINOR_DIGITS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
         "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip
MOST_DIGITS = 2
"""The database keeps amounts with so many decimals: a currency with more cannot be one of a project."""


def minor_digits(currency: str) -> int:
    """How many decimals amounts in `currency` (ISO 4217 code) have."""
    return _MINOR_DIGITS.get(currency, 2)


def round_half_up(amount: Decimal, digits: int = 2) -> Decimal:
    """`amount` with `digits` decimals; halves go away from zero, so that a credit mirrors its charge."""
    with localcontext() as context:
        context.prec = 50
        return amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def to_minor(amount: Decimal, digits: int = 2) -> int:
    """`amount` in its smallest unit. Raises ValueError when it has more decimals than that."""
    scaled = amount.scaleb(digits)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} has more than {digits} decimals")
    return int(scaled)


def from_minor(minor: int, digits: int = 2) -> Decimal:
    """An amount from its smallest unit, exact whatever its size: arithmetic would round to 28 digits."""
    return Decimal(f"{minor}E{-digits}")


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Divides `total` by `weights` into integers that add up to it exactly (largest remainder, ties by position).

    Raises ValueError when a weight is negative or all are zero while there is something to share.
    """
    whole = sum(weights)
    if min(weights, default=0) < 0 or (whole == 0 and total != 0):
        raise ValueError("weights must be at least 0 and not all 0")
    if whole == 0:
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def part_of(base: Decimal, share: Decimal, of: Decimal, digits: int) -> Decimal:
    """base × share ÷ of, halves away from zero; `of` is above 0."""
    share_top, share_bottom = share.as_integer_ratio()
    top, bottom = of.as_integer_ratio()
    minor, divisor = to_minor(base, digits) * share_top * bottom, share_bottom * top
    sign = -1 if minor < 0 else 1
    return from_minor(sign * ((2 * minor * sign + divisor) // (2 * divisor)), digits)
