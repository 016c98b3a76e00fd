"""A lane that hears of a vehicle again, starts anew with vehicles before it, or has a barrier that does not answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.access.book import AccessBook
from gateway.contract import codec
from gateway.contract.messages import Action, Command, CommandState, Passage
from gateway.contract.topics import Up
from gateway.drivers.barrier.answers import Answer
from gateway.drivers.barrier.events import Order, Passed, Recognised
from gateway.drivers.barrier.lane import Lane
from gateway.drivers.barrier.memory import VisitMemory
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings
from gateway.outbox import Outbox
from gateway.polling.clock import Clock
from tests.unit.gateway.access.updates import update

NOW = 1_764_000_000_000
A, B = "京A11111", "京B22222"
JPEG = b"\xff\xd8\xffpicture"


@dataclass
class Place:
    """A lane's surroundings, which outlive it."""

    outbox: Outbox
    book: AccessBook = field(default_factory=lambda: AccessBook(None, NOW))
    answer: Answer = Answer.DONE
    ordered: list[Order] = field(default_factory=list)

    reached: Callable[[], int] = lambda: NOW
    silent_s: float = 0.01

    def lane(self, direction: str = "entry", **settings: object) -> Lane:
        line = BarrierLineSettings.model_validate({
            "name": "garage", "lot": "lot-1", "broker": {"host": "b"}, "cloud_silent_s": self.silent_s,
            "lanes": [{"device": "lane", "sn": "S", "direction": direction, **settings}],
        })  # fmt: skip

        async def give(_: LaneSettings, order: Order) -> Answer:
            self.ordered.append(order)
            return self.answer

        return Lane(line.lanes[0], line, VisitMemory(self.outbox, self.reached), give, self.book, lambda: NOW)

    async def told(self) -> list[Passage]:
        rows = await self.outbox.waiting(0, 1_000, (Up.PASSAGES,))
        return [passage for row in rows for passage in codec.decode_passages(row.body)]


@contextlib.asynccontextmanager
async def opened(lane: Lane) -> AsyncIterator[Lane]:
    async with asyncio.TaskGroup() as tasks:
        await lane.open(tasks)
        yield lane
        lane.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    outbox = Outbox.open(tmp_path / "outbox.sqlite", 1 << 24, lambda: NOW)
    place = Place(outbox)
    await place.book.take(update(1))
    yield place
    place.book.close()
    outbox.close()


def seen(name: str, plate: str, at: int = NOW, picture: bytes = b"") -> Recognised:
    return Recognised(id=name, plate=plate, taken_at=at, picture=picture)


async def test_the_picture_of_a_vehicle_that_comes_behind_the_next_one_opens_for_nobody(place: Place) -> None:
    """Otherwise the second vehicle goes through on the first one's order."""
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(seen("b", B, NOW + 900))
        await lane.handle(seen("a", A, picture=JPEG))
        assert len(place.ordered) == 2
        await lane.handle(Passed(taken_at=NOW + 1_000, id="a"))
        await lane.handle(seen("a", A, picture=JPEG))
        assert len(place.ordered) == 2
        await lane.handle(Passed(taken_at=NOW + 2_000, id="b"))
    assert [(one.plate, one.outcome.value) for one in await place.told()] == [(A, "passed"), (B, "passed")]


@pytest.mark.parametrize("later_ms", [20_000, 900_000])
async def test_a_device_that_begins_to_count_anew_keeps_no_vehicle(place: Place, later_ms: int) -> None:
    async with opened(place.lane()) as lane:
        for number, plate in enumerate((A, B)):
            await lane.handle(seen("1", plate, NOW - 60_000 + number * min(later_ms, 100_000)))
            await lane.handle(Passed(taken_at=NOW, id="1"))
    assert len(place.ordered) == 2
    assert {one.plate for one in await place.told()} == {A, B}


async def test_a_plate_that_is_read_at_last_is_that_of_the_vehicle_that_stands_there(place: Place) -> None:
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", ""))
        assert place.ordered == []
        await lane.handle(seen("a", A, NOW + 1_000, JPEG))
        assert len(place.ordered) == 1
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert {one.id for one in await place.told()} == {(await place.told())[0].id}


