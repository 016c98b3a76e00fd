"""What is left of a prepaid balance, how long it lasts, and when its holder is warned: the rule alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

Signal = Literal["warn", "rearm"]

_NONE = Decimal(0)
_REARM_SHARE: Final = Decimal("1.25")
"""A warning may be repeated once the balance was this many times the threshold again, …"""
_REARM_DAYS: Final = 2
"""… and lasted this many days longer: a rate that wavers around a threshold warns once."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one agreement cost over some days that are all known."""

    amount: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Position:
    """Money of an account: held in advance, owed on issued bills, and used since without a bill."""

    held: Decimal
    owed: Decimal
    accrued: Decimal

    @property
    def available(self) -> Decimal:
        """What is left; negative when more was used than paid."""
        return self.held - self.owed - self.accrued


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Below `amount`, or with fewer than `days` left, the holder is warned; None: not for this reason."""

    amount: Decimal | None
    days: int | None


def days_left(available: Decimal, spent: Iterable[Spent]) -> int | None:
    """Whole days that `available` lasts at the rate of `spent`, which adds up over agreements.

    0 when nothing is left; None when nothing is used up, and so no day can be named.
    """
    if available <= 0:
        return 0
    rate = sum((Fraction(one.amount) / one.days for one in spent if one.days > 0), Fraction(0))
    return None if rate <= 0 else int(Fraction(available) // rate)


def signal(available: Decimal, days: int | None, thresholds: Thresholds, warned: bool) -> Signal | None:
    """What to do about the warning: say it once when a threshold is crossed, and only clear of it be ready again.

    `days`: those left, None for no end in sight; `warned`: it was said and not been ready again since.
    """
    if not warned:
        return "warn" if _low(available, days, thresholds, Decimal(1), 0) else None
    return None if _low(available, days, thresholds, _REARM_SHARE, _REARM_DAYS) else "rearm"


def _low(available: Decimal, days: int | None, thresholds: Thresholds, share: Decimal, more_days: int) -> bool:
    short = thresholds.amount is not None and available < thresholds.amount * share
    soon = thresholds.days is not None and days is not None and days < thresholds.days + more_days
    return short or soon
