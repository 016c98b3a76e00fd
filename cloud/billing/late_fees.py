"""Late fees: a simple daily rate on the unpaid principal, never on fees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from cloud.kit.money import round_half_up


@dataclass(frozen=True, slots=True)
class LateFeeRule:
    """`daily_rate` is a share of the unpaid principal per day (0.001: one per mille).

    The first `grace_days` days after the due date are free for good. When a fee is owed at all it is at least
    `minimum`, and never more than `cap_share` of the principal of the bill (None: no cap).
    """

    daily_rate: Decimal = Decimal(0)
    grace_days: int = 0
    minimum: Decimal = Decimal(0)
    cap_share: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Days `first` to `last` (both late) with one principal: days × principal × rate = part, not rounded."""

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
) -> LateFee:
    """The late fee of one bill as of the evening of `through`.

    Every day after the due date and the days of grace counts, up to and including `through` or the day on which the
    principal was settled. `paid` are payments of principal: a payment lowers the base from the next day on.
    Rounded half up to `digits` decimals, once, at the end.
    """
    open_principal, steps = principal, []
    counted_until = due_on + timedelta(days=rule.grace_days)
    for day, amount in [*sorted(paid), (through, Decimal(0))]:
        until = min(day, through)
        if until > counted_until and open_principal > 0:
            steps.append(_step(counted_until, until, open_principal, rule.daily_rate))
        counted_until = max(counted_until, until)
        if day <= through:
            open_principal -= amount
    exact = sum((step.part for step in steps), Decimal(0))
    if exact == 0:
        return NO_FEE
    amount = max(round_half_up(exact, digits), rule.minimum)
    if rule.cap_share is not None:
        amount = min(amount, round_half_up(principal * rule.cap_share, digits))
    return LateFee(amount, tuple(steps))


def _step(after: date, last: date, principal: Decimal, rate: Decimal) -> Step:
    days = (last - after).days
    return Step(after + timedelta(days=1), last, days, principal, rate, days * principal * rate)
