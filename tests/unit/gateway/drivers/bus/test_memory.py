"""No answer is believed to be one to another request, whatever order, delay or number answers come in."""

import heapq
import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.drivers.bus.memory import AnswerMemory

LATE = 10
"""Nothing arrives later than this after its question."""
WAIT = 4
"""How long an answer is waited for."""

copies = st.lists(st.integers(1, LATE), max_size=3)
"""When after its question each copy of an answer arrives; one or none is the usual case."""
steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 6), copies, st.sampled_from(["value", "refusal"])),
    max_size=25,
)
"""(which request, which value its registers hold, pause before it, arrivals of its answer, kind of answer)"""


_A_LAG_THAT_GOES_ON = [
    (0, 0, 0, [1, 3], "value"),
    (0, 1, 1, [9], "value"),  # gets the copy of the first
    (0, 2, 6, [9], "value"),  # gets the answer to the second
    (1, 3, 4, [], "value"),  # must not get the answer to the third
]


@given(steps)
@example(_A_LAG_THAT_GOES_ON)
def test_a_believed_answer_belongs_to_its_request_and_is_no_older_than_agreed(
    asked: list[tuple[int, int, int, list[int], str]],
) -> None:
    memory = AnswerMemory()
    on_its_way: list[tuple[int, int, int, int, str]] = []
    """Heap of (arrives, order, request, value, kind)."""
    order = itertools.count()
    sent_at: dict[int, int] = {}
    now = 0
    for request, value, pause, arrivals, kind in asked:
        name = bytes([request])
        now = max(now + pause, int(memory.free_at("look", name)))
        while on_its_way and on_its_way[0][0] <= now:
            heapq.heappop(on_its_way)
        for delay in arrivals:
            number = next(order)
            sent_at[number] = now
            heapq.heappush(on_its_way, (now + delay, number, request, value, kind))
        until = now + LATE
        clear_at = now
        if not on_its_way or on_its_way[0][0] > now + WAIT:
            now += WAIT
            memory.unanswered("look", name, clear_at, until)
            continue
        now, number, of, held, said = heapq.heappop(on_its_way)
        if said == "refusal":
            memory.unanswered("look", name, clear_at, until)
        elif memory.answered("look", name, held, clear_at, until):
            assert of == request
            assert clear_at - sent_at[number] <= LATE


def test_equal_values_of_two_requests_are_doubted_once() -> None:
    memory = AnswerMemory()
    assert memory.answered("look", b"a", b"same", 0, 10)
    assert memory.free_at("look", b"b") == 0
    assert not memory.answered("look", b"b", b"same", 1, 11)
    assert memory.free_at("look", b"b") == 10
    assert memory.answered("look", b"b", b"same", 10, 20)


def test_different_values_cost_nothing() -> None:
    memory = AnswerMemory()
    for round_ in range(100):
        for request in (b"a", b"b", b"c"):
            now = round_ * 3 + request[0] - 97
            assert memory.free_at("look", request) <= now
            assert memory.answered("look", request, request * (round_ + 1), now, now + 10)


def test_polling_an_unchanged_value_never_waits_but_another_request_does() -> None:
    memory = AnswerMemory()
    for now in range(50):
        assert memory.free_at("look", b"a") == 0
        assert memory.answered("look", b"a", b"same", now, now + 10)
    assert memory.free_at("look", b"b") == 59


def test_after_a_failure_the_same_request_and_other_looks_are_free() -> None:
    memory = AnswerMemory()
    memory.unanswered("look", b"a", 0, 10)
    assert memory.free_at("look", b"a") == 0
    assert memory.free_at("look", b"b") == 10
    assert memory.free_at("other", b"b") == 0


def test_nothing_from_before_a_write_passes_for_something_after_it() -> None:
    memory = AnswerMemory()
    assert memory.answered("look", b"state", b"open", 0, 10)
    memory.changed()
    assert not memory.answered("look", b"state", b"open", 1, 11)
    assert memory.free_at("look", b"state") == 10
    assert memory.answered("look", b"state", b"open", 10, 20)


def test_old_answers_are_forgotten() -> None:
    memory = AnswerMemory()
    for now in range(1_000):
        assert memory.answered("look", b"a", now, now, now + 5)
    assert len(memory._traces["look"].known) < 100


def test_old_looks_are_forgotten() -> None:
    memory = AnswerMemory()
    for now in range(1_000):
        assert memory.answered(now, b"a", b"same", now, now + 5)
    assert len(memory._traces) < 200
    memory.unanswered("failed", b"a", 1_000, 1_005)
    for now in range(1_000):
        memory.unanswered(("other", now), b"a", 1_001, 1_010)
    assert memory.free_at("failed", b"b") == 1_005
