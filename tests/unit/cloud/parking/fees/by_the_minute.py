"""What a stay costs by the plainest reading of its rule: one minute after the other. For stays of whole minutes in a
zone whose clock never changes; written from docs/parking-fees.md, knowing nothing of the engine's runs and borders."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from cloud.kit.calendars import DayType
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.models import PriceWindow, Schedule, Step

_ORDER = ["hours", "percentage", "money", "free"]
_CENT = Decimal("0.01")


def price(schedule: Schedule, entered: datetime, minutes: int, given: Circumstances) -> Decimal:
    """`entered`: a whole minute of the lot's clock; the result in hundredths."""
    covered: set[int] = set()
    for one in given.covered:
        first = (one.start - entered) // timedelta(minutes=1)
        last = (one.end - entered) // timedelta(minutes=1)
        covered |= set(range(max(first, 0), min(last, minutes)))
    left = int(given.free_used / timedelta(minutes=1)) if schedule.free_minutes_per == "day" else 0
    free = max(schedule.free_minutes - left, 0)

    def walk(hidden: set[int]) -> Decimal:
        return _walk(
            schedule, entered, [minute for minute in range(minutes) if minute not in hidden], free, given.calendar
        )

    amount = min(walk(covered), walk(set()))
    uncovered = [minute for minute in range(minutes) if minute not in covered]
    seconds = 0
    coupons = sorted(given.coupons, key=lambda coupon: (_ORDER.index(coupon.kind), coupon.code))
    for more in [_credit(schedule, given), *(int(one.value * 3600) for one in coupons if one.kind == "hours")]:
        seconds += more
        assert seconds % 60 == 0, "the reference knows whole minutes only"
        amount = min(amount, walk(covered | set(uncovered[: seconds // 60])))
    for coupon in coupons:
        if coupon.kind == "percentage":
            amount -= (amount * coupon.value / 100).quantize(_CENT, ROUND_HALF_UP)
        elif coupon.kind == "money":
            amount = max(amount - coupon.value, Decimal(0))
        elif coupon.kind == "free":
            amount = Decimal(0)
    return amount


def _credit(schedule: Schedule, given: Circumstances) -> int:
    if schedule.charging is None:
        return 0
    rule = schedule.charging
    minutes = int(given.charged.kwh * rule.free_minutes_per_kwh) + given.charged.minutes * rule.free_minutes_per_minute
    return 60 * (minutes if rule.at_most_minutes is None else min(minutes, rule.at_most_minutes))


def _walk(
    schedule: Schedule, entered: datetime, billed: list[int], free: int, calendar: Mapping[date, DayType]
) -> Decimal:
    if len(billed) <= free:
        return Decimal(0)
    start = 0 if schedule.billing_from == "entry" else free
    till = _Till(schedule, entered)
    first = 0 if schedule.first is None else schedule.first.minutes
    passing: object = None
    step: Step | None = None
    origin = used = 0
    for number in range(start, len(billed)):
        minute = billed[number]
        if number - start < first:
            if number == start and schedule.first is not None:
                till.take(minute, schedule.first.amount, None, None)
            continue
        began, window = _window(schedule, entered + timedelta(minutes=minute), calendar)
        if passing != (began,):
            passing, step = (began,), None
            origin = number if window is not None else start
        plan = _plan(schedule, window)
        now = next(one for one in plan if one.up_to_minutes is None or number - origin < one.up_to_minutes)
        if now is not step or used == now.minutes:
            step, used = now, 0
            till.take(minute, now.price, began, None if window is None else window.cap)
        used += 1
    return till.total


def _plan(schedule: Schedule, window: PriceWindow | None) -> list[Step]:
    priced = schedule.unit if window is None else window
    steps = schedule.steps if window is None else window.steps
    if steps or priced is None:
        return list(steps)
    key = id(priced)
    if key not in _PLANS:
        assert priced.minutes is not None
        assert priced.price is not None
        _PLANS[key] = (priced, [Step(minutes=priced.minutes, price=priced.price)])
    return _PLANS[key][1]


_PLANS: dict[int, tuple[object, list[Step]]] = {}
"""One step for each unit, so that the same unit is the same step in every minute."""


def _window(
    schedule: Schedule, at: datetime, calendar: Mapping[date, DayType]
) -> tuple[datetime | None, PriceWindow | None]:
    if not schedule.windows:
        return None, None
    if len(schedule.windows) == 1 and not schedule.windows[0].steps and schedule.windows[0].cap is None:
        return None, schedule.windows[0]
    for back in (0, 1):
        midnight = at.replace(hour=0, minute=0) - timedelta(days=back)
        day = midnight.date()
        kind = calendar.get(day) or ("rest" if day.isoweekday() > 5 else "work")
        for window in schedule.windows:
            hour, minute = map(int, window.start.split(":"))
            begin = midnight + timedelta(hours=hour % 24, minutes=minute)
            hour, minute = map(int, window.end.split(":"))
            end = midnight + timedelta(hours=hour, minutes=minute)
            end += timedelta(days=1 if end <= begin else 0)
            if kind in window.days and begin <= at < end:
                return begin, window
    raise AssertionError(f"{at} is in no window")


class _Till:
    """Takes charges one by one, never more than each cap has left."""

    def __init__(self, schedule: Schedule, entered: datetime) -> None:
        self.total = Decimal(0)
        self._entered = entered
        self._caps = schedule.caps
        self._taken: dict[object, Decimal] = {}

    def take(self, minute: int, amount: Decimal, began: datetime | None, window_cap: Decimal | None) -> None:
        caps: list[tuple[object, Decimal | None]] = [
            (("24", minute // 1440), self._caps.per_24_hours),
            (("day", (self._entered + timedelta(minutes=minute)).date()), self._caps.per_calendar_day),
            (("window", began), window_cap),
            *(
                (("within", cap.within_minutes), cap.amount)
                for cap in self._caps.escalating
                if minute < cap.within_minutes
            ),
        ]
        binding = [(key, cap) for key, cap in caps if cap is not None]
        allowed = min([amount] + [cap - self._taken.get(key, Decimal(0)) for key, cap in binding])
        for key, _ in binding:
            self._taken[key] = self._taken.get(key, Decimal(0)) + allowed
        self.total += allowed
