"""Vehicles close behind each other, and a gateway that stops at a bad moment: nobody is held, nothing opens twice."""

import pytest

from gateway.contract.messages import Outcome
from gateway.drivers.barrier.answers import Answer
from gateway.drivers.barrier.events import Passed
from gateway.drivers.barrier.memory import Visit
from tests.unit.gateway.access.updates import LOT
from tests.unit.gateway.drivers.barrier.test_lane_again import JPEG, NOW, A, B, Place, opened, order, place, seen
from tests.unit.gateway.drivers.barrier.test_lane_by_hand import last_told

__all__ = ["place"]


@pytest.mark.parametrize("later_ms", [0, 900])
async def test_a_picture_behind_a_restart_names_the_passage_and_opens_for_nobody(place: Place, later_ms: int) -> None:
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", ""))
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", A, NOW + later_ms, JPEG))
        await lane.handle(seen("a", A, NOW + later_ms, JPEG))
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("b", B, NOW + 20_000))
    told = await place.told()
    assert [(one.plate, one.outcome) for one in told] == [
        ("", Outcome.PASSED), (A, Outcome.PASSED), (B, Outcome.PASSED)
    ]  # fmt: skip
    assert told[0].id == told[1].id
    assert (len(place.ordered), place.book.inside(LOT)) == (2, 2)


async def test_passages_without_a_plate_do_not_pile_up_on_the_disk(place: Place) -> None:
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        for nth in range(40):
            await lane.handle(seen(f"a{nth}", "", NOW + nth))
    kept = await place.outbox.run(lambda db: db.execute("SELECT count(*) FROM unread").fetchone()[0])
    assert kept == 16


async def test_plates_that_are_read_differently_behind_a_passage_open_once(place: Place) -> None:
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", ""))
        await lane.handle(seen("a", A, NOW + 900))
        await lane.handle(seen("a", B, NOW + 900, JPEG))
    assert [one.plate for one in await place.told()] == ["", A]
    assert len(place.ordered) == 1


async def test_of_a_device_that_names_nothing_a_second_vehicle_is_not_taken_for_the_first(place: Place) -> None:
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("", ""))
        await lane.handle(seen("", A, NOW + 5_000))
    assert [one.plate for one in await place.told()] == ["", A]
    assert len(place.ordered) == 2


async def test_a_loop_behind_a_lane_that_goes_by_the_barriers_word_lets_nobody_else_through(place: Place) -> None:
    """The vehicle that waits next would be told as through, and the cloud's order for it refused."""
    async with opened(place.lane("exit", passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
        await lane.execute(order(1))
        await lane.handle(seen("b", B, NOW + 900))
        await lane.handle(Passed(taken_at=NOW + 1_000))
        await lane.handle(Passed(taken_at=NOW + 1_100, id="a"))
    assert await last_told(place) == [(A, Outcome.PASSED, "command"), (B, Outcome.ARRIVED, "await-cloud")]
    assert lane.counters.passed == 1


async def test_a_loop_says_what_an_answer_that_was_lost_did_not(place: Place) -> None:
    place.answer = Answer.LOST
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
        await lane.handle(Passed(taken_at=NOW + 1_000))
    assert [outcome for _, outcome, _ in await last_told(place)] == [Outcome.PASSED]


async def test_what_a_person_opened_is_not_asked_of_the_cloud_again_after_a_restart(place: Place) -> None:
    """It would be priced, and the barrier opened a second time, for a vehicle that is on its way out."""
    async with opened(place.lane("exit")) as lane:
        await lane.handle(seen("a", A))
        await lane.execute(order(1))
    async with opened(place.lane("exit", cloud_silent="open")):
        pass
    assert await last_told(place) == [(A, Outcome.ARRIVED, "command")]


async def test_a_person_who_opens_while_it_is_looked_up_whether_the_cloud_is_silent_opens_alone(place: Place) -> None:
    """The lane would open a second time, for whoever stands behind."""
    place.silent_s = 60
    lane = place.lane("exit", cloud_silent="open")
    looked_up = lane._memory.taken_note_of

    async def opens_meanwhile(visit: Visit) -> bool:
        found = await looked_up(visit)
        await lane.execute(order(1))
        return found

    async with opened(lane):
        await lane.handle(seen("a", A))
        lane._memory.taken_note_of = opens_meanwhile  # type: ignore[method-assign]
        await lane._go_on_alone(next(iter(lane._visits.values())), "small")
        await lane.handle(Passed(taken_at=NOW + 900))
    assert len(place.ordered) == 1
    assert await last_told(place) == [(A, Outcome.PASSED, "command")]
