"""Work by halves: the spoilt one is alone in the end, and what passes is not held against anybody."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from cloud.kit.constraints import passes, refusal
from cloud.kit.errors import Conflict, Unavailable
from cloud.kit.portions import by_halves, one_by_one, side_by_side


class _Work:
    def __init__(self, bad: set[int], error: Exception) -> None:
        self.bad = bad
        self.error = error
        self.asked: list[list[int]] = []
        self.failed: dict[int, Exception] = {}

    async def all(self, ids: Sequence[int]) -> list[int]:
        self.asked.append(list(ids))
        if self.bad & set(ids):
            raise self.error
        return list(ids)

    async def alone(self, one: int, error: Exception) -> list[int]:
        self.failed[one] = error
        return []


@pytest.mark.parametrize("bad", [set(), {0}, {5}, {9}, {0, 9}, {3, 4}, set(range(10))])
async def test_all_but_the_bad_ones_are_worked_on_once(bad: set[int]) -> None:
    work = _Work(bad, KeyError("x"))
    done = await by_halves(range(10), work.all, work.alone)
    assert [one for part in done for one in part] == sorted(set(range(10)) - bad)
    assert set(work.failed) == bad


async def test_one_by_one_each_is_alone_and_the_others_go_on() -> None:
    work = _Work({2}, KeyError("x"))

    async def one(number: int) -> list[int]:
        return await work.all([number])

    assert await one_by_one(range(4), one, work.alone) == [[0], [1], [], [3]]
    assert (work.asked, set(work.failed)) == ([[0], [1], [2], [3]], {2})


async def test_a_bad_one_of_a_thousand_costs_some_attempts() -> None:
    work = _Work({617}, ZeroDivisionError())
    await by_halves(range(1024), work.all, work.alone)
    assert len(work.asked) == 1 + 2 * 10


async def test_nothing_is_no_work() -> None:
    work = _Work(set(), KeyError())
    assert await by_halves([], work.all, work.alone) == []
    assert work.asked == []


async def test_what_passes_is_raised() -> None:
    work = _Work({2}, psycopg.errors.AdminShutdown())
    with pytest.raises(psycopg.errors.AdminShutdown):
        await by_halves(range(4), work.all, work.alone)
    assert work.asked == [[0, 1, 2, 3]]


async def test_a_deadlock_is_tried_again_and_raised_when_it_stays() -> None:
    work = _Work({2}, psycopg.errors.DeadlockDetected())
    with pytest.raises(psycopg.errors.DeadlockDetected):
        await by_halves(range(4), work.all, work.alone)
    assert work.asked == [[0, 1, 2, 3]] * 3
    assert work.failed == {}

    async def once(ids: Sequence[int]) -> list[int]:
        work.bad = set() if work.asked else {2}
        return await work.all(ids)

    work.asked.clear()
    assert await by_halves(range(4), once, work.alone) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("error", "of_the_moment"),
    [
        (psycopg.OperationalError(), True),
        (psycopg.errors.SerializationFailure(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.InterfaceError(), True),
        (ConnectionError(), True),
        (TimeoutError(), True),
        (Unavailable("busy", "later"), True),
        (psycopg.errors.ProgramLimitExceeded(), False),
        (psycopg.errors.CheckViolation(), False),
        (psycopg.errors.NumericValueOutOfRange(), False),
        (MemoryError(), False),
        (KeyError(), False),
        (Conflict("x", "y"), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_is_of_the_moment(error: Exception, of_the_moment: bool) -> None:
    assert passes(error) is of_the_moment


def test_a_reason_is_one_line_of_bounded_length() -> None:
    assert refusal(ValueError("one\ntwo")) == ("fault", "ValueError: one")
    assert refusal(Conflict("code", "detail")) == ("code", "detail")
    assert len(refusal(ValueError("x" * 1000))[1]) == 300
    assert refusal(psycopg.errors.CheckViolation("refused by a rule")) == ("refused", "refused by a rule")


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_so_many_are_worked_on_at_once_begun_in_order(at_once: int) -> None:
    begun: list[int] = []
    under_way = most = 0

    async def work(one: int) -> None:
        nonlocal under_way, most
        begun.append(one)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await side_by_side(range(7), work, at_once)
    assert (begun, most, under_way) == (list(range(7)), at_once, 0)


async def test_the_first_that_raises_ends_the_others_and_is_raised() -> None:
    ended: list[int] = []

    async def work(one: int) -> None:
        if one == 1:
            raise KeyError(one)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(one)

    with pytest.raises(KeyError):
        await side_by_side(range(5), work, 2)
    assert ended == [0]
