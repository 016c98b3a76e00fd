"""From usage rows to the bars of a chart; pure."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.kit.periods import Period, day_start, months
from cloud.metering.records import Step, UsageBar, UsageRow


def edges(period: Period, step: Step, zone: ZoneInfo) -> list[datetime]:
    """Instants (UTC) at which the bars of `period` begin, and the end of the last one.

    Months are whole even where the period begins or ends inside one. Hours are steps of 60 minutes from local
    midnight, so that a day on which clocks change has 23 or 25 of them.
    """
    if step == "month":
        whole = list(months(period.start, period.end))
        return [day_start(month.start, zone) for month in whole] + [day_start(whole[-1].end, zone)]
    if step == "day":
        return [day_start(period.start + timedelta(days=n), zone) for n in range(period.days + 1)]
    start, end = period.instants(zone)
    hours = int((end - start).total_seconds()) // 3600
    return [start + timedelta(hours=n) for n in range(hours)] + [end]


def bars(bar_edges: Sequence[datetime], rows: Sequence[UsageRow]) -> list[UsageBar]:
    """One bar between each two edges. A row inside a bar adds to it; one over an edge makes all it touches unknown."""
    known: dict[int, int] = {}
    broken: set[int] = set()
    estimated: set[int] = set()
    last = len(bar_edges) - 2
    for row in rows:
        end = row.start + timedelta(seconds=row.length_s)
        first_bar = bisect_right(bar_edges, row.start) - 1
        last_bar = bisect_right(bar_edges, end - timedelta(microseconds=1)) - 1
        if first_bar == last_bar and 0 <= first_bar <= last:
            known[first_bar] = known.get(first_bar, 0) + row.quantity
            if row.estimated:
                estimated.add(first_bar)
        else:
            broken.update(range(max(first_bar, 0), min(last_bar, last) + 1))
    return [
        UsageBar(
            bar_edges[i].astimezone(UTC),
            bar_edges[i + 1].astimezone(UTC),
            None if i in broken else known.get(i),
            i in broken,
            i in estimated,
        )
        for i in range(last + 1)
    ]
