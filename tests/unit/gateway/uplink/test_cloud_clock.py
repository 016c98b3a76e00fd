"""The time by the cloud: a wrong clock keeps no barrier closed, and nobody makes it believe a time that was not."""

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import WIRE_VERSION, codec
from gateway.contract.messages import CloudTime
from gateway.contract.signing import signed
from gateway.uplink.cloud_clock import CloudClock
from tests.signing import public_key, signer

NOW = 1_764_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)


@dataclass
class World:
    """True time passes; the wall clock here is `ahead` of it. Milliseconds."""

    ahead: int = 0
    now: int = NOW
    sure: bool = True
    clock: CloudClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = CloudClock(
            "demo", "gw-1", public_key(KEY), lambda: self.now + self.ahead, lambda: self.sure,
            lambda: (self.now - NOW + 7 * DAY) * 1_000_000,
        )  # fmt: skip

    def answer(self, challenge: str, key: Ed25519PrivateKey = KEY, **fields: Any) -> bytes:
        """What the cloud says now."""
        bare = CloudTime(WIRE_VERSION, "demo", "gw-1", challenge, self.now, "k1")
        return codec.encode_time(signed(msgspec.structs.replace(bare, **fields), signer(key)))

    def measure(self, before_ms: int = 20, after_ms: int = 20) -> None:
        """A health report and its answer."""
        challenge = self.clock.ask()
        self.now += before_ms
        payload = self.answer(challenge)
        self.now += after_ms
        self.clock.hear(payload)


@pytest.mark.parametrize("ahead", [-3 * DAY, -10 * MINUTE, 10 * MINUTE, 3 * DAY])
def test_a_clock_that_is_wrong_is_held_to_what_the_cloud_says(ahead: int) -> None:
    world = World(ahead)
    assert (world.clock.now_ms(), world.clock.ahead_ms) == (NOW + ahead, None)
    world.measure()
    assert abs(world.clock.now_ms() - world.now) <= 20
    told = world.clock.ahead_ms
    assert told is not None
    assert abs(told - ahead) <= 20
    world.now += HOUR
    assert abs(world.clock.now_ms() - world.now) <= 20 + HOUR // 5_000


@pytest.mark.parametrize("monotonic_in_an_hour_ms", [0, HOUR * 13 // 12, HOUR * 11 // 12])
def test_neither_sleep_nor_a_clock_that_is_mended_gently_makes_an_order_young(
    monkeypatch: pytest.MonkeyPatch, monotonic_in_an_hour_ms: int
) -> None:
    """Suspended for an hour, or with a monotonic clock that runs a twelfth wrong: the wall clock is right again."""
    shown = dict.fromkeys((time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW, time.CLOCK_BOOTTIME), DAY)
    monkeypatch.setattr(time, "monotonic_ns", lambda: shown[time.CLOCK_MONOTONIC] * 1_000_000)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda which: shown[which] * 1_000_000)
    world = World()
    world.clock = CloudClock("demo", "gw-1", public_key(KEY), lambda: world.now, lambda: True)
    world.measure(0, 0)
    world.now += HOUR
    shown[time.CLOCK_MONOTONIC] += monotonic_in_an_hour_ms
    shown[time.CLOCK_BOOTTIME] += monotonic_in_an_hour_ms or HOUR
    shown[time.CLOCK_MONOTONIC_RAW] += HOUR if monotonic_in_an_hour_ms else 0
    assert (world.clock.now_ms(), world.clock.ahead_ms) == (world.now, 0)


def test_a_clock_that_is_right_is_left_alone() -> None:
    world = World()
    world.measure()
    assert (world.clock.now_ms(), world.clock.ahead_ms) == (world.now, 0)
    world.now += 7 * DAY
    assert world.clock.now_ms() == world.now


def test_a_clock_that_was_set_back_is_sure_once_the_cloud_told_the_time() -> None:
    world = World(sure=False)
    assert not world.clock.is_sure()
    world.measure()
    assert world.clock.is_sure()


@pytest.mark.parametrize(
    "fields", [{"gateway": "gw-2"}, {"project": "other"}, {"challenge": "0" * 32}, {"key_id": "k2"}, {"version": 2}]
)
def test_what_is_not_the_clouds_answer_to_us_is_nothing(fields: dict[str, Any]) -> None:
    world = World(10 * MINUTE)
    challenge = world.clock.ask()
    world.clock.hear(world.answer(**{"challenge": challenge, **fields}))
    world.clock.hear(world.answer(challenge, OTHER))
    world.clock.hear(world.answer(challenge)[:-8])
    world.clock.hear(b"nonsense")
    assert world.clock.ahead_ms is None
    world.clock.hear(world.answer(challenge))
    assert world.clock.ahead_ms is not None, "none of it kept the true answer from being heard"


def test_what_a_key_proved_that_is_trusted_no_more_is_proven_no_more() -> None:
    """Whoever has it, and the broker, would keep the time that he said for as long as he lets no answer through."""
    world = World()
    world.measure()
    world.clock.trust(public_key(KEY))
    assert world.clock.ahead_ms is not None
    world.clock.trust(public_key(OTHER))
    assert world.clock.ahead_ms is None


def test_an_answer_that_is_told_again_changes_nothing() -> None:
    """Otherwise whoever owns the broker turns time back, and an order that he held back is young again."""
    world = World()
    challenge = world.clock.ask()
    payload = world.answer(challenge)
    world.clock.hear(payload)
    world.now += HOUR
    world.measure()
    world.clock.hear(payload)
    assert world.clock.now_ms() == world.now


def test_an_answer_that_was_held_back_makes_no_order_young() -> None:
    world = World()
    world.measure(0, HOUR)
    assert world.clock.now_ms() == world.now
    world = World(10 * MINUTE)
    world.measure(0, HOUR)
    assert world.clock.now_ms() >= world.now


def test_a_report_that_waited_long_for_a_connection_does_not_spoil_what_is_known() -> None:
    world = World(10 * MINUTE)
    waiting = world.clock.ask()
    world.now += HOUR
    world.measure()
    world.clock.hear(world.answer(waiting))
    assert abs(world.clock.now_ms() - world.now) <= 20


def test_a_cloud_whose_own_clock_was_mended_is_followed() -> None:
    world = World()
    world.measure()
    challenge = world.clock.ask()
    world.clock.hear(world.answer(challenge, at=world.now + HOUR))
    assert world.clock.now_ms() == world.now + HOUR


@given(
    st.integers(-DAY, DAY),
    st.lists(st.tuples(st.integers(0, 3 * HOUR), st.integers(0, 3 * HOUR), st.integers(0, HOUR)), max_size=6),
)
def test_whatever_is_held_back_no_time_is_believed_that_could_not_be(
    ahead: int, turns: list[tuple[int, int, int]]
) -> None:
    """True time lies between the bounds, so the time that is used is never further from it than the wall clock."""
    world = World(ahead)
    for before, after, pause in turns:
        world.measure(before, after)
        world.now += pause
        assert min(0, ahead) <= world.clock.now_ms() - world.now <= max(0, ahead)
