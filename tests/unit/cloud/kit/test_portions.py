"""Work by halves: the spoilt one is alone in the end, and what passes is not held against anybody."""

import asyncio
import itertools
from collections.abc import Sequence

import psycopg
import pytest
from psycopg import errors

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


async def test_what_is_too_much_at_once_may_go_in_parts_and_alone_is_nobodys_fault() -> None:
    """The machine holds four at once."""

    class _Narrow(_Work):
        async def all(self, ids: Sequence[int]) -> list[int]:
            self.asked.append(list(ids))
            if len(ids) > most:
                raise MemoryError
            return list(ids)

    most, work = 4, _Narrow(set(), KeyError())
    done = await by_halves(range(16), work.all, work.alone)
    assert [one for part in done for one in part] == list(range(16))
    most, work = 0, _Narrow(set(), KeyError())
    with pytest.raises(MemoryError):
        await by_halves(range(16), work.all, work.alone)
    assert work.failed == {}
    assert len(work.asked) == 5, "halved down to one, and no further one is tried"


def _state(sqlstate: str) -> psycopg.Error:
    return errors.lookup(sqlstate)(sqlstate)


OF_THE_SYSTEM: list[Exception] = [
    psycopg.OperationalError("the connection is lost"),
    psycopg.InterfaceError("the connection is closed"),
    psycopg.InternalError("unexpected result"),
    ConnectionError(),
    TimeoutError(),
    Unavailable("busy", "later"),
    MemoryError(),
    ImportError(),
    ExceptionGroup("tasks", [KeyError(), errors.AdminShutdown()]),
]
STATES_OF_THE_SYSTEM = {
    "a half-upgraded database": ["42703", "42P01", "42883", "42704", "42601", "3F000", "3D000"],
    "a right is missing": ["42501", "28000"],
    "a cached plan": ["0A000", "26000"],
    "a limit of time": ["57014", "25P03", "25P04", "55P03"],
    "read only": ["25006", "25P02"],
    "resources": ["53000", "53100", "53200", "53300", "53400"],
    "the server": ["57P01", "57P02", "57P03", "58030", "58P01", "XX000", "XX001", "XX002", "72000", "08006"],
    "others": ["40001", "40P01", "55000"],
}
OF_ONE: list[Exception] = [
    KeyError(),
    ValueError(),
    ArithmeticError(),
    AttributeError(),
    RecursionError(),
    Conflict("x", "y"),
    psycopg.DataError("a text with NUL"),
    psycopg.ProgrammingError("cannot adapt"),
    ExceptionGroup("tasks", [KeyError()]),
]
STATES_OF_ONE = {
    "data": ["22003", "22008", "22012", "22P02", "22021"],
    "integrity": ["23000", "23502", "23503", "23505", "23514", "23P01", "44000", "27000"],
    "what a function says": ["P0001", "P0002", "P0004", "2F005", "20000", "21000"],
    "a limit that one row exceeds": ["54000", "54001"],
}


def _named(error: object) -> str:
    return getattr(error, "sqlstate", None) or type(error).__name__


@pytest.mark.parametrize(
    "error", [*OF_THE_SYSTEM, *map(_state, itertools.chain(*STATES_OF_THE_SYSTEM.values()))], ids=_named
)
def test_what_is_of_the_system(error: Exception) -> None:
    assert passes(error)


@pytest.mark.parametrize("error", [*OF_ONE, *map(_state, itertools.chain(*STATES_OF_ONE.values()))], ids=_named)
def test_what_is_of_the_one(error: Exception) -> None:
    assert not passes(error)


def test_a_state_that_nobody_knows_is_of_the_system() -> None:
    """Extensions have some of their own: the class of a row's values is not among them."""
    error = psycopg.DatabaseError("a chunk is gone")
    error.sqlstate = "TS003"
    assert passes(error)


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
