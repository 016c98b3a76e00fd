"""What a consumption page shows at once: hours of a day or their parts, days of a month, months of a year. Pure."""

from dataclasses import dataclass
from datetime import date, timedelta

from cloud.kit.periods import Period, month_of, next_month, previous_month, year_window
from cloud.metering.records import Step


@dataclass(frozen=True, slots=True)
class Span:
    """`step` bars over `period`. `previous` and `next` are days in the neighbouring spans; no `next` in the future."""

    step: Step
    period: Period
    anchor: date
    previous: date
    next: date | None


def span(step: Step, on: date, today: date) -> Span:
    """The span of `step` bars around the local day `on`, which is not later than `today`."""
    anchor = min(on, today)
    if step in ("15min", "30min", "hour"):
        period = Period(anchor, anchor + timedelta(days=1))
        previous, following = anchor - timedelta(days=1), period.end
    elif step == "day":
        period = month_of(anchor)
        previous, following = previous_month(anchor).start, next_month(anchor)
    else:
        period = year_window(anchor)
        previous, following = date(anchor.year - 1, 1, 1), period.end
    return Span(step, period, anchor, previous, following if following <= today else None)
