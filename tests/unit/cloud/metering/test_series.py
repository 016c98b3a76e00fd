"""Bars: gaps shown as gaps, whole months that hold a gap still known, days of 23 and 25 hours."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.kit.periods import Period
from cloud.metering.records import UsageRow
from cloud.metering.series import bars, edges

SHANGHAI = ZoneInfo("Asia/Shanghai")
MARCH = Period(date(2026, 3, 1), date(2026, 4, 1))


def hour(day: int, hour_of_day: int, quantity: int, hours: int = 1, month: int = 3) -> UsageRow:
    start = datetime(2026, month, day, hour_of_day, tzinfo=SHANGHAI).astimezone(UTC)
    return UsageRow(start, hours * 3600, quantity, 0 if hours == 1 else 2, 1)


def test_days_begin_at_local_midnight() -> None:
    rows = [hour(1, 23, 5), hour(2, 0, 7)]
    found = bars(edges(Period(date(2026, 3, 1), date(2026, 3, 3)), "day", SHANGHAI), rows)
    assert [(bar.quantity, bar.spans_gap) for bar in found] == [(5, False), (7, False)]
    assert found[1].start == datetime(2026, 3, 1, 16, tzinfo=UTC)


def test_a_gap_over_midnight_hides_both_days_but_not_the_month() -> None:
    rows = [hour(1, 10, 5), hour(1, 22, 90, hours=4), hour(2, 2, 7), hour(3, 0, 1)]
    days = bars(edges(Period(date(2026, 3, 1), date(2026, 3, 4)), "day", SHANGHAI), rows)
    assert [(bar.quantity, bar.spans_gap) for bar in days] == [(None, True), (None, True), (1, False)]
    month = bars(edges(MARCH, "month", SHANGHAI), rows)
    assert [(bar.quantity, bar.spans_gap) for bar in month] == [(103, False)]


def test_a_gap_inside_a_day_is_known_for_the_day_and_not_for_its_hours() -> None:
    rows = [hour(1, 10, 90, hours=3)]
    period = Period(date(2026, 3, 1), date(2026, 3, 2))
    assert [bar.quantity for bar in bars(edges(period, "day", SHANGHAI), rows)] == [90]
    hours = bars(edges(period, "hour", SHANGHAI), rows)
    assert [n for n, bar in enumerate(hours) if bar.spans_gap] == [10, 11, 12]
    assert all(bar.quantity is None for bar in hours)


def test_a_gap_that_begins_before_and_ends_behind_the_period_hides_all_of_it() -> None:
    rows = [hour(25, 0, 90, hours=24 * 60, month=2)]
    assert {(bar.quantity, bar.spans_gap) for bar in bars(edges(MARCH, "day", SHANGHAI), rows)} == {(None, True)}


def test_where_nothing_was_read_yet_there_is_neither_usage_nor_a_gap() -> None:
    assert [(bar.quantity, bar.spans_gap) for bar in bars(edges(MARCH, "month", SHANGHAI), [])] == [(None, False)]


def test_days_on_which_clocks_change_have_23_and_25_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)):
        found = edges(Period(day, day + timedelta(days=1)), "hour", berlin)
        assert len(found) == hours + 1


def test_months_are_whole() -> None:
    found = edges(Period(date(2026, 3, 15), date(2026, 4, 2)), "month", SHANGHAI)
    assert [at.astimezone(SHANGHAI).date() for at in found] == [date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)]
