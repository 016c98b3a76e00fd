"""The clock of readings never goes back."""

from gateway.polling.clock import Clock


class Times:
    def __init__(self) -> None:
        self.wall = 1_700_000_000_000_000_000
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