async def test_who_waits_for_the_cloud_when_the_gateway_starts_anew_does_not_wait_for_ever(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
    assert place.ordered == []
    async with opened(place.lane("exit", cloud_silent="open")) as lane:
        async with asyncio.timeout(60):
            while not place.ordered:
                await asyncio.sleep(0.01)
        await lane.handle(Passed(taken_at=NOW, id="a"))
    last = (await place.told())[-1]
    assert (last.plate, last.outcome.value, last.decision) == (A, "passed", "cloud-silent")


async def test_a_vehicle_whose_opening_was_cut_off_by_a_stop_is_seen_by_people_and_not_opened_again(
    place: Place,
) -> None:
    """It may stand at a closed barrier, or be through: nobody here knows."""
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", A))
    assert (len(place.ordered), await place.told()) == (1, [])
    async with opened(place.lane()) as lane:
        (arrived,) = await place.told()
        assert (arrived.plate, arrived.outcome.value, arrived.decision) == (A, "arrived", "uncertain")
        assert len(place.ordered) == 1
        await lane.handle(Passed(taken_at=NOW, id="a"))
    last = (await place.told())[-1]
    assert (last.outcome.value, last.decision) == ("passed", "temporary")


async def test_an_opening_without_an_answer_is_told_as_that(place: Place) -> None:
    """The cloud opens for whom the lane decided to let out: not when it may be open already."""
    place.answer = Answer.LOST
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", A))
        assert [one.decision for one in await place.told()] == ["uncertain"]
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert [one.decision for one in await place.told()] == ["uncertain", "temporary"]
    place.answer = Answer.REFUSED
    async with opened(place.lane()) as lane:
        await lane.handle(seen("b", B))
    assert (await place.told())[-1].decision == "temporary"


def order(number: int, passage: str = "") -> Command:
    name = f"00000000-0000-4000-8000-{number:012}"
    arguments = {"passage": passage} if passage else {}
    return Command(
        1, name, "demo", "gw-1", "lane", Action.OPEN_BARRIER, arguments, "cloud", NOW, NOW + 60_000, "n" * 16, "k"
    )


@pytest.mark.parametrize(("answer", "state"), [(Answer.LOST, "uncertain"), (Answer.DONE, "done")])
async def test_a_second_order_for_a_vehicle_for_which_the_barrier_may_have_opened_opens_nothing(
    place: Place, answer: Answer, state: str
) -> None:
    """The cloud orders anew what it heard nothing of, and the report of the first order is still on its way."""
    place.answer = answer
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
        passage = (await place.told())[0].id
        assert [(await lane.execute(order(number, passage))).state for number in (1, 2)] == [CommandState(state)] * 2
        assert [one.id for one in place.ordered] == [order(1).id]
        await lane.execute(order(3))
        assert len(place.ordered) == 2, "people open without naming a vehicle"


async def test_an_order_that_did_not_reach_the_barrier_is_given_again(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
        passage = (await place.told())[0].id
        for number, answer in enumerate((Answer.OFFLINE, Answer.REFUSED, Answer.EXPIRED, Answer.DONE)):
            place.answer = answer
            await lane.execute(order(number, passage))
        assert len(place.ordered) == 4


async def test_who_pays_after_the_lane_heard_no_answer_is_let_out(place: Place) -> None:
    place.answer = Answer.LOST
    async with opened(place.lane("exit", cloud_silent="open")) as lane:
        await lane.handle(seen("a", A))
        async with asyncio.timeout(60):
            while not (told := await place.told()) or told[-1].decision != "uncertain":
                await asyncio.sleep(0.01)
        place.answer = Answer.DONE
        assert (await lane.execute(order(1, told[-1].id))).state is CommandState.DONE
    assert len(place.ordered) == 2


async def test_the_clouds_order_in_the_moment_in_which_the_lane_opens_by_itself_opens_once(place: Place) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    lane = place.lane("exit", cloud_silent="open")

    async def give(_: LaneSettings, given: Order) -> Answer:
        place.ordered.append(given)
        asked.set()
        await answered.wait()
        return Answer.DONE

    lane._give = give
    async with opened(lane), asyncio.timeout(60):
        await lane.handle(seen("a", A))
        passage = (await place.told())[0].id
        await asked.wait()
        ordered = asyncio.create_task(lane.execute(order(1, passage)))
        await asyncio.sleep(0)
        answered.set()
        assert (await ordered).state is CommandState.DONE
    assert len(place.ordered) == 1


async def test_a_clock_in_the_far_future_makes_no_lane_forget_who_stands_there(place: Place, tmp_path: Path) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
    file = tmp_path / "clock"
    file.write_text(str(NOW))
    place.reached = Clock(lambda: (NOW + 10 * 365 * 86_400_000) * 1_000_000, kept_in=file).reached_ms
    async with opened(place.lane("exit")) as lane:
        passage = (await place.told())[0].id
        assert (await lane.execute(order(1, passage))).state is CommandState.DONE
    place.reached = lambda: NOW + 2 * 86_400_000
    async with opened(place.lane("exit")) as lane:
        assert (await lane.execute(order(2, passage))).state is CommandState.FAILED, "it is gone since long ago"
