"""Devices are due on a wall-clock grid, spread; dead ones cost little and are found again; a day begins with bills."""

import random
from collections import Counter
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.base import Group
from gateway.polling.allowance import SHARE, Allowance
from gateway.polling.midnight import midnights
from gateway.polling.schedule import Beat, LineSchedule, Visit, spread
from tests.unit.gateway.polling.simulation import START, Line, no_midnight

PERIODS = {Group.BILLING: 60_000, Group.INSTANT: 15_000}
BOTH, INSTANT = frozenset(Group), frozenset({Group.INSTANT})
MINUTE, HOUR = 60_000, 3_600_000


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


def taken(schedule: LineSchedule, now: int) -> Visit:
    visit = schedule.take(now)
    assert visit is not None
    return visit


def test_a_visit_takes_all_groups_that_are_due() -> None:
    schedule = LineSchedule([spread(0, 1, PERIODS)], 1, no_midnight)
    now, seen = 1, []
    for _ in range(8):
        wait = schedule.wait_ms(now)
        assert wait
        assert schedule.take(now + wait - 1) is None
        now += wait
        visit = taken(schedule, now)
        seen.append((now, visit.groups))
        schedule.answered(visit, now)
    assert seen == [(15_000 * n, BOTH if n % 4 == 0 else INSTANT) for n in range(1, 9)]


def test_missed_slots_are_skipped_not_queued() -> None:
    schedule = LineSchedule([{Group.INSTANT: Beat(1_000, 0)}], 0, no_midnight)
    schedule.answered(taken(schedule, 10_500), 10_500)
    assert schedule.wait_ms(10_500) == 500


def test_a_line_without_devices_waits_for_ever() -> None:
    assert LineSchedule([], 0, no_midnight).wait_ms(5) is None


def test_what_the_line_did_not_allow_is_no_fault_of_the_device() -> None:
    schedule = LineSchedule([spread(0, 1, PERIODS)], 0, no_midnight)
    schedule.missed(taken(schedule, 15_000), 15_001)
    assert schedule.wait_ms(15_001) == 14_999
    visit = taken(schedule, 30_000)
    schedule.release(visit)
    assert schedule.wait_ms(30_000) == 0
    assert taken(schedule, 30_000) == visit


def test_one_lost_frame_costs_no_reading() -> None:
    lost = START + 10 * MINUTE
    frames = {(index, lost + 15_000 * index) for index in range(20)}

    def answers(index: int, time: int) -> bool:
        return not any(index == one and at <= time < at + 1_500 for one, at in frames)

    line = Line(20, answers).run(20 * MINUTE)
    failed = [one for one in line.seen if not one.answered]
    assert failed
    for one in failed:
        again = next(seen for seen in line.seen if seen.device == one.device and seen.at_ms > one.at_ms)
        assert again.answered
        assert again.groups >= one.groups
        assert again.at_ms - one.at_ms < 5_000
    for index in range(20):
        at = line.answered_by(index)
        assert max(after - before for before, after in pairwise(at)) < 15_000 + 5_000


@pytest.mark.parametrize(
    ("count", "dead", "timeout_ms"), [(20, 2, 1_000), (40, 4, 1_000), (40, 20, 500), (10, 1, 3_000)]
)
def test_dead_devices_take_their_share_and_no_more(count: int, dead: int, timeout_ms: int) -> None:
    line = Line(count, lambda index, _: index >= dead, timeout_ms=timeout_ms).run(2 * HOUR)
    settled = START + 2 * MINUTE
    assert line.share_failing(settled) <= SHARE + (Allowance(0, 15_000).most_ms + timeout_ms) / (2 * HOUR - 2 * MINUTE)
    alone = Line(count, lambda index, _: index >= dead, timeout_ms=0).run(2 * HOUR)
    healthy = sum(one.answered for one in line.seen) / sum(one.answered for one in alone.seen)
    assert healthy >= 0.99


def test_a_full_line_serves_the_living_and_still_looks_for_the_dead() -> None:
    """More to read than time: the living share 95 % of it in turn."""
    line = Line(40, lambda index, _: index >= 4, trip_ms=500).run(HOUR)
    assert line.share_failing(START + 2 * MINUTE) == pytest.approx(SHARE, abs=0.005)
    visits = Counter(one.device for one in line.seen if one.answered)
    assert min(visits.values()) >= 0.95 * max(visits.values())
    assert sum(visits.values()) >= 0.93 * HOUR / 500
    assert all(any(one.device == index for one in line.seen[200:]) for index in range(4))


