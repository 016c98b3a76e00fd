"""The clock of readings never goes back."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.limits import MIN_TIME_MS
from gateway.polling.clock import EARLIEST_MS, Clock


class Times:
    def __init__(self) -> None:
        self.wall = 1_790_000_000_000_000_000
        self.monotonic = 5_000_000_000

    def pass_ms(self, milliseconds: int) -> None:
        self.wall += milliseconds * 1_000_000
        self.monotonic += milliseconds * 1_000_000


def test_follows_monotonic_time() -> None:
    times = Times()
    clock = Clock(lambda: times.wall, lambda: times.monotonic)
    start = clock.now_ms()
    times.pass_ms(1_500)
    assert clock.now_ms() == start + 1_500
    assert not clock.estimated


def test_what_is_of_now_is_stamped_by_the_wall_unless_that_was_never_set(tmp_path: Path) -> None:
    times = Times()
    file = tmp_path / "clock"
    clock = Clock(lambda: times.wall, lambda: times.monotonic, kept_in=file)
    kept = clock.now_ms()
    times.wall -= 3_600_000_000_000
    assert clock.wall_ms() == kept - 3_600_000, "no hour ahead of a clock that was mended"
    times.wall = 5_000_000_000
    again = Clock(lambda: times.wall, lambda: times.monotonic, kept_in=file)
    assert kept <= again.wall_ms() == again.now_ms()


def test_a_step_back_of_the_wall_is_not_followed_but_told() -> None:
    times = Times()
    clock = Clock(lambda: times.wall, lambda: times.monotonic)
    start = clock.now_ms()
    times.wall -= 3_600_000_000_000
    times.pass_ms(10)
    assert clock.now_ms() == start + 10
    assert clock.estimated
    times.wall += 3_600_000_000_000
    assert clock.now_ms() == start + 10
    assert not clock.estimated


def test_a_step_forward_is_followed() -> None:
    times = Times()
    clock = Clock(lambda: times.wall, lambda: times.monotonic)
    start = clock.now_ms()
    times.wall += 3_600_000_000_000
    assert clock.now_ms() == start + 3_600_000
    assert not clock.estimated


HOUR, DAY = 3_600_000, 86_400_000


class Kept:
    """Starts gateways one after the other on one state directory."""

    def __init__(self, folder: Path) -> None:
        self.times = Times()
        self.file = folder / "clock"

    def start(self) -> Clock:
        return Clock(lambda: self.times.wall, lambda: self.times.monotonic, self.file)


def test_a_restart_goes_on_by_the_wall(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    last = kept.start().now_ms()
    kept.times.pass_ms(3_000)
    clock = kept.start()
    assert clock.now_ms() == last + 3_000
    assert not clock.estimated


@pytest.mark.parametrize("back", [5_000, HOUR, DAY - 60_000])
def test_a_restart_after_a_step_back_does_not_live_through_the_same_time_again(tmp_path: Path, back: int) -> None:
    kept = Kept(tmp_path)
    clock = kept.start()
    used = 0
    for _ in range(100):
        kept.times.pass_ms(1_000)
        used = clock.now_ms()
    kept.times.pass_ms(-10_000 - back)
    kept.times.monotonic = 7
    clock = kept.start()
    assert clock.now_ms() > used
    assert clock.estimated
    assert clock.knows


@pytest.mark.parametrize("unset", [0, 946_684_800_000, EARLIEST_MS - 1])
def test_a_start_before_the_clock_is_set_goes_on_from_the_time_kept(tmp_path: Path, unset: int) -> None:
    kept = Kept(tmp_path)
    used = kept.start().now_ms()
    right = kept.times.wall
    kept.times.wall, kept.times.monotonic = unset * 1_000_000, 5
    clock = kept.start()
    assert used < clock.now_ms() <= used + 10_000
    assert clock.knows
    assert clock.estimated
    kept.times.wall = right + 60_000_000_000
    assert clock.now_ms() == used + 60_000
    assert not clock.estimated


def test_a_new_gateway_knows_no_time_until_its_clock_is_set(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    right, kept.times.wall = kept.times.wall, 0
    clock = kept.start()
    assert clock.now_ms() >= MIN_TIME_MS
    assert not clock.knows
    assert not kept.file.exists()
    kept.times.wall = right
    assert clock.now_ms() == right // 1_000_000
    assert clock.knows


def test_a_time_that_was_wrong_by_years_is_given_up(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    clock = kept.start()
    kept.times.pass_ms(1_000)
    before = clock.now_ms()
    right = kept.times.wall
    kept.times.wall = 4_000_000_000_000_000_000
    assert clock.now_ms() == 4_000_000_000_000
    kept.times.wall = right - 2 * DAY * 1_000_000
    assert clock.now_ms() >= 4_000_000_000_000, "that time was lived through already"
    kept.times.wall = right + 5_000_000_000
    assert clock.now_ms() == before + 5_000
    assert not clock.estimated
    kept.times.wall = 4_000_000_000_000_000_000
    assert clock.now_ms() == 4_000_000_000_000
    kept.times.wall = right + 9_000_000_000
    clock = kept.start()
    assert clock.now_ms() == before + 9_000


def test_a_file_that_is_none_costs_only_the_memory(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.file.write_text("yesterday")
    assert kept.start().now_ms() == kept.times.wall // 1_000_000
    kept.file.unlink()
    kept.file.mkdir()
    clock = kept.start()
    assert clock.now_ms() == kept.times.wall // 1_000_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pass", "forward", "back", "restart"]),
            st.integers(1, 12 * HOUR),
        ),
        max_size=30,
    )
)
def test_whatever_is_done_to_the_wall_clock_no_time_comes_twice(steps: list[tuple[str, int]]) -> None:
    """By less than a day altogether: of a clock that was wrong for longer nothing is believed."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(Path(folder))
        clock, used, ahead = kept.start(), 0, 0
        for what, by in steps:
            # A wall clock that is less than that behind, by one step back or by several there and back, and a restart
            # in the same moments cannot be told from a restart alone.
            step = -(-by // 20_000) * 20_000
            if what == "pass":
                kept.times.pass_ms(by)
            elif what == "forward" and ahead + step < DAY // 2:
                ahead += step
                kept.times.wall += step * 1_000_000
            elif what == "back" and ahead - step > -DAY // 2:
                ahead -= step
                kept.times.wall -= step * 1_000_000
            elif what == "restart":
                kept.times.monotonic = 1
                clock = kept.start()
            now = clock.now_ms()
            assert now >= used
            assert clock.estimated == (kept.times.wall // 1_000_000 < now - 2_000)
            used = now


def test_a_wall_clock_is_doubted_when_it_was_set_back_or_never_set(tmp_path: Path) -> None:
    times = Times()
    clock = Clock(lambda: times.wall, lambda: times.monotonic, tmp_path / "clock")
    assert clock.wall_is_sure()
    times.wall -= 59_000_000_000
    assert clock.wall_is_sure()
    times.wall -= 2_000_000_000
    assert not clock.wall_is_sure()
    times.wall += 60_000_000_000
    again = Clock(lambda: times.wall, lambda: times.monotonic, tmp_path / "clock")
    assert again.estimated, "it begins after what was kept"
    assert again.wall_is_sure(), "which is no reason to doubt the wall"
    times.wall = 86_400_000_000_000
    assert not Clock(lambda: times.wall, lambda: times.monotonic).wall_is_sure()


FAR = 4_000_000_000_000
"""2096."""


def test_a_start_in_the_far_future_is_given_up_when_the_wall_clock_is_set(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    used = kept.start().now_ms()
    kept.times.pass_ms(60_000)
    right, kept.times.wall = kept.times.wall, FAR * 1_000_000
    clock = kept.start()
    assert clock.now_ms() == FAR
    kept.times.wall = right - 120_000_000_000
    assert clock.now_ms() == FAR, "that time was lived through by the run before"
    kept.times.wall = right
    assert clock.now_ms() == used + 60_000
    assert not clock.estimated


def test_what_is_long_ago_is_judged_by_a_time_that_has_come(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    clock = kept.start()
    used = clock.now_ms()
    assert clock.reached_ms() == used
    for days in (1, 29):
        kept.times.pass_ms(days * DAY)
        clock = kept.start()
        used += days * DAY
        assert clock.reached_ms() == clock.now_ms() == used
    kept.times.wall = FAR * 1_000_000
    clock = kept.start()
    assert clock.reached_ms() == used
    kept.times.pass_ms(5_000)
    assert clock.reached_ms() == used + 5_000
    kept.times.wall = (used + 3_000) * 1_000_000
    assert clock.reached_ms() <= used + 5_000
