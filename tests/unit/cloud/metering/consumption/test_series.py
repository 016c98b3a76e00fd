"""Edges of bars: days of 23 and 25 hours, parts of hours that fill them, whole months."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cloud.kit.periods import Period
from cloud.metering.consumption.series import edges

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def test_days_begin_at_local_midnight() -> None:
    found = edges(Period(date(2026, 3, 1), date(2026, 3, 3)), "day", SHANGHAI)
    assert found == [datetime(2026, 2, 28 + n, 16, tzinfo=UTC) if not n else datetime(2026, 3, n, 16, tzinfo=UTC)
                     for n in range(3)]  # fmt: skip


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 3, 30), 24), (date(2026, 10, 25), 25)])
def test_short_bars_fill_the_local_day(day: date, hours: int) -> None:
    period = Period(day, day + timedelta(days=1))
    for step, per_hour in (("15min", 4), ("30min", 2), ("hour", 1)):
        found = edges(period, step, BERLIN)  # type: ignore[arg-type]
        assert (found[0], found[-1]) == period.instants(BERLIN)
        assert len(found) - 1 == hours * per_hour
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1) / per_hour}


def test_months_are_whole() -> None:
    found = edges(Period(date(2026, 3, 15), date(2026, 4, 2)), "month", SHANGHAI)
    assert [at.astimezone(SHANGHAI).date() for at in found] == [date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)]
