"""Which batches are under way, and when each is due again."""

import random

import pytest

from gateway.contract.topics import Up
from gateway.outbox import Row
from gateway.uplink.reconnect import Backoff
from gateway.uplink.window import Window


def row(seq: int) -> Row:
    return Row(seq, Up.READINGS, 1_764_000_000_000, b"[]")


def test_a_window_holds_no_more_than_its_size() -> None:
    window = Window(2, 10.0)
    window.send(row(1), 0.0)
    window.send(row(2), 0.0)
    assert window.free == 0
    with pytest.raises(ValueError, match="full"):
        window.send(row(3), 0.0)
    assert window.settle([1, 1, 99]) == 1
    assert (window.free, len(window)) == (1, 1)


def test_an_unanswered_batch_is_due_again_after_ever_longer_waits() -> None:
    window = Window(4, 10.0)
    window.send(row(1), 100.0)
    sent_again = []
    now = 100.0
    for _ in range(7):
        due = window.next_due()
        assert due is not None
        assert window.due(due - 0.001) == []
        assert [r.seq for r in window.due(due)] == [1]
        sent_again.append(due - now)
        now = due
    assert sent_again == [10, 20, 40, 80, 160, 160, 160]
    window.settle([1])
    assert window.next_due() is None


def test_only_what_is_due_is_sent_again() -> None:
    window = Window(4, 10.0)
    window.send(row(1), 0.0)
    window.send(row(2), 5.0)
    assert [r.seq for r in window.due(10.0)] == [1]
    assert window.next_due() == 15.0


def test_reconnecting_waits_ever_longer_with_jitter_and_starts_over_after_success() -> None:
    backoff = Backoff(0.5, 8.0, random.Random(1))
    waits = [backoff.next_wait() for _ in range(50)]
    for wait, full in zip(waits, [0.5, 1, 2, 4, *[8.0] * 46], strict=True):
        assert full / 2 <= wait <= full
    assert len(set(waits)) == len(waits)
    backoff.succeeded()
    assert backoff.next_wait() <= 0.5
