"""Generated history: local midnights, then hours, on the very curve that the live meters go on with."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from gateway.contract.limits import MAX_POINTS_PER_BATCH
from simulators.demo.readings import HOURLY_DAYS, full_hour, history_batches, reading_times
from simulators.modbus.dwelling import Dwelling

SHANGHAI = ZoneInfo("Asia/Shanghai")
UNTIL = datetime(2026, 11, 24, 3, tzinfo=UTC)
SINCE = date(2025, 10, 1)


def test_old_readings_are_at_local_midnights_and_the_last_two_months_are_hourly() -> None:
    times = reading_times(SINCE, UNTIL, SHANGHAI)
    assert times[0] == datetime(2025, 9, 30, 16, tzinfo=UTC)
    assert times[-1] == UNTIL
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert set(steps) == {timedelta(days=1), timedelta(hours=1)}
    hourly = steps.count(timedelta(hours=1))
    assert hourly >= HOURLY_DAYS * 24
    assert steps == [timedelta(days=1)] * (len(steps) - hourly) + [timedelta(hours=1)] * hourly


def test_a_day_on_which_clocks_change_begins_at_its_own_midnight() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    times = reading_times(date(2026, 3, 28), datetime(2026, 11, 1, tzinfo=UTC), berlin)
    assert times[:3] == [
        datetime(2026, 3, 27, 23, tzinfo=UTC),
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 29, 22, tzinfo=UTC),
    ]


def test_a_short_history_is_hourly_from_its_first_day() -> None:
    times = reading_times(date(2026, 11, 24), UNTIL, SHANGHAI)
    assert times[0] == datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert len(times) == 12


def test_history_shows_what_the_live_meter_would_have_shown() -> None:
    times = reading_times(SINCE, UNTIL, SHANGHAI)
    batches = list(history_batches(7, "w-1-0101", "water", times, SHANGHAI))
    points = [point for batch in batches for point in batch]
    assert all(len(batch) <= MAX_POINTS_PER_BATCH for batch in batches)
    assert [point.taken_at for point in points] == [int(at.timestamp()) * 1000 for at in times]
    live = Dwelling(7, "w-1-0101", "water", SHANGHAI)
    for point in (points[0], points[200], points[-1]):
        assert point.value == live.value("volume_total", point.taken_at // 1000)
    assert all(later.value >= earlier.value for earlier, later in pairwise(points))


def test_the_last_full_hour() -> None:
    assert full_hour(datetime(2026, 11, 24, 11, 59, 59, 5, tzinfo=SHANGHAI)) == datetime(2026, 11, 24, 3, tzinfo=UTC)
