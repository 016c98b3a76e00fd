"""The event loop is asked only for what does not come at once."""

import socket
from collections.abc import Generator
from typing import Any

import pytest
from psycopg.waiting import Ready, Wait

from cloud.kit.waiting import promptly


def _reading(steps: int) -> Generator[Wait, Ready | int, list[int]]:
    """A dialogue that sends once, then reads `steps` times; gives what it was told each time."""
    told: list[int] = [(yield Wait.W)]
    while len(told) <= steps:
        told += [(yield Wait.R)]
    return told


def _run(dialogue: Generator[Any, Any, list[int]]) -> tuple[list[int] | None, list[Wait]]:
    """What comes of it, and what it asked of the outside until then; None where it waits for that."""
    asked = []
    try:
        asked.append(next(dialogue))
    except StopIteration as done:
        return done.value, asked
    return None, asked


def test_what_has_come_is_not_asked_of_the_outside() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.send(b"an answer")
        assert _run(promptly(_reading(3), here.fileno())) == ([Ready.W, Ready.R, Ready.R, Ready.R], [])


def test_what_does_not_come_is_asked_of_the_outside_and_its_word_is_passed_on() -> None:
    here, there = socket.socketpair()
    with here, there:
        dialogue = promptly(_reading(1), here.fileno())
        assert _run(dialogue) == (None, [Wait.R])
        with pytest.raises(StopIteration) as done:
            dialogue.send(Ready.R)
        assert done.value.value == [Ready.W, Ready.R]


def test_of_a_lost_connection_the_error_is_read() -> None:
    here, there = socket.socketpair()
    with here:
        there.close()
        told, asked = _run(promptly(_reading(1), here.fileno()))
        assert asked == []
        assert told is not None
        assert told[1] & Ready.R
