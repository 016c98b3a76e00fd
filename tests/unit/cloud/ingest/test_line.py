"""Who is stored next: nobody at an exit waits behind what can wait, nothing is lost, and nothing waits for ever."""

import asyncio
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.line import Line
from cloud.ingest.messages import Incoming, Passages, Refused, Sender
from gateway.contract.messages import Outcome, Passage
from gateway.contract.topics import Up, UpAddress

LINGER_S, AT_ONCE = 0.04, 5


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _told(*passages: Passage, gateway: str = "gw") -> Incoming:
    address = UpAddress("p", gateway, Up.PASSAGES)
    return Incoming("t", b"", address, Sender("p", gateway, "e"), 1, 0, 0, Passages(passages))


def _passage(lane: str, outcome: Outcome = Outcome.ARRIVED, direction: str = "exit") -> Passage:
    return Passage(str(uuid.uuid4()), lane, "京A12345", 0, outcome, direction, "small")


def _broken() -> Refused:
    return Refused("t", b"", "bad", "", None, None, 0)


def _line(clock: Clock, *messages: Incoming | Refused) -> Line:
    line = Line(100, AT_ONCE, LINGER_S, clock)
    for message in messages:
        line.put(message)
    return line


async def _next(line: Line) -> Sequence[Incoming | Refused]:
    async with asyncio.timeout(60):
        return await line.next_group()


async def test_a_vehicle_at_an_exit_goes_before_what_came_earlier() -> None:
    others: list[Incoming | Refused] = [
        _broken(),
        _told(_passage("in", direction="entry")),
        _told(_passage("out", Outcome.PASSED)),
    ]
    leaving = _told(_passage("other-out"))
    line = _line(Clock(), *others, leaving)
    assert await _next(line) == [leaving]
    line.put(_broken())
    assert line.unanswered == 5


async def test_all_that_was_told_of_its_lane_goes_with_it_in_its_order() -> None:
    before, arrived = _told(_passage("out", Outcome.PASSED)), _told(_passage("out"))
    elsewhere = _told(_passage("out", Outcome.PASSED), gateway="another")
    after = _told(_passage("out", Outcome.PASSED), _passage("in", Outcome.PASSED, "entry"))
    line = _line(Clock(), before, elsewhere, arrived, after)
    assert await _next(line) == [before, arrived, after]


async def test_what_can_wait_waits_for_those_at_exits_no_longer_than_its_patience() -> None:
    clock = Clock()
    patient = _broken()
    line = _line(clock, patient)
    for _ in range(4):
        arrived = _told(_passage("out"))
        line.put(arrived)
        assert await _next(line) == [arrived]
        clock.now += 0.05
    last = _told(_passage("out"))
    line.put(last)
    assert await _next(line) == [last, patient]


async def test_few_messages_wait_for_more_but_not_for_long() -> None:
    line = Line(100, AT_ONCE, LINGER_S)
    first, second = _broken(), _broken()
    line.put(first)
    waiting = asyncio.create_task(_next(line))
    await asyncio.sleep(0)
    line.put(second)
    assert await waiting == [first, second]


async def test_where_exits_are_busy_what_can_wait_gathers_for_longer() -> None:
    line = Line(100, AT_ONCE, linger_s=0)
    arrived, first, second = _told(_passage("out")), _broken(), _broken()
    line.put(arrived)
    assert await _next(line) == [arrived]
    line.put(first)
    waiting = asyncio.create_task(_next(line))
    await asyncio.sleep(0)
    line.put(second)
    assert await waiting == [first, second]


async def test_a_second_after_the_last_vehicle_nothing_waits_for_longer() -> None:
    clock = Clock()
    line = Line(100, AT_ONCE, 0, clock)
    arrived, later = _told(_passage("out")), _broken()
    line.put(arrived)
    assert await _next(line) == [arrived]
    clock.now = 1
    line.put(later)
    assert await _next(line) == [later]


async def test_a_vehicle_at_an_exit_ends_the_wait_for_more() -> None:
    line = Line(100, AT_ONCE, linger_s=3600)
    line.put(_broken())
    waiting = asyncio.create_task(_next(line))
    await asyncio.sleep(0)
    arrived = _told(_passage("out"))
    line.put(arrived)
    assert await waiting == [arrived]


async def test_so_many_as_are_stored_at_once_end_the_wait_for_more() -> None:
    line = Line(100, AT_ONCE, linger_s=3600)
    waiting = asyncio.create_task(_next(line))
    messages = [_broken() for _ in range(AT_ONCE + 1)]
    for message in messages:
        await asyncio.sleep(0)
        line.put(message)
    assert await waiting == messages[:AT_ONCE]


async def test_a_line_is_full_when_it_is_as_long_as_it_may_be() -> None:
    line = Line(2, AT_ONCE, LINGER_S, Clock())
    line.put(_told(_passage("out")))
    assert not line.full
    line.put(_told(_passage("out")))
    assert line.full
    await _next(line)
    assert not line.full


async def test_it_is_told_how_many_are_unanswered_and_for_how_long_the_oldest_waits() -> None:
    clock = Clock()
    line = _line(clock, _broken())
    clock.now = 0.1
    line.put(_told(_passage("out")))
    await _next(line)
    assert (line.unanswered, line.longest_wait_s) == (2, 0.1)
    line.answered()
    clock.now = 3
    assert (line.unanswered, line.longest_wait_s) == (1, 3)
    await _next(line)
    assert (line.unanswered, line.longest_wait_s) == (1, 3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await line.all_answered()
    line.answered()
    async with asyncio.timeout(60):
        await line.all_answered()
    assert (line.unanswered, line.longest_wait_s) == (0, 0)


_ROUND = st.lists(
    st.one_of(
        st.just(None),
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(Outcome), st.sampled_from(["entry", "exit"])),
    ),
    max_size=6,
)


@given(st.lists(_ROUND, max_size=12), st.floats(0.05, 0.3))
def test_everything_comes_out_once_and_what_is_told_of_a_lane_in_its_order(
    rounds: list[list[tuple[str, Outcome, str] | None]], pause_s: float
) -> None:
    put: list[Incoming | Refused] = []
    out: list[Incoming | Refused] = []

    async def run() -> None:
        clock = Clock()
        line = Line(1_000, AT_ONCE, 0, clock)
        for some in rounds:
            for one in some:
                put.append(_broken() if one is None else _told(_passage(*one)))
                line.put(put[-1])
            clock.now += pause_s
            if line.unanswered > len(out):
                out.extend(await _next(line))
        clock.now += 2
        while line.unanswered > len(out):
            group = await _next(line)
            assert 0 < len(group) <= AT_ONCE
            out.extend(group)

    asyncio.run(run())
    assert sorted(map(id, out)) == sorted(map(id, put))
    for lane in "abc":
        told = [one for one in put if _lane(one) == lane]
        assert [one for one in out if _lane(one) == lane] == told


def _lane(message: Incoming | Refused) -> str | None:
    return message.content.items[0].device if isinstance(message, Incoming) else None  # type: ignore[union-attr]