@given(st.integers(0, 2**32), st.sampled_from([(10, 1, 700), (10, 2, 300), (10, 4, 150)]))
def test_few_dead_ones_are_found_within_a_period(seed: int, site: tuple[int, int, int]) -> None:
    """Where the allowance of a period pays for one try of each: dead × timeout ≤ 5 % of the period."""
    count, dead, timeout_ms = site
    back = START + 5 * MINUTE + random.Random(seed).randrange(5 * MINUTE)
    line = Line(count, lambda index, time: index >= dead or (index == 0 and time >= back), timeout_ms=timeout_ms)
    line.run(back - START + MINUTE)
    assert line.answered_by(0, back)[0] - back <= 15_000 + dead * timeout_ms + 1_000


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_many_dead_ones_are_found_as_fast_as_their_share_allows(seed: int, dead: int) -> None:
    """In turn: dead × timeout / 5 %."""
    back = START + 5 * MINUTE + random.Random(seed).randrange(5 * MINUTE)
    line = Line(dead + 3, lambda index, time: index >= dead or (index == 0 and time >= back), timeout_ms=200)
    line.run(back - START + 3 * MINUTE)
    assert line.answered_by(0, back)[0] - back <= 16_000 + dead * 200 / SHARE


@pytest.mark.parametrize("minutes", [1, 5, 20])
def test_who_fell_silent_lately_is_tried_more_often_than_who_is_gone_for_good(minutes: int) -> None:
    """It is found after a fraction of the time that it was away; in turn with 29 others it could be ten minutes."""
    fell, back = START + 2 * HOUR, START + 2 * HOUR + minutes * MINUTE

    def answers(index: int, time: int) -> bool:
        return index >= 30 or (index == 7 and not fell <= time < back)

    line = Line(40, answers).run(back - START + 15 * MINUTE)
    assert line.answered_by(7, back)[0] - back < 40_000 + 0.35 * minutes * MINUTE


@pytest.mark.parametrize("length_ms", [20_000, 45_000, 10 * MINUTE, 3 * HOUR])
@pytest.mark.parametrize("cut", [40, 20])
def test_a_line_that_was_cut_is_whole_within_a_period_or_so(length_ms: int, cut: int) -> None:
    """All of it or half: one that answers again brings those back that fell silent with it."""
    gone, back = START + 30 * MINUTE, START + 30 * MINUTE + length_ms
    line = Line(40, lambda index, time: index >= cut or not gone <= time < back).run(back - START + 10 * MINUTE)
    found = min(line.answered_by(index, back)[0] for index in range(cut)) - back
    assert found <= (3_000 if cut == 40 else 25_000)
    assert max(line.answered_by(index, back)[0] for index in range(cut)) - back <= found + 17_000


def test_a_device_that_answered_a_command_is_polled_again() -> None:
    schedule = LineSchedule([spread(0, 2, PERIODS), spread(1, 2, PERIODS)], 0, no_midnight)
    now = 0
    for _ in range(4):
        now += schedule.wait_ms(now) or 0
        while (visit := schedule.take(now)) is not None:
            if visit.device:
                schedule.answered(visit, now)
            else:
                schedule.failed(visit, now, 60_000)
    assert schedule.failures(0)
    schedule.heard(0, now)
    assert schedule.failures(0) == 0
    assert taken(schedule, now + 15_000) is not None


SHANGHAI = midnights(ZoneInfo("Asia/Shanghai"))


def test_the_day_begins_with_the_billing_registers_of_all() -> None:
    utc = midnights(ZoneInfo("UTC"))
    midnight = utc(START)
    line = Line(40, lambda index, _: index != 3, midnight=utc).run(midnight - START + 5 * MINUTE)
    first = [one for one in line.seen if one.at_ms >= midnight][:39]
    assert {one.device for one in first} == set(range(40)) - {3}
    assert all(Group.BILLING in one.groups for one in first)
    assert first[0].at_ms - midnight < 1_000  # a visit that was running
    assert first[-1].at_ms - midnight < 1_000 + 39 * 50


