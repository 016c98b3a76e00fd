"""A lane, promise by promise: once opened, never for nobody, by its settings, with the device's own times."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.access.book import AccessBook
from gateway.contract.access import PermitEntry
from gateway.contract.messages import CommandState, Outcome
from gateway.drivers.barrier.answers import Answer
from gateway.drivers.barrier.events import GateMoved, Order, Passed, Recognised, TurnedBack
from gateway.drivers.barrier.lane import Lane
from gateway.drivers.barrier.memory import VisitMemory
from gateway.drivers.barrier.settings import LaneSettings
from tests.unit.gateway.access.updates import LOT, update
from tests.unit.gateway.drivers.barrier.test_lane_again import JPEG, NOW, A, B, Place, opened, order, place, seen

__all__ = ["place"]

DAY = 86_400_000
C = "京C33333"


async def watched(lane: Lane) -> None:
    """The cloud's silence was noticed, and what follows is done."""
    async with asyncio.timeout(60):
        while lane._watches:
            await asyncio.sleep(0.01)


async def test_whom_a_person_let_out_is_not_let_out_again_when_the_cloud_is_silent(place: Place) -> None:
    async with opened(place.lane("exit", cloud_silent="open")) as lane:
        await lane.handle(seen("a", A))
        await lane.execute(order(1))
        await watched(lane)
    assert [one.id for one in place.ordered] == [order(1).id]


