"""Exact numbers where the base unit is coarser than the device's step; pure."""


def half_even(numerator: int, denominator: int) -> int:
    """Exact quotient rounded to the nearest integer, ties to even. `denominator` > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient
