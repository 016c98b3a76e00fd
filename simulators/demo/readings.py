"""Thirteen months of readings, from the same curves that the simulated meters go on with. Pure."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.kit.periods import day_start
from gateway.contract.messages import Point
from simulators.modbus import curves

HOURLY_DAYS: Final = 62
"""So many last days have a reading every hour; the days before have one at each local midnight."""

POINTS_PER_BATCH: Final = 1_000
_HOUR: Final = timedelta(hours=1)


def reading_times(since: date, until: datetime, zone: ZoneInfo) -> list[datetime]:
    """Instants (UTC) of one meter's readings from the start of `since` up to `until`, both inclusive."""
    hourly_from = until.astimezone(zone).date() - timedelta(days=HOURLY_DAYS)
    times = []
    day = since
    while day < hourly_from:
        times.append(day_start(day, zone))
        day += timedelta(days=1)
    at = day_start(max(since, hourly_from), zone)
    while at <= until:
        times.append(at)
        at += _HOUR
    return times


def full_hour(now: datetime) -> datetime:
    """The last full hour (UTC) that is over at `now`."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def history_batches(
    seed: int, device: str, medium: str, times: list[datetime], zone: ZoneInfo
) -> Iterator[list[Point]]:
    """The readings of one meter's main register at `times`, cut into batches."""
    seconds = np.array([int(at.timestamp()) for at in times], dtype=np.int64)
    channel = curves.TOTAL[medium]
    values = curves.cumulative(seed, device, medium, seconds, zone)
    points = [
        Point(device, channel, at * 1_000, value) for at, value in zip(seconds.tolist(), values.tolist(), strict=True)
    ]
    for start in range(0, len(points), POINTS_PER_BATCH):
        yield points[start : start + POINTS_PER_BATCH]
