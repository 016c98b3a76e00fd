"""What a stay costs, as steps that add up. Pure: no clock, no database; money is Decimal, time whole seconds.

How a stay is priced:

1. Instants are cut to the whole second. While a permit covers the stay its clock stands still: covered time is neither
   free time nor part of a block, a step or a unit, which go on afterwards where they stopped.
2. A stay no longer than the free minutes costs nothing. Billing begins at the entry, or at the end of the free minutes.
3. The first block, if there is one, is charged whole.
4. The rest is cut where a step ends or a window begins; in each part every unit begun is charged.
5. Caps bind in the order of time: what begins within a period is charged until its cap is reached. Periods are those of
   the real clock, whether covered or not.
6. What is taken off, in this order: the credit for charging, coupons of hours, of percentages, of money, free stays.

Each charge belongs to the moment at which its unit begins, and units are counted from the entry onwards. A longer stay
therefore has the charges of the shorter one and perhaps more: it never costs less, and paying in parts costs the same.
Hours that a coupon or the charging gives cover the first time of the stay that is not covered anyway. Neither they nor
a permit ever make a stay dearer: where counting units from another moment would, the stay is priced without them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from cloud.kit.money import minor_digits, round_half_up
from cloud.parking.fees.billed_time import BilledTime, instant, second
from cloud.parking.fees.caps import CapPeriods, FeeStep, StepKind
from cloud.parking.fees.charges import LocalTime, runs
from cloud.parking.fees.circumstances import COUPON_KINDS, USUAL, Charged, Circumstances, Coupon, CoveredTime
from cloud.parking.fees.models import ChargingCredit, ParkingRule, Schedule

__all__ = ["Assessment", "Fee", "FeeStep", "Settlement", "StepKind", "assess", "price_stay"]

_COUPON_STEPS: Final[dict[str, StepKind]] = {
    "hours": "coupon-hours",
    "percentage": "coupon-percentage",
    "money": "coupon-money",
    "free": "coupon-free",
}


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


def price_stay(
    rule: ParkingRule,
    entered_at: datetime,
    until: datetime,
    vehicle_class: str,
    zone: ZoneInfo,
    circumstances: Circumstances = USUAL,
) -> Fee:
    """Price of a stay from `entered_at` to `until` (timezone-aware) in a lot of `zone`.

    A stay that ends before it begins costs nothing. Raises ValueError for naive instants.
    """
    schedule = rule.schedule_of(vehicle_class)
    entry, leave = second(entered_at), second(until)
    covered = [(second(one.start), second(one.end)) for one in circumstances.covered]
    stay = _Stay(
        schedule, LocalTime(zone, circumstances.calendar), minor_digits(rule.currency), circumstances.free_used
    )
    time = BilledTime(entry, leave, covered)
    steps = stay.cheaper(time, BilledTime(entry, leave)) if time.covered_parts() else stay.steps(time)
    steps = [_named(step, circumstances.covered) if step.kind == "covered" else step for step in steps]
    steps += stay.taken_off(steps, time, circumstances)
    return Fee(stay.total(steps), rule.currency, tuple(steps))


def assess(
    rule: ParkingRule,
    entered_at: datetime,
    until: datetime,
    vehicle_class: str,
    zone: ZoneInfo,
    settlements: Sequence[Settlement] = (),
    circumstances: Circumstances = USUAL,
) -> Assessment:
    """What is due when the stay ends at `until`.

    Whoever has paid everything up to an instant may leave for nothing within the rule's time after it. Whoever stays
    longer owes the price of the whole stay less what he paid: there is no second free allowance and no fresh clock.
    """

    def price(end: datetime) -> Fee:
        return price_stay(rule, entered_at, end, vehicle_class, zone, circumstances)

    paid = sum((settlement.amount for settlement in settlements), Decimal(0))
    settled = _settled_until(settlements, lambda end: price(end).amount)
    leave_by = None if settled is None else settled + timedelta(minutes=rule.leave_within_minutes)
    priced_until = until
    if settled is not None and leave_by is not None and settled < until <= leave_by:
        priced_until = settled
    fee = price(priced_until)
    zero = round_half_up(Decimal(0), minor_digits(rule.currency))
    due, surplus = max(fee.amount - paid, zero), max(paid - fee.amount, zero)
    return Assessment(fee, priced_until, paid + zero, due, surplus, leave_by)


def _settled_until(settlements: Sequence[Settlement], price: Callable[[datetime], Decimal]) -> datetime | None:
    """The last instant up to which everything was paid."""
    settled, paid = None, Decimal(0)
    for settlement in sorted(settlements, key=lambda settlement: settlement.paid_until):
        paid += settlement.amount
        if paid >= price(settlement.paid_until):
            settled = settlement.paid_until
    return settled


class _Stay:
    """Prices the same stay with more or less of its time covered."""

    def __init__(self, schedule: Schedule, local: LocalTime, digits: int, free_used: timedelta) -> None:
        self._schedule = schedule
        self._local = local
        self._digits = digits
        used = free_used // timedelta(seconds=1) if schedule.daily_quota else 0
        self._free = max(schedule.free_minutes * 60 - used, 0)
        self._zero = round_half_up(Decimal(0), digits)

    def total(self, steps: Sequence[FeeStep]) -> Decimal:
        """What steps come to."""
        return sum((step.amount for step in steps), self._zero)

    def cheaper(self, one: BilledTime, other: BilledTime) -> list[FeeStep]:
        """The steps of the lower price; of the first when both are equal."""
        return min(self.steps(one), self.steps(other), key=self.total)

    def steps(self, time: BilledTime) -> list[FeeStep]:
        """What the time costs, before coupons; in order of time."""
        found = [self._line("covered", start, end) for start, end in time.covered_parts()]
        if self._free and (time.total <= self._free or self._schedule.billing_from == "end-of-free"):
            found.append(self._line("free", time.at(0), time.end_of(min(time.total, self._free))))
        if time.total > self._free:
            caps = CapPeriods(self._schedule.caps, time, self._local.zone, self._digits)
            start = 0 if self._schedule.billing_from == "entry" else self._free
            for run in runs(self._schedule, time, start, self._local):
                found += caps.steps(run)
        return sorted(found, key=lambda step: step.start) if time.covered else found

    def taken_off(self, steps: Sequence[FeeStep], time: BilledTime, circumstances: Circumstances) -> Iterator[FeeStep]:
        """What charging and coupons take off the price, a line each."""
        amount, given = self.total(steps), 0
        for kind, label, seconds in self._time_given(circumstances):
            given += seconds
            reduced = min(amount, self.total(self.steps(time.after(given))))
            yield self._line(kind, time.entry, time.leave, reduced - amount, label, seconds // 60)
            amount = reduced
        for coupon in _in_order(circumstances.coupons):
            off = self._off(coupon, amount)
            if coupon.kind != "hours":
                yield self._line(_COUPON_STEPS[coupon.kind], time.entry, time.leave, -off, coupon.code)
                amount -= off

    def _time_given(self, circumstances: Circumstances) -> Iterator[tuple[StepKind, str, int]]:
        """Seconds that cost nothing because of charging and coupons of hours."""
        credit = self._schedule.charging
        seconds = 0 if credit is None else _charging_seconds(credit, circumstances.charged)
        if seconds:
            yield "charging-credit", "", seconds
        for coupon in _in_order(circumstances.coupons):
            if coupon.kind == "hours":
                yield "coupon-hours", coupon.code, int(coupon.value * 3600)

    def _off(self, coupon: Coupon, amount: Decimal) -> Decimal:
        match coupon.kind:
            case "percentage":
                return min(amount, round_half_up(amount * coupon.value / 100, self._digits))
            case "money":
                return min(amount, round_half_up(coupon.value, self._digits))
            case "free":
                return amount
        return self._zero

    def _line(
        self, kind: StepKind, start: int, end: int, amount: Decimal | None = None, label: str = "", minutes: int = 0
    ) -> FeeStep:
        taken = self._zero if amount is None else amount
        return FeeStep(kind, instant(start), instant(max(start, end)), 0, minutes, self._zero, taken, label)


def _named(step: FeeStep, covered: Sequence[CoveredTime]) -> FeeStep:
    """A step of covered time, and what covers it: all that holds at some moment of it, as it begins."""
    there = [one for one in sorted(covered, key=_begins) if one.start < step.end and step.start < one.end]
    return replace(step, label=" ".join(dict.fromkeys(name for one in there for name in one.by.split())))


def _begins(one: CoveredTime) -> tuple[datetime, str]:
    return one.start, one.by


def _in_order(coupons: Sequence[Coupon]) -> list[Coupon]:
    return sorted(coupons, key=lambda coupon: (COUPON_KINDS.index(coupon.kind), coupon.code))


def _charging_seconds(credit: ChargingCredit, charged: Charged) -> int:
    seconds = int(charged.kwh * credit.free_minutes_per_kwh * 60)
    seconds += charged.minutes * credit.free_minutes_per_minute * 60
    return seconds if credit.at_most_minutes is None else min(seconds, credit.at_most_minutes * 60)
