"""What a fee rule may say, and what is seldom meant: caps below what they cap, units cut short. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from cloud.parking.fees.models import MINUTES_PER_DAY, ParkingRule, Schedule, Step
from cloud.parking.fees.problems import Wrong


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning and the field it is about, such as `schedule.caps.per_24_hours`."""

    field: str
    problem: Wrong

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


def warnings(rule: ParkingRule) -> list[Warned]:
    """What to look at again before a rule is published; a rule without any is not right for that."""
    return [
        Warned(f"{place}.{one.field}", one.problem) for place, schedule in rule.schedules() for one in _of(schedule)
    ]


def _of(schedule: Schedule) -> Iterator[Warned]:
    yield from _caps(schedule)
    start = schedule.first.minutes if schedule.first is not None else 0
    yield from _cut_steps("steps", schedule.steps, start)
    for number, window in enumerate(schedule.windows):
        field = f"windows[{number}]"
        yield from _cut_steps(f"{field}.steps", window.steps, 0)
        if window.minutes is not None and window.length % window.minutes and len(schedule.windows) > 1:
            yield Warned(f"{field}.minutes", Wrong("window-cut", length=window.length, unit=window.minutes))
        if window.cap is not None:
            yield from _cap(f"{field}.cap", window.cap, max(step.price for step in window.plan))


def _caps(schedule: Schedule) -> Iterator[Warned]:
    caps = schedule.caps
    dearest = max([step.price for step in _all_steps(schedule)] + ([schedule.first.amount] if schedule.first else []))
    named = {"caps.per_24_hours": caps.per_24_hours, "caps.per_calendar_day": caps.per_calendar_day}
    for field, amount in named.items():
        if amount is not None:
            yield from _cap(field, amount, dearest)
    if caps.per_24_hours is not None and caps.per_24_hours > (most := _most_of_a_day(schedule)):
        yield Warned("caps.per_24_hours", Wrong("cap-unreached", cap=caps.per_24_hours, most=most))
    for number, one in enumerate(caps.escalating):
        field = f"caps.escalating[{number}].amount"
        yield from _cap(field, one.amount, dearest)
        day = caps.per_24_hours
        if day is not None and one.within_minutes <= MINUTES_PER_DAY and one.amount >= day:
            yield Warned(field, Wrong("escalating-useless", within=one.within_minutes))


def _cap(field: str, cap: Decimal, charge: Decimal) -> Iterator[Warned]:
    if cap == 0:
        yield Warned(field, Wrong("cap-zero"))
    elif cap < charge:
        yield Warned(field, Wrong("cap-below-charge", cap=cap, charge=charge))


def _cut_steps(field: str, steps: tuple[Step, ...], start: int) -> Iterator[Warned]:
    for number, step in enumerate(steps):
        if step.up_to_minutes is not None:
            if (step.up_to_minutes - start) % step.minutes:
                values = {"length": step.up_to_minutes - start, "unit": step.minutes}
                yield Warned(f"{field}[{number}].up_to_minutes", Wrong("step-cut", **values))
            start = step.up_to_minutes


def _all_steps(schedule: Schedule) -> list[Step]:
    return [*schedule.plan, *(step for window in schedule.windows for step in window.plan)]


def _most_of_a_day(schedule: Schedule) -> Decimal:
    """No 24 hours cost more: each minute at the dearest rate of all, and two units begun of every window and step."""
    first = schedule.first.amount if schedule.first is not None else Decimal(0)
    steps = _all_steps(schedule)
    dearest = max(step.price * -(-MINUTES_PER_DAY // step.minutes) for step in steps)
    return first + dearest + 2 * sum((step.price for step in steps), Decimal(0))
