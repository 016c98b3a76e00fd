"""What else than its rule decides what a stay costs: covered time, the quota of the day, coupons, days, charging."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, get_args

from cloud.kit.calendars import DayType

CouponKind = Literal["hours", "percentage", "money", "free"]
COUPON_KINDS: tuple[CouponKind, ...] = get_args(CouponKind)
"""In the order in which they are applied, whatever the order in which they were handed in."""


@dataclass(frozen=True, slots=True)
class CoveredTime:
    """Time in which a stay costs nothing, by a permit. Timezone-aware; `end` not included.

    `by` names what covers it, with spaces between: the fee says so.
    """

    start: datetime
    end: datetime
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon handed in for the stay. `value`: hours, percent or an amount; 0 for a free stay."""

    code: str
    kind: CouponKind
    value: Decimal


@dataclass(frozen=True, slots=True)
class Charged:
    """What the vehicle was charged during the stay."""

    kwh: Decimal = Decimal(0)
    minutes: int = 0


def _no_days() -> Mapping[date, DayType]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All of one stay. `free_used`: free time that earlier stays of the plate took of the day's quota."""

    covered: tuple[CoveredTime, ...] = ()
    free_used: timedelta = timedelta(0)
    coupons: tuple[Coupon, ...] = ()
    calendar: Mapping[date, DayType] = field(default_factory=_no_days)
    charged: Charged = Charged()


USUAL = Circumstances()
"""Nothing of all that; days are what their weekday says."""
