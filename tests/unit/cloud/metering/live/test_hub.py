"""Packed columns, positions, and what a stream shows and gives up, against simple references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.live.batches import News, Points, is_position, pack, unpack
from cloud.metering.live.hub import MOST_IN_EVENT, Stream, Watched

_NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-300, 300))


def _ints(numbers: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(numbers, np.int64)


@given(st.lists(st.tuples(*[_NUMBERS] * 5), min_size=1, max_size=20))
def test_what_is_packed_is_unpacked(rows: list[tuple[int, ...]]) -> None:
    columns = [_ints(list(column)) for column in zip(*rows, strict=True)]
    found = unpack(pack(columns), len(rows))
    assert [column.tolist() for column in found] == [column.tolist() for column in columns]


def test_like_numbers_take_few_bytes() -> None:
    hours = np.arange(5_000, dtype=np.int64) * 1_000
    columns = [hours % 200 + 9_000_000, hours * 0 + 1, hours + 1_767_225_600_000, hours * 7, hours * 0]
    assert len(pack(columns)) <= 5_000 * 12 + 80


@pytest.mark.parametrize("text", ["816:820:", "816:820:817", "816:820:816,819", "5:5:"])
def test_what_the_database_writes_is_a_position(text: str) -> None:
    assert is_position(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "5", "5:4:", "0:4:", "816:820:820", "816:820:815", "816:820:819,817", "816:820:817,817", "a:b:c",
        "1:2:3; --", "1:99999999999999999999:", "1:9223372036854775808:", "816:820:817,", "1:5000:" + "2," * 3000 + "3",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert not is_position(text)


_READING = st.tuples(st.integers(1, 5), st.integers(0, 20))
_WINDOW = st.tuples(st.integers(1, 5), st.integers(0, 20), st.integers(0, 20))


def _points(readings: list[tuple[int, int]], project_id: int = 1) -> Points:
    nothing = np.zeros(len(readings), np.int64)
    meters, times = (_ints([one[nth] for one in readings]) for nth in range(2))
    return Points(project_id, meters, nothing, times, nothing, nothing)


@given(st.lists(_READING, max_size=30), st.lists(_WINDOW, max_size=8))
def test_exactly_what_lies_within_a_window_is_visible(
    readings: list[tuple[int, int]], windows: list[tuple[int, int, int]]
) -> None:
    windows.sort()
    watched = Watched(1, *(_ints([one[nth] for one in windows]) for nth in range(3)))
    shown = watched.visible(_points(readings))
    expected = [(m, t) for m, t in readings if any(w == m and low <= t <= high for w, low, high in windows)]
    assert list(zip(shown.meters.tolist(), shown.taken_ms.tolist(), strict=True)) == expected
    assert len(watched.visible(_points(readings, project_id=2))) == 0


async def test_only_the_last_event_of_a_step_can_be_resumed_at() -> None:
    everything = Watched(1, _ints([1]), _ints([0]), _ints([10**9]))
    stream = Stream(1, everything, limit=10_000)
    stream.offer(News("9:9:", [_points([(1, n) for n in range(MOST_IN_EVENT + 1)]), _points([(1, 0)])]))
    events = [await stream.next(0) for _ in range(4)]
    assert [None if one is None else (one.position, len(one.points or ())) for one in events] == [
        (None, MOST_IN_EVENT), (None, 1), ("9:9:", 1), None,
    ]  # fmt: skip


async def test_what_is_too_much_is_given_up_and_said() -> None:
    everything = Watched(1, _ints([1]), _ints([0]), _ints([10**9]))
    stream = Stream(1, everything, limit=3)
    stream.offer(News("5:5:", [_points([(1, 1), (1, 2)])]))
    stream.offer(News("6:6:", [_points([(1, 3), (1, 4)])]))
    stream.offer(News("7:7:", [_points([(1, 5)])]))
    first, second = await stream.next(0), await stream.next(0)
    assert first is not None
    assert second is not None
    assert (first.lost, first.position) == ("slow", "6:6:")
    assert (second.position, (second.points or _points([])).taken_ms.tolist()) == ("7:7:", [5])
