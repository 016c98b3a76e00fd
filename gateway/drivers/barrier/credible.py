"""What a lane believes of a plate and of a time that a device tells. Pure."""

from typing import Final, NamedTuple

from gateway.access.decision import normal_plate
from gateway.contract.limits import MAX_PLATE_CHARS

_LIVE_MS: Final = 300_000
"""What happens now is at most this far from the gateway's clock."""
_KEPT_MS: Final = 60 * 86_400_000
"""No device keeps what it could not tell for longer."""
_NOT_TEXT: Final = "\N{REPLACEMENT CHARACTER}"


class Believed(NamedTuple):
    """A time that is used, Unix milliseconds."""

    at: int
    offline: bool
    """It happened earlier and is told afterwards: nothing opens for it."""
    is_good: bool
    """Whether it is the time that the device told."""


def believed_plate(plate: str) -> str:
    """The plate without separators, or nothing for one that cannot be: over-long, no letter or digit, no text."""
    normal = normal_plate(plate)
    return normal if len(normal) <= MAX_PLATE_CHARS and _NOT_TEXT not in plate else ""


def believed_time(taken_at: int, offline: bool, now: int, skew: int = 0) -> Believed:
    """When it happened, by a device whose clock is `skew` behind, told at `now` (milliseconds).

    What is marked offline is taken by the device's time. What is not marked but lies minutes back was held up on its
    way, and counts as offline. A time that cannot be, from the future or years ago, is that of a broken clock: `now`
    is taken instead, and the vehicle is treated as one that stands there.
    """
    possible = now - _KEPT_MS <= taken_at <= now + _LIVE_MS
    if offline:
        return Believed(taken_at if possible else now, True, possible)
    if abs(taken_at + skew - now) <= _LIVE_MS:
        return Believed(taken_at + skew, False, skew == 0)
    if possible and taken_at + skew < now:
        return Believed(taken_at, True, True)
    return Believed(now, False, False)
