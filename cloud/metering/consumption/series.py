"""Where the bars of a chart begin and end; pure."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.kit.periods import Period, day_start, months
from cloud.metering.records import Step

_MINUTES: dict[Step, int] = {"15min": 15, "30min": 30, "hour": 60}


def edges(period: Period, step: Step, zone: ZoneInfo) -> list[datetime]:
    """Instants (UTC) at which the bars of `period` begin, and the end of the last one.

    Months are whole even where the period begins or ends inside one. Hours and their parts are steps of so many minutes
    from local midnight, so that a day on which clocks change has 23 or 25 hours.
    """
    if step == "month":
        whole = list(months(period.start, period.end))
        return [day_start(month.start, zone) for month in whole] + [day_start(whole[-1].end, zone)]
    if step == "day":
        return [day_start(period.start + timedelta(days=n), zone) for n in range(period.days + 1)]
    start, end = period.instants(zone)
    length = timedelta(minutes=_MINUTES[step])
    return [start + length * n for n in range((end - start) // length)] + [end]
