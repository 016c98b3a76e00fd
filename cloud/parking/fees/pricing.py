"""What a stay costs, as steps that add up. Pure: no clock, no database; money is Decimal, time whole seconds.

How a stay is priced:

1. Instants are cut to the whole second. A stay no longer than the free minutes costs nothing.
2. Billing begins at the entry, or at the end of the free minutes, as the rule says.
3. The first block, if there is one, is charged whole.
4. The rest is cut where a window of the local day begins; in each part every unit begun is charged.
5. Caps bind in the order of time: what begins within a period is charged until its cap is reached.

Each charge belongs to the moment at which its unit begins, and units are counted from the entry onwards. A longer stay
therefore has the charges of the shorter one and perhaps more: it never costs less, and paying in parts costs the same.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from cloud.kit.money import minor_digits, round_half_up
from cloud.kit.periods import local_day
from cloud.parking.fees.models import ParkingRule, Schedule, Unit, Window, clock_minutes

_DAY_S = 24 * 3600
StepKind = Literal["free", "first-block", "units", "cap-24-hours", "cap-calendar-day"]


@dataclass(frozen=True, slots=True)
class FeeStep:
    """One line of the explanation: what was charged (or, by a cap, taken off) from `start` to `end`.

    `units` × `price` = `amount` for kind `units`; a cap's amount is negative.
    """

    kind: StepKind
    start: datetime
    end: datetime
    units: int
    unit_minutes: int
    price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Fee:
    """Price of a stay; `amount` is the sum of the steps' amounts."""

    amount: Decimal
    currency: str
    steps: tuple[FeeStep, ...]