async def test_a_failure_while_the_cloud_is_silent_ends_no_lane(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("something nobody thought of")

    monkeypatch.setattr(place.book, "passed", fails)
    async with opened(place.lane("exit", cloud_silent="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
        await watched(lane)
    assert [(one.plate, one.outcome) for one in await place.told()][-1] == (A, Outcome.PASSED)


@pytest.mark.parametrize("end", [Passed(taken_at=NOW, id="a"), TurnedBack(taken_at=NOW, id="a")])
async def test_a_silent_cloud_opens_for_nobody_who_is_gone(place: Place, end: Any) -> None:
    async with opened(place.lane("exit", cloud_silent="open")) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(end)
        await watched(lane)
    assert place.ordered == []


async def test_a_passing_has_the_time_of_its_device_and_says_that_it_was_told_afterwards(place: Place) -> None:
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(Passed(taken_at=NOW - 2_000, id="a"))
        await lane.handle(seen("b", B, NOW + 1_000))
        await lane.handle(Passed(taken_at=NOW - DAY, id="b", offline=True))
    told = [(one.plate, one.outcome_at, one.offline) for one in await place.told()]
    assert told == [(A, NOW - 2_000, False), (B, NOW - DAY, True)]


async def test_what_was_kept_with_an_impossible_time_says_so_and_opens_nothing(place: Place) -> None:
    async with opened(place.lane()) as lane:
        await lane.handle(Recognised(id="a", plate=A, taken_at=NOW + 10 * DAY, offline=True))
    (told,) = await place.told()
    assert (told.taken_at, told.offline, told.decision, place.ordered) == (NOW, True, "device-clock", [])


async def test_a_lane_remembers_sixteen_vehicles_and_forgets_the_oldest(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        for number in range(17):
            await lane.handle(seen(f"v-{number}", f"京D{number:05}", NOW + number))
        ids = [one.id for one in await place.told()]
        states = [(await lane.execute(order(number, ids[number]))).state for number in (0, 1)]
    assert states == [CommandState.FAILED, CommandState.DONE]
    assert len(await VisitMemory(place.outbox, lambda: NOW).load("lane")) == 16, "no more lie on the disk either"


async def test_whom_a_person_opens_for_passes_by_that_command(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
        await lane.execute(order(1))
        await lane.handle(Passed(taken_at=NOW))
    assert [(one.plate, one.outcome, one.decision) for one in await place.told()][-1] == (A, Outcome.PASSED, "command")


@pytest.mark.parametrize("answer", [Answer.DONE, Answer.LOST])
async def test_a_plate_that_is_read_when_the_barrier_is_open_is_told_and_opens_no_second_time(
    place: Place, answer: Answer
) -> None:
    """The result with the picture comes behind: a stay without a plate is one whose fee nobody can ask for."""
    place.answer = answer
    async with opened(place.lane(without_plate="open")) as lane:
        await lane.handle(seen("a", ""))
        await lane.handle(seen("a", A, NOW, JPEG))
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert len(place.ordered) == 1
    assert [one.plate for one in await place.told()][-1] == A
    assert place.book.state(A, "small", LOT, NOW).stay is not None


async def test_a_plate_that_is_told_afterwards_opens_nothing(place: Place) -> None:
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", ""))
        await lane.handle(Recognised(id="a", plate=A, taken_at=NOW, offline=True))
    assert place.ordered == []


async def test_a_vehicle_that_stands_there_still_is_the_same_however_late_it_is_read_again(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(seen("b", A, NOW + 200_000))
    assert len({one.id for one in await place.told()}) == 1


class Album:
    """How many orders were out when a picture was kept."""

    def __init__(self, place: Place) -> None:
        self.place, self.ordered = place, [0]

    async def keep(self, passage: str, picture: bytes) -> bool:
        self.ordered.append(len(self.place.ordered))
        return True


async def test_nobody_waits_for_a_picture(place: Place) -> None:
    lane, album = place.lane(), Album(place)
    lane._pictures = album  # type: ignore[assignment]
    async with opened(lane):
        await lane.handle(seen("a", A, picture=JPEG))
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert album.ordered == [0, 1]
    (told,) = await place.told()
    assert told.image == told.id


async def test_nobody_waits_for_a_disk(place: Place) -> None:
    lane, given = place.lane(), asyncio.Event()
    keep, give = lane._memory.keep, lane._give

    async def slowly(visit: Any) -> None:
        async with asyncio.timeout(60):
            await given.wait()
        await keep(visit)

    async def at_once(settings: LaneSettings, wanted: Order) -> Answer:
        given.set()
        return await give(settings, wanted)

    lane._memory.keep, lane._give = slowly, at_once  # type: ignore[method-assign]
    async with opened(lane):
        await lane.handle(seen("a", A))
    assert len(place.ordered) == 1


async def test_a_vehicle_is_remembered_before_its_barrier_has_answered(place: Place) -> None:
    """The power may go in between: that it may have been opened for, somebody has to know then."""
    lane = place.lane()

    async def never(settings: LaneSettings, wanted: Order) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    lane._give = never
    async with opened(lane):
        opening = asyncio.create_task(lane.handle(seen("a", A)))
        async with asyncio.timeout(60):
            while not await lane._memory.load("lane"):
                await asyncio.sleep(0.01)
        opening.cancel()


async def test_without_a_sensor_a_boom_that_goes_down_lets_nobody_through(place: Place) -> None:
    place.answer = Answer.LOST
    async with opened(place.lane(passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(GateMoved(taken_at=NOW, is_open=False))
        assert [one.outcome for one in await place.told()] == [Outcome.ARRIVED]
        await lane.handle(GateMoved(taken_at=NOW, is_open=True))
    assert [one.outcome for one in await place.told()] == [Outcome.ARRIVED, Outcome.PASSED]


async def test_who_passes_unnamed_is_the_one_for_whom_it_opened_then_whoever_stands_there(place: Place) -> None:
    place.silent_s = 60
    async with opened(place.lane("exit")) as lane:
        for number, plate in enumerate((A, B)):
            await lane.handle(seen(plate, plate, NOW + number))
        first = (await place.told())[0].id
        await lane.execute(order(1, first))
        for _ in range(3):
            await lane.handle(Passed(taken_at=NOW + 5))
    passed = [(one.plate, one.decision) for one in await place.told() if one.outcome is Outcome.PASSED]
    assert passed == [(A, "command"), (B, "await-cloud"), ("", "unrecognised")]


async def test_who_turns_back_unnamed_is_the_one_for_whom_nothing_opened(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        for number, plate in enumerate((A, B)):
            await lane.handle(seen(plate, plate, NOW + number))
        await lane.execute(order(1, (await place.told())[1].id))
        await lane.handle(TurnedBack(taken_at=NOW))
    assert [one.plate for one in await place.told() if one.outcome is Outcome.TURNED_BACK] == [A]


async def test_orders_end_in_time(place: Place) -> None:
    """One that a barrier hears later opens for nobody."""
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", A))
        await lane.execute(order(1))
    assert [one.expires_at for one in place.ordered] == [NOW + 3_000, order(1).expires_at]


async def test_who_is_through_is_not_there_after_a_restart(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(Passed(taken_at=NOW, id="a"))
    told = len(await place.told())
    async with opened(place.lane("exit")) as lane:
        assert (lane._visits, len(await place.told())) == ({}, told)


@pytest.mark.parametrize(
    ("settings", "plate", "rule", "opens"),
    [
        ({}, A, "temporary", True),
        ({"temporary_allowed": False}, A, "no-temporary", False),
        ({"already_inside": "operator"}, B, "already-inside", False),
        ({"permit_expired": "operator"}, C, "permit-expired", False),
        ({"without_plate": "open"}, "", "no-plate", True),
    ],
)
async def test_a_lane_goes_by_its_settings(
    place: Place, settings: dict[str, Any], plate: str, rule: str, opens: bool
) -> None:
    await place.book.take(update(2, PermitEntry("p", (C,), NOW - 2 * DAY, NOW - DAY), base=1))
    async with opened(place.lane()) as lane:
        await lane.handle(seen("b", B, NOW - 60_000))
        await lane.handle(Passed(taken_at=NOW - 50_000, id="b"))
    assert place.book.inside(LOT) == 1
    place.ordered.clear()
    async with opened(place.lane(**settings)) as lane:
        await lane.handle(seen("a", plate))
        assert bool(place.ordered) is opens
        assert (await place.told())[-1].decision == rule or opens
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert (await place.told())[-1].decision == rule


@pytest.mark.parametrize(
    ("direction", "settings", "rule", "orders"),
    [
        ("entry", {"on_failure": "open"}, "software-error", 1),
        ("entry", {"on_failure": "operator"}, "software-error", 0),
        ("exit", {"cloud_silent": "open"}, "cloud-silent", 1),
        ("exit", {"cloud_silent": "operator"}, "await-cloud", 0),
    ],
)
async def test_no_vehicle_is_held_by_an_error_of_the_software(
    place: Place, monkeypatch: pytest.MonkeyPatch, direction: str, settings: dict[str, Any], rule: str, orders: int
) -> None:
    def broken(*_: object) -> None:
        raise KeyError(A)

    monkeypatch.setattr(place.book, "state", broken)
    async with opened(place.lane(direction, **settings)) as lane:
        await lane.handle(seen("a", A))
        await watched(lane)
        assert len(place.ordered) == orders
        assert direction == "entry" or (await place.told())[0].decision == "await-cloud"
        await lane.handle(Passed(taken_at=NOW, id="a"))
    told = (await place.told())[-1]
    assert (told.outcome, told.decision) == (Outcome.PASSED, rule if orders or direction == "entry" else "cloud-silent")


@pytest.mark.parametrize(("policy", "orders"), [("open", 1), ("operator", 0)])
async def test_a_gateway_that_lost_all_it_knew_refuses_nobody_by_that(
    place: Place, tmp_path: Path, policy: str, orders: int
) -> None:
    place.book.close()
    place.book = AccessBook(tmp_path / "fresh.sqlite", NOW)
    async with opened(place.lane(temporary_allowed=False, on_failure=policy)) as lane:
        await lane.handle(seen("a", A))
    assert len(place.ordered) == orders
