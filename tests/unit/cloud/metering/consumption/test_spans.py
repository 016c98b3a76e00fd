"""What a consumption page shows at once."""

from datetime import date

from cloud.kit.periods import Period
from cloud.metering.consumption.spans import span

_TODAY = date(2026, 3, 15)


def test_hours_show_a_day() -> None:
    found = span("hour", date(2026, 3, 1), _TODAY)
    assert found.period == Period(date(2026, 3, 1), date(2026, 3, 2))
    assert (found.previous, found.next) == (date(2026, 2, 28), date(2026, 3, 2))


def test_days_show_a_month_and_nothing_follows_the_running_one() -> None:
    found = span("day", _TODAY, _TODAY)
    assert found.period == Period(date(2026, 3, 1), date(2026, 4, 1))
    assert (found.previous, found.next) == (date(2026, 2, 1), None)


def test_months_show_a_year() -> None:
    found = span("month", date(2025, 7, 4), _TODAY)
    assert found.period == Period(date(2025, 1, 1), date(2026, 1, 1))
    assert (found.previous, found.next) == (date(2024, 1, 1), date(2026, 1, 1))


def test_future_is_the_present() -> None:
    assert span("hour", date(2027, 1, 1), _TODAY).period.start == _TODAY
