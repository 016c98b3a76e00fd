"""A person opens without naming a vehicle: it is for who stands there, and for nobody else before or after."""

import asyncio

import pytest

from gateway.contract.messages import Outcome
from gateway.drivers.barrier.answers import Answer
from gateway.drivers.barrier.events import Order, Passed
from gateway.drivers.barrier.settings import LaneSettings
from tests.unit.gateway.drivers.barrier.test_lane_again import NOW, A, B, Place, opened, order, place, seen

__all__ = ["place"]


async def last_told(place: Place) -> list[tuple[str, Outcome, str]]:
    """Of each passage what was told last."""
    found = {one.id: (one.plate, one.outcome, one.decision) for one in await place.told()}
    return list(found.values())


@pytest.mark.parametrize("sensor", [True, False])
async def test_it_is_for_the_vehicle_that_stands_there(place: Place, sensor: bool) -> None:
    async with opened(place.lane("exit", passage_sensor=sensor)) as lane:
        await lane.handle(seen("a", A))
        await lane.execute(order(1))
        if sensor:
            await lane.handle(Passed(taken_at=NOW + 900))
    assert await last_told(place) == [(A, Outcome.PASSED, "command")]


async def test_who_turned_round_unseen_before_others_came_through_is_not_let_out_by_it(place: Place) -> None:
    """Its stay would end, and somebody would owe for a vehicle that stands in the garage still."""
    async with opened(place.lane("exit", passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(seen("b", B, NOW + 20_000))
        await lane.execute(order(1))
        await lane.execute(order(2))  # for an ambulance, which no camera reads
    assert await last_told(place) == [(A, Outcome.ARRIVED, "await-cloud"), (B, Outcome.PASSED, "command")]


async def test_who_stood_there_an_hour_ago_is_not_let_out_by_it(place: Place) -> None:
    place.silent_s = 60
    lane = place.lane("exit", passage_sensor=False)
    async with opened(lane):
        await lane.handle(seen("a", A))
        lane._clock = lane.device_clock._clock = lambda: NOW + 3_600_000
        await lane.execute(order(1))
        assert await last_told(place) == [(A, Outcome.ARRIVED, "await-cloud")]
        await lane.handle(seen("a2", A, NOW + 3_600_000))  # it is seen there again
        await lane.execute(order(2))
    assert await last_told(place) == [(A, Outcome.PASSED, "command")]


async def test_it_is_not_for_the_vehicle_that_comes_next(place: Place) -> None:
    lane, asked, answered = place.lane("exit"), asyncio.Event(), asyncio.Event()

    async def give(_: LaneSettings, given: Order) -> Answer:
        asked.set()
        await answered.wait()
        return Answer.DONE

    lane._give = give
    async with opened(lane), asyncio.timeout(60):
        opening = asyncio.create_task(lane.execute(order(1)))
        await asked.wait()
        await lane.handle(seen("a", A))
        answered.set()
        await opening
    assert await last_told(place) == [(A, Outcome.ARRIVED, "await-cloud")]


async def test_a_vehicle_for_which_the_lane_opens_in_that_moment_went_by_its_own_rule(place: Place) -> None:
    """A permit is not made nothing by a guard who pressed too."""
    lane, asked, answered = place.lane(), asyncio.Event(), asyncio.Event()

    async def give(_: LaneSettings, given: Order) -> Answer:
        if given.id != order(1).id:
            asked.set()
            await answered.wait()
        return Answer.DONE

    lane._give = give
    async with opened(lane), asyncio.timeout(60):
        coming = asyncio.create_task(lane.handle(seen("a", A)))
        await asked.wait()
        opening = asyncio.create_task(lane.execute(order(1)))
        await asyncio.sleep(0)
        answered.set()
        await asyncio.gather(coming, opening)
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert await last_told(place) == [(A, Outcome.PASSED, "temporary")]


async def test_who_stood_there_when_the_gateway_started_anew_is_let_out_by_it(place: Place) -> None:
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
    async with opened(place.lane("exit", passage_sensor=False)) as lane:
        await lane.execute(order(1))
    assert await last_told(place) == [(A, Outcome.PASSED, "command")]


async def test_an_opening_that_was_not_answered_is_made_sure_by_a_person(place: Place) -> None:
    place.answer = Answer.LOST
    async with opened(place.lane(passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
        place.answer = Answer.DONE
        await lane.execute(order(1))
    assert await last_told(place) == [(A, Outcome.PASSED, "command")]
