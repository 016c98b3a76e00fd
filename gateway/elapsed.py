"""How much time has passed, also while the machine slept, and whatever steers its clock."""

import sys
import time


def elapsed_ns() -> int:
    """Nanoseconds since some moment before the start, to compare with each other.

    The monotonic clock stands still while a machine is suspended, and a time service that mends a wrong clock gently
    lets it run up to a twelfth too fast or too slow for hours. By such a clock an order that expired is young again.
    """
    if sys.platform != "linux":
        return time.monotonic_ns()
    slept = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) + slept
