"""Which month a page shows, from its address or form."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from cloud.kit.errors import InvalidInput
from cloud.kit.periods import Period, local_day, month_of, previous_month


def month_shown(text: str | None, zone: ZoneInfo) -> Period:
    """The month that `2026-01` names, the last whole one unless one is named. Raises InvalidInput."""
    if not text:
        return previous_month(local_day(datetime.now(UTC), zone))
    try:
        found = month_of(date.fromisoformat(f"{text}-01"))
    except (ValueError, OverflowError) as error:
        raise InvalidInput("bad-month", "expected a month such as 2026-01", field="month") from error
    if not 1970 <= found.start.year <= 2199:
        raise InvalidInput("bad-month", "expected a month from 1970 to 2199", field="month")
    return found


def latest_month(zone: ZoneInfo) -> date:
    """First day of the month that is under way."""
    return month_of(local_day(datetime.now(UTC), zone)).start
