"""Late fees: a simple daily rate on the unpaid principal, never on fees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from cloud.kit.money import round_half_up

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LateFeeRule:
    """`daily_rate` is a share of the unpaid principal per day (0.001: one per mille).

    `later_rate` holds on days of calendar years after that of the due date (None: the same rate), as the rules of
    electricity supply in China have it: 2‰ in the year of the debt, 3‰ across years. The first `grace_days` days
    after the due date are free for good. When a fee is owed at all it is at least `minimum`, and never more than
    `cap_share` of the principal of the bill (None: no cap).
    """

    daily_rate: Decimal = Decimal(0)
    grace_days: int = 0
    minimum: Decimal = Decimal(0)
    cap_share: Decimal | None = None
    later_rate: Decimal | None = None

    def rate_on(self, day: date, due_on: date) -> Decimal:
        """The rate of a late day."""
        return self.daily_rate if self.later_rate is None or day.year == due_on.year else self.later_rate


@dataclass(frozen=True, slots=True)
class Pause:
    """Days `first` to `last` (both included; None: without end) on which `amount` (None: everything) bears no fee."""

    first: date
    last: date | None = None
    amount: Decimal | None = None

    def covers(self, day: date) -> bool:
        """Whether it holds on this day."""
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Step:
    """Days `first` to `last` (all late) with one principal: days × principal × rate = part, not rounded.

    `principal` is what bears a fee: unpaid, and not paused.
    """

    first: date
    last: date
    days: int
    principal: Decimal
    rate: Decimal
    part: Decimal


@dataclass(frozen=True, slots=True)
class LateFee:
    """The fee and the steps that add up to it before rounding, minimum and cap."""

    amount: Decimal
    steps: tuple[Step, ...]


NO_FEE = LateFee(Decimal(0), ())


def late_fee(
    principal: Decimal,
    due_on: date,
    paid: Sequence[tuple[date, Decimal]],
    rule: LateFeeRule,
    through: date,
    digits: int = 2,
    pauses: Sequence[Pause] = (),
) -> LateFee:
    """The late fee of one bill as of the evening of `through`.

    Every day after the due date and the days of grace counts, up to and including `through` or the day on which the
    principal was settled. `paid` are payments of principal: a payment lowers the base from the next day on. What is
    paused bears nothing on the days of the pause. Rounded half up to `digits` decimals, once, at the end.
    """
    first = due_on + timedelta(days=rule.grace_days) + _DAY
    steps = []
    for start, last in _stretches(first, through, _changes(due_on, paid, pauses)):
        unpaid = principal - sum((amount for day, amount in paid if day < start), Decimal(0))
        base = _bearing(unpaid, pauses, start)
        rate = rule.rate_on(start, due_on)
        if base > 0 and rate > 0:
            days = (last - start).days + 1
            steps.append(Step(start, last, days, base, rate, days * base * rate))
    exact = sum((step.part for step in steps), Decimal(0))
    if exact == 0:
        return NO_FEE
    amount = max(round_half_up(exact, digits), rule.minimum)
    if rule.cap_share is not None:
        amount = min(amount, round_half_up(principal * rule.cap_share, digits))
    return LateFee(amount, tuple(steps))


def _bearing(unpaid: Decimal, pauses: Sequence[Pause], day: date) -> Decimal:
    """What bears a fee on this day."""
    base = unpaid
    for pause in pauses:
        if pause.covers(day):
            base -= base if pause.amount is None else pause.amount
    return max(base, Decimal(0))


def _changes(due_on: date, paid: Sequence[tuple[date, Decimal]], pauses: Sequence[Pause]) -> set[date]:
    """First days on which the base or the rate may differ; the rate does so once, when the year of the debt is over."""
    changes = {day + _DAY for day, _ in paid} | {date(due_on.year + 1, 1, 1)}
    for pause in pauses:
        changes.add(pause.first)
        if pause.last is not None:
            changes.add(pause.last + _DAY)
    return changes


def _stretches(first: date, last: date, changes: set[date]) -> Iterator[tuple[date, date]]:
    """The days from `first` to `last` cut at `changes`: first and last day of each stretch."""
    if first > last:
        return
    starts = sorted({first} | {day for day in changes if first < day <= last})
    for start, following in zip(starts, [*starts[1:], last + _DAY], strict=True):
        yield start, following - _DAY
