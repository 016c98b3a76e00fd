"""Local days, months and hours of a project, and the instants at which they begin and end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloud.kit.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Local dates from `start` up to, not including, `end`."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"period ends on {self.end}, not after it starts on {self.start}")

    @property
    def days(self) -> int:
        """Number of local days."""
        return (self.end - self.start).days

    def instants(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """First instant, and first instant after the end, in UTC."""
        return day_start(self.start, zone), day_start(self.end, zone)

    def overlap(self, other: "Period") -> "Period | None":
        """The days in both, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start, end) if start < end else None

    def __str__(self) -> str:
        return f"{self.start.isoformat()}/{self.end.isoformat()}"


def known_zone(name: str) -> ZoneInfo:
    """The time zone that somebody names. Raises InvalidInput."""
    try:
        return ZoneInfo(name)
    # Zones are files: "Asia" is a folder, and a name may be too long for a file.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            "unknown-time-zone", f"expected an IANA time zone such as Asia/Shanghai, got {name[:64]}", field="time_zone"
        ) from error


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which the local day begins: midnight, or the first instant after it where clocks jump."""
    local = datetime.combine(day, time(), zone)
    return local.astimezone(UTC)


def in_ms(instant: datetime) -> int:
    """Milliseconds from 1970 to `instant` (timezone-aware)."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """The instant (UTC) `ms` milliseconds after 1970."""
    return _EPOCH + timedelta(milliseconds=ms)


def in_us(instant: datetime) -> int:
    """Microseconds from 1970 to `instant` (timezone-aware): as finely as the database keeps a time."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The local date at `instant` (timezone-aware)."""
    if instant.tzinfo is None:
        raise ValueError("instant must carry a time zone")
    return instant.astimezone(zone).date()


def month_of(day: date) -> Period:
    """The calendar month around `day`."""
    return Period(day.replace(day=1), next_month(day))


def next_month(day: date) -> date:
    """First day of the month after that of `day`."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def previous_month(day: date) -> Period:
    """The calendar month before that of `day`."""
    return month_of(day.replace(day=1) - timedelta(days=1))


def months(start: date, end: date) -> Iterator[Period]:
    """The calendar months that touch [start, end), whole."""
    day = start.replace(day=1)
    while day < end:
        yield month_of(day)
        day = next_month(day)


def year_window(day: date, anchor_month: int = 1, anchor_day: int = 1) -> Period:
    """The accumulation year around `day` that begins each year on the anchor date."""
    start = date(day.year, anchor_month, anchor_day)
    if start > day:
        start = date(day.year - 1, anchor_month, anchor_day)
    return Period(start, date(start.year + 1, anchor_month, anchor_day))