@dataclass(frozen=True, slots=True)
class Settlement:
    """An amount paid for a stay that was priced until `paid_until`."""

    paid_until: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a stay costs when it ends at a given instant, after what was paid already.

    `priced_until` is earlier than that instant while the time to leave after a payment runs; `leave_by` is the end
    of that time, None when nothing was settled. `surplus` is what was paid beyond the fee.
    """

    fee: Fee
    priced_until: datetime
    paid: Decimal
    due: Decimal
    surplus: Decimal
    leave_by: datetime | None


@dataclass(frozen=True, slots=True)
class _Run:
    """Equal units in a row, all beginning in the same cap periods. Seconds since 1970."""

    kind: StepKind
    start: int
    end: int
    units: int
    minutes: int
    price: Decimal


def price_stay(rule: ParkingRule, entered_at: datetime, until: datetime, vehicle_class: str, zone: ZoneInfo) -> Fee:
    """Price of a stay from `entered_at` to `until` (timezone-aware) in a lot of `zone`.

    A stay that ends before it begins costs nothing. Raises ValueError for naive instants.
    """
    schedule = rule.schedule_of(vehicle_class)
    entry, leave = _second(entered_at), _second(until)
    free_end = entry + schedule.free_minutes * 60
    digits = minor_digits(rule.currency)
    zero = round_half_up(Decimal(0), digits)
    steps: list[FeeStep] = []
    if schedule.free_minutes and (leave <= free_end or schedule.billing_from == "end-of-free"):
        end = max(entry, min(leave, free_end))
        steps.append(FeeStep("free", _instant(entry), _instant(end), 0, 0, zero, zero))
    if leave > free_end:
        start = entry if schedule.billing_from == "entry" else free_end
        caps = _Caps(schedule, entry, zone)
        for run in _runs(schedule, start, leave, zone):
            for part in caps.split(run):
                steps.extend(caps.charge(part, digits))
    return Fee(sum((step.amount for step in steps), zero), rule.currency, tuple(steps))


def assess(
    rule: ParkingRule,
    entered_at: datetime,
    until: datetime,
    vehicle_class: str,
    zone: ZoneInfo,
    settlements: Sequence[Settlement] = (),
) -> Assessment:
    """What is due when the stay ends at `until`.

    Whoever has paid everything up to an instant may leave for nothing within the rule's time after it. Whoever stays
    longer owes the price of the whole stay less what he paid: there is no second free allowance and no fresh clock.
    """
    paid = sum((settlement.amount for settlement in settlements), Decimal(0))
    settled = _settled_until(rule, entered_at, vehicle_class, zone, settlements)
    leave_by = None if settled is None else settled + timedelta(minutes=rule.leave_within_minutes)
    priced_until = until
    if settled is not None and leave_by is not None and settled < until <= leave_by:
        priced_until = settled
    fee = price_stay(rule, entered_at, priced_until, vehicle_class, zone)
    zero = round_half_up(Decimal(0), minor_digits(rule.currency))
    due, surplus = max(fee.amount - paid, zero), max(paid - fee.amount, zero)
    return Assessment(fee, priced_until, paid + zero, due, surplus, leave_by)


def _settled_until(
    rule: ParkingRule, entered_at: datetime, vehicle_class: str, zone: ZoneInfo, settlements: Sequence[Settlement]
) -> datetime | None:
    """The last instant up to which everything was paid."""
    settled, paid = None, Decimal(0)
    for settlement in sorted(settlements, key=lambda settlement: settlement.paid_until):
        paid += settlement.amount
        if paid >= price_stay(rule, entered_at, settlement.paid_until, vehicle_class, zone).amount:
            settled = settlement.paid_until
    return settled


def _runs(schedule: Schedule, start: int, leave: int, zone: ZoneInfo) -> Iterator[_Run]:
    """Everything that is charged from `start` to `leave`, in order of time."""
    if schedule.first is not None:
        length = schedule.first.minutes * 60
        end = min(start + length, leave)
        yield _Run("first-block", start, end, 1, schedule.first.minutes, schedule.first.amount)
        start += length
    for begin, end, unit in _parts(schedule, start, leave, zone):
        length = unit.minutes * 60
        yield _Run("units", begin, end, -((begin - end) // length), unit.minutes, unit.price)


def _parts(schedule: Schedule, start: int, leave: int, zone: ZoneInfo) -> Iterator[tuple[int, int, Unit]]:
    """[start, leave) cut where another window begins."""
    if start >= leave:
        return
    if schedule.unit is not None:
        yield start, leave, schedule.unit
        return
    if len(schedule.windows) == 1:
        yield start, leave, schedule.windows[0]
        return
    borders = _window_starts(schedule.windows, start, leave, zone)
    for (begins, window), (ends, _) in zip(borders, [*borders[1:], (leave, None)], strict=True):
        begin, end = max(start, begins), min(leave, ends)
        if begin < end:
            yield begin, end, window


def _window_starts(windows: Sequence[Window], start: int, leave: int, zone: ZoneInfo) -> list[tuple[int, Window]]:
    """Instants at which windows begin, from the last one before `start` to the last one before `leave`."""
    day, last = local_day(_instant(start), zone) - timedelta(days=1), local_day(_instant(leave), zone)
    ordered = sorted(windows, key=lambda window: clock_minutes(window.start) % 1440)
    starts: list[tuple[int, Window]] = []
    while day <= last:
        starts += [(clock_instant(day, clock_minutes(window.start) % 1440, zone), window) for window in ordered]
        day += timedelta(days=1)
    first = bisect_right([instant for instant, _ in starts], start) - 1
    return [(instant, window) for instant, window in starts[first:] if instant < leave]


def clock_instant(day: date, minutes: int, zone: ZoneInfo) -> int:
    """The first instant of the local `day` (seconds since 1970) at which the clock shows at least these minutes.

    Where clocks are put back the earlier of two instants; where they are put forward over it, the end of the jump.
    """
    wall = datetime.combine(day, time(minutes // 60, minutes % 60))
    one, other = (int(wall.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if one <= other:
        return one
    low, high = other, one  # put forward: the jump lies between the two readings of a time that does not exist
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) < wall:
            low = middle
        else:
            high = middle
    return high


class _Caps:
    """What may still be charged in the cap periods of one stay."""

    def __init__(self, schedule: Schedule, entry: int, zone: ZoneInfo) -> None:
        self._limits = schedule.caps
        self._entry = entry
        self._zone = zone
        self._left: dict[tuple[StepKind, int], Decimal] = {}

    def split(self, run: _Run) -> Iterator[_Run]:
        """Cuts a run so that all units of a part begin in the same cap periods."""
        length, start, units = run.minutes * 60, run.start, run.units
        while units > 1:
            border = self._next_border(start)
            here = units if border is None else min(units, -((start - border) // length))
            end = run.end if here == units else start + here * length
            yield replace(run, start=start, end=end, units=here)
            start, units = end, units - here
        if units == 1:
            yield replace(run, start=start, units=1)

    def charge(self, run: _Run, digits: int) -> Iterator[FeeStep]:
        """The step of a run, and what caps take off it."""
        price = round_half_up(run.price, digits)
        full = price * run.units
        start, end = _instant(run.start), _instant(run.end)
        yield FeeStep(run.kind, start, end, run.units, run.minutes, price, full)
        allowed = full
        for key, limit in self._periods(run.start):
            left = self._left.setdefault(key, round_half_up(limit, digits))
            if left < allowed:
                yield FeeStep(key[0], start, end, 0, 0, round_half_up(limit, digits), left - allowed)
                allowed = left
        for key, _ in self._periods(run.start):
            self._left[key] -= allowed

    def _periods(self, start: int) -> list[tuple[tuple[StepKind, int], Decimal]]:
        """The cap periods around `start` with their limits; a period is named by kind and number."""
        periods: list[tuple[tuple[StepKind, int], Decimal]] = []
        if self._limits.per_24_hours is not None:
            periods.append((("cap-24-hours", (start - self._entry) // _DAY_S), self._limits.per_24_hours))
        if self._limits.per_calendar_day is not None:
            day = self._day_of(start)
            periods.append((("cap-calendar-day", day.toordinal()), self._limits.per_calendar_day))
        return periods

    def _next_border(self, start: int) -> int | None:
        borders: list[int] = []
        if self._limits.per_24_hours is not None:
            borders.append(self._entry + ((start - self._entry) // _DAY_S + 1) * _DAY_S)
        if self._limits.per_calendar_day is not None:
            borders.append(clock_instant(self._day_of(start) + timedelta(days=1), 0, self._zone))
        return min(borders, default=None)

    def _day_of(self, instant: int) -> date:
        """The local date; one that has begun does not end where clocks are put back over midnight."""
        following = local_day(_instant(instant), self._zone) + timedelta(days=1)
        return following if clock_instant(following, 0, self._zone) <= instant else following - timedelta(days=1)


def _second(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError("instants must carry a time zone")
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
