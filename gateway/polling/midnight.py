"""When a property's day begins: the instant of the readings that months and days are billed by; pure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

NextMidnight = Callable[[int], int]
"""Gives the first midnight later than a time; both in milliseconds since 1970."""


def midnights(zone: ZoneInfo) -> NextMidnight:
    """Of `zone`. Where clocks change at midnight, the first instant of the new date is meant."""

    def after(time_ms: int) -> int:
        # Two days on at most: an ambiguous evening may begin the next date where it is already past.
        today = datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(zone).date()
        for days in (1, 2):
            date = today + timedelta(days=days)
            # A midnight that the clocks leap over is read with the offset before the leap: the instant of the leap.
            start = round(datetime(date.year, date.month, date.day, tzinfo=zone).timestamp()) * 1000
            if start > time_ms:
                return start
        raise AssertionError(f"no midnight within two days of {time_ms}")

    return after
