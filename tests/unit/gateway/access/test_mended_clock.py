"""A gateway whose clock was years ahead for a while: what its lanes told then keeps nobody in or out afterwards."""

import os
from pathlib import Path

import pytest

from gateway.access.book import AccessBook
from gateway.contract.access import StayEntry
from gateway.contract.messages import Outcome, Passage
from gateway.drivers.barrier.memory import Visit, VisitMemory
from gateway.drivers.barrier.pictures import Pictures
from gateway.outbox import Outbox
from tests.unit.gateway.access.updates import DAY, LOT, MINUTE, NOW, stay, update

FUTURE = NOW + 1_500 * DAY
A, B, C = "京A11111", "京B22222", "京C33333"


def through(book: AccessBook, direction: str, plate: str, at: int, number: int, **fields: object) -> None:
    passage = Passage(stay(plate, number=number).key, "lane", plate, at, Outcome.PASSED, direction, **fields)  # type: ignore[arg-type]
    book.passed(LOT, passage)


def inside(book: AccessBook, *plates: str) -> list[bool]:
    return [book.state(plate, "small", LOT, NOW).stay is not None for plate in plates]


@pytest.fixture(params=["it ran on", "it was started anew"])
def mended(request: pytest.FixtureRequest, tmp_path: Path) -> AccessBook:
    """A and B came in, C left, all in the future; now the clock is right."""
    book = AccessBook(tmp_path / "access.sqlite", NOW)
    for number, plate in enumerate((A, B), start=1):
        through(book, "entry", plate, FUTURE, number)
    through(book, "exit", C, FUTURE + MINUTE, 3)
    if request.param == "it was started anew":
        book.close()
        book = AccessBook(tmp_path / "access.sqlite", NOW)
    return book


async def test_who_came_in_by_the_wrong_time_is_inside_until_it_leaves(mended: AccessBook, tmp_path: Path) -> None:
    through(mended, "exit", A, NOW + MINUTE, 4)
    assert inside(mended, A, B) == [False, True]
    assert mended.inside(LOT) == 1
    mended.close()
    again = AccessBook(tmp_path / "access.sqlite", NOW + MINUTE)
    assert inside(again, A, B) == [False, True]
    through(again, "exit", B, NOW + 2 * MINUTE, 5)
    assert again.inside(LOT) == 0
    again.close()


async def test_nobody_knows_how_long_it_stayed_so_it_does_not_leave_free_of_charge(mended: AccessBook) -> None:
    through(mended, "exit", A, NOW + MINUTE, 4)
    known = mended.state(B, "small", LOT, NOW).stay
    assert known is not None
    assert (known.entered_at <= NOW + MINUTE, known.paid_until) == (True, 1)
    mended.close()


async def test_who_left_by_the_wrong_time_may_come_in_again(mended: AccessBook, tmp_path: Path) -> None:
    through(mended, "entry", C, NOW, 6)
    assert inside(mended, C) == [True]
    mended.close()
    again = AccessBook(tmp_path / "access.sqlite", NOW + MINUTE)
    assert inside(again, C) == [True]
    again.close()


async def test_who_left_by_the_wrong_time_may_be_the_first_to_come_in_again() -> None:
    """Every vehicle stands before the barrier for a while: it came before it was through."""
    book = AccessBook(None, NOW)
    through(book, "exit", C, FUTURE, 1)
    through(book, "entry", C, NOW, 2, outcome_at=NOW + 5_000)
    assert inside(book, C) == [True]
    assert book.inside(LOT) == 1
    book.close()


async def test_a_vehicle_that_stood_there_while_the_clock_was_mended_came_in_when_it_was_through() -> None:
    book = AccessBook(None, NOW)
    through(book, "entry", A, FUTURE, 1, outcome_at=NOW)
    known = book.state(A, "small", LOT, NOW).stay
    assert known is not None
    assert known.entered_at == NOW
    book.close()


async def test_what_a_device_tells_afterwards_mends_no_clock() -> None:
    """It tells of days ago by its own time, which says nothing of ours."""
    book = AccessBook(None, NOW)
    through(book, "entry", A, NOW, 1)
    through(book, "exit", B, NOW - 5 * DAY, 2, offline=True)
    known = book.state(A, "small", LOT, NOW).stay
    assert known is not None
    assert (known.entered_at, known.paid_until) == (NOW, 0)
    book.close()


async def test_what_the_cloud_told_of_a_stay_is_its_word(tmp_path: Path) -> None:
    book = AccessBook(tmp_path / "access.sqlite", NOW)
    through(book, "entry", A, FUTURE, 1)
    told: StayEntry = stay(A, NOW - MINUTE, 1, paid_until=NOW + DAY)
    await book.take(update(1, told))
    through(book, "exit", C, NOW, 3)
    known = book.state(A, "small", LOT, NOW).stay
    assert known is not None
    assert (known.entered_at, known.paid_until) == (NOW - MINUTE, NOW + DAY)
    book.close()


async def test_a_vehicle_before_a_barrier_is_forgotten_a_day_after_the_clock_was_mended(tmp_path: Path) -> None:
    """Otherwise each start would tell of it anew, and open for nobody where the cloud is silent."""
    outbox = Outbox.open(tmp_path / "outbox.sqlite", 1 << 24)
    memory = VisitMemory(outbox, lambda: FUTURE)
    await memory.load("lane")
    await memory.keep(Visit(Passage(stay(A).key, "lane", A, FUTURE, Outcome.ARRIVED, "exit"), "a"))
    for at, known in ((NOW, 1), (NOW + DAY, 1), (NOW + DAY + MINUTE, 0)):
        assert len(await VisitMemory(outbox, lambda at=at: at).load("lane")) == known  # type: ignore[misc]  # bound now
    outbox.close()


async def test_pictures_from_the_future_make_room_first(tmp_path: Path) -> None:
    async def nothing() -> tuple[str, ...]:
        return ()

    names = [stay("", number=number).key for number in range(4)]
    kept = Pictures(tmp_path, 300, nothing)
    for name in names[:3]:
        await kept.keep(name, b"\xff\xd8\xff" + bytes(97))
    os.utime(tmp_path / f"{names[1]}.jpg", (5_000_000_000, 5_000_000_000))
    again = Pictures(tmp_path, 300, nothing)
    await again.keep(names[3], b"\xff\xd8\xff" + bytes(97))
    assert [await again.read(name) is not None for name in names] == [True, False, True, True]
