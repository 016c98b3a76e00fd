"""The power factor of a period, from what the meter counted."""

from math import isqrt


def power_factor(active: int, reactive: int) -> int:
    """cos φ = P / √(P² + Q²) in hundredths, rounded half up; `active` in Wh, `reactive` in varh, both 0 or more.

    Exact in integers. 100 where neither was counted: there is nothing to adjust.
    """
    apparent_squared = active * active + reactive * reactive
    if apparent_squared == 0:
        return 100
    half_hundredths = isqrt(200 * 200 * active * active // apparent_squared)
    return (half_hundredths + 1) // 2
