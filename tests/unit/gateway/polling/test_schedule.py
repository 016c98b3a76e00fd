"""Devices are due on a wall-clock grid, spread, and dead ones cost little."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.base import Group
from gateway.polling.schedule import LONGEST_BACKOFF_MS, Beat, LineSchedule, backoff_ms, spread

PERIODS = {Group.BILLING: 60_000, Group.INSTANT: 15_000}


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.integers(0, 2 * 10**12))
def test_slots_lie_on_the_grid_and_ahead(period: int, offset: int, now: int) -> None:
    beat = Beat(period, offset % period)
    due = beat.after(now)
    assert now < due <= now + period
    assert (due - beat.offset_ms) % period == 0


def test_the_grid_is_the_wall_clocks_and_survives_restarts() -> None:
    assert Beat(60_000, 0).after(1_699_999_199_000) == 1_699_999_200_000
    assert Beat(60_000, 0).after(1_699_999_200_000) == 1_699_999_260_000


def test_devices_are_spread_and_groups_meet() -> None:
    beats = [spread(index, 40, PERIODS) for index in range(40)]
    assert len({one[Group.INSTANT].offset_ms for one in beats}) == 40
    for one in beats:
        assert one[Group.BILLING].offset_ms % 15_000 == one[Group.INSTANT].offset_ms
    quarters = [one[Group.BILLING].offset_ms // 15_000 for one in beats]
    assert all(quarters.count(quarter) == 10 for quarter in range(4))


def test_a_visit_takes_all_groups_that_are_due() -> None:
    schedule = LineSchedule([spread(0, 1, PERIODS)], now_ms=1)
    seen = []
    for _ in range(8):
        due = schedule.next_due()
        assert due is not None
        index, groups = schedule.take(due)
        seen.append((due, groups))
        schedule.put_back(index, groups, due, failures=0)
    both, instant = frozenset(Group), frozenset({Group.INSTANT})
    assert seen == [(15_000 * n, both if n % 4 == 0 else instant) for n in range(1, 9)]


def test_missed_slots_are_skipped_not_queued() -> None:
    schedule = LineSchedule([{Group.INSTANT: Beat(1_000, 0)}], now_ms=0)
    index, groups = schedule.take(10_500)
    schedule.put_back(index, groups, 10_500, failures=0)
    assert schedule.next_due() == 11_000


def test_dead_devices_wait_longer_and_longer_but_not_for_ever() -> None:
    waits = [backoff_ms(failures, 15_000) for failures in range(1, 40)]
    assert waits[:4] == [15_000, 30_000, 60_000, 120_000]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_BACKOFF_MS
    assert backoff_ms(0, 15_000) == 0
    assert backoff_ms(9, 3_600_000) == 3_600_000


def test_a_failed_visit_moves_every_group_and_recovery_returns_to_the_grid() -> None:
    schedule = LineSchedule([spread(0, 1, PERIODS)], now_ms=0)
    due = schedule.next_due()
    assert due == 15_000
    index, groups = schedule.take(due)
    schedule.put_back(index, groups, due, failures=3)
    assert schedule.next_due() == 90_000
    index, groups = schedule.take(90_000)
    schedule.put_back(index, groups, 90_000, failures=0)
    assert schedule.next_due() == 105_000


def test_a_postponed_device_comes_back_on_its_grid() -> None:
    schedule = LineSchedule([spread(0, 1, PERIODS)], now_ms=0)
    index, _ = schedule.take(15_000)
    schedule.postpone(index, 61_000)
    assert schedule.next_due() == 75_000