def test_a_device_that_is_taken_at_midnight_is_read_when_it_comes_back() -> None:
    schedule = LineSchedule(
        [spread(0, 1, {Group.BILLING: HOUR, Group.INSTANT: 15_000})], 0, lambda now: 20_000 if now < 20_000 else 10**9
    )
    visit = taken(schedule, 15_000)
    assert visit.groups == INSTANT
    assert schedule.take(20_000) is None
    schedule.release(visit)
    again = taken(schedule, 20_001)
    assert again.groups == BOTH


def test_a_freeze_that_the_line_did_not_allow_is_made_up_for() -> None:
    schedule = LineSchedule([spread(0, 1, PERIODS)], 0, lambda now: 5_000 if now < 5_000 else 10**9)
    visit = taken(schedule, 5_000)
    assert visit.freeze
    schedule.missed(visit, 5_100)
    assert taken(schedule, 5_100).freeze


@given(
    st.lists(st.tuples(st.integers(0, 5 * MINUTE), st.integers(1, 40 * 24 * HOUR)), max_size=4),
    st.integers(1, 20),
)
def test_a_clock_that_leaps_causes_neither_a_storm_nor_a_pause(leaps: list[tuple[int, int]], count: int) -> None:
    steps = sorted((START + at, by) for at, by in leaps)
    line = Line(count, lambda *_: True, midnight=SHANGHAI, clock_steps=steps).run(5 * MINUTE)
    midnights_passed = len(steps) + 2
    for index in range(count):
        at = [START, *line.answered_by(index), START + 5 * MINUTE]
        assert max(after - before for before, after in pairwise(at)) <= 15_000 + count * 50 * 2
        assert len(at) - 2 <= 5 * MINUTE / 15_000 + len(steps) + midnights_passed + 1


@given(
    st.integers(0, 2 * MINUTE),
    st.integers(2 * 24 * HOUR, 4_000 * 24 * HOUR),
    st.integers(1, 20),
    st.integers(0, 3),
)
def test_a_wrong_time_that_is_given_up_stops_no_line(at: int, back: int, count: int, dead: int) -> None:
    line = Line(count, lambda index, _: index >= dead, midnight=SHANGHAI, clock_steps=[(START + at, -back)])
    line.run(5 * MINUTE)
    for index in range(dead, count):
        answered = [START, *line.answered_by(index), START + 5 * MINUTE]
        assert max(after - before for before, after in pairwise(answered)) <= 2 * 15_000 + count * 50 * 2 + dead * 1_000
    for index in range(min(dead, count)):
        assert any(one.device == index and one.at_ms > START + at for one in line.seen), "it is still asked"


@pytest.mark.parametrize(
    ("zone", "before", "midnight"),
    [
        ("Asia/Shanghai", "2026-02-28T23:59:59+08:00", "2026-03-01T00:00:00+08:00"),
        ("Asia/Shanghai", "2026-03-01T00:00:00+08:00", "2026-03-02T00:00:00+08:00"),
        ("Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-30T00:00:00+02:00"),
        ("Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        # Clocks leap from 0 to 1 o'clock: the day begins at 1 o'clock.
        ("America/Santiago", "2025-09-06T12:00:00-04:00", "2025-09-07T01:00:00-03:00"),
        # From 24 back to 23 o'clock: the evening comes twice, the day begins once.
        ("America/Santiago", "2025-04-05T22:30:00-03:00", "2025-04-06T00:00:00-04:00"),
        ("America/Santiago", "2025-04-05T23:30:00-04:00", "2025-04-06T00:00:00-04:00"),
    ],
)
def test_when_a_day_begins(zone: str, before: str, midnight: str) -> None:
    after = midnights(ZoneInfo(zone))(int(datetime.fromisoformat(before).timestamp() * 1000))
    assert after == int(datetime.fromisoformat(midnight).timestamp() * 1000)


@given(
    st.integers(1_000_000_000_000, 2_000_000_000_000),
    st.sampled_from(["Asia/Shanghai", "America/Havana", "Asia/Beirut"]),
)
def test_midnight_is_ahead_and_no_more_than_a_long_day(now: int, name: str) -> None:
    zone = ZoneInfo(name)
    midnight = midnights(zone)(now)
    assert now < midnight <= now + 25 * HOUR + 1
    day = [datetime.fromtimestamp(time / 1000, zone).date() for time in (midnight - 1, midnight)]
    assert (day[1] - day[0]).days == 1
