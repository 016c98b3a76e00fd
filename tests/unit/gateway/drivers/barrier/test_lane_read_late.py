"""A plate that is read when its vehicle is through already: it is told all the same, and opens for nobody."""

from pathlib import Path

import pytest

from gateway.access.book import AccessBook
from gateway.contract.messages import Outcome
from gateway.drivers.barrier.events import Passed, Recognised, TurnedBack
from tests.unit.gateway.access.updates import LOT
from tests.unit.gateway.drivers.barrier.test_lane_again import JPEG, NOW, A, B, Place, opened, order, place, seen

__all__ = ["place"]


@pytest.mark.parametrize("later_ms", [0, 900])
async def test_without_a_sensor_the_picture_that_comes_behind_tells_the_plate_of_the_same_passage(
    place: Place, later_ms: int
) -> None:
    """Otherwise nobody can say whose stay that is, and its fee is lost."""
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", ""))
        assert place.book.inside(LOT) == 1
        await lane.handle(seen("a", A, NOW + later_ms, JPEG))
        await lane.handle(seen("a", A, NOW + later_ms, JPEG))
    told = await place.told()
    assert len({one.id for one in told}) == 1
    assert [(one.plate, one.outcome) for one in told] == [("", Outcome.PASSED), (A, Outcome.PASSED)]
    assert (len(place.ordered), place.book.inside(LOT)) == (1, 1)
    stay = place.book.state(A, "small", LOT, NOW).stay
    assert stay is not None
    assert stay.entered_at == NOW


async def test_with_a_sensor_a_vehicle_that_is_through_before_its_picture_is_told_too(place: Place) -> None:
    async with opened(place.lane(without_plate="open")) as lane:
        await lane.handle(seen("a", ""))
        await lane.handle(Passed(taken_at=NOW + 500, id="a"))
        await lane.handle(seen("b", B, NOW + 600))
        await lane.handle(seen("a", A, NOW, JPEG))
        await lane.handle(Passed(taken_at=NOW + 900, id="b"))
    told = [(one.plate, one.outcome, one.outcome_at) for one in await place.told()]
    passed = Outcome.PASSED
    assert told == [("", passed, NOW + 500), (A, passed, NOW + 500), (B, passed, NOW + 900)]
    assert len(place.ordered) == 2


async def test_whom_a_person_let_out_without_a_plate_has_left_when_it_is_read(place: Place) -> None:
    async with opened(place.lane(passage_sensor=False)) as lane:
        await lane.handle(seen("a", A))
    async with opened(place.lane("exit", passage_sensor=False)) as lane:
        await lane.handle(seen("x", ""))
        await lane.execute(order(1))
        assert place.book.state(A, "small", LOT, NOW).stay is not None
        await lane.handle(seen("x", A, NOW, JPEG))
    last = (await place.told())[-1]
    assert (last.plate, last.outcome, last.decision) == (A, Outcome.PASSED, "command")
    assert place.book.state(A, "small", LOT, NOW).stay is None


async def test_who_turned_back_is_named_and_has_no_stay(place: Place) -> None:
    async with opened(place.lane()) as lane:
        await lane.handle(seen("a", ""))
        await lane.handle(TurnedBack(taken_at=NOW, id="a"))
        await lane.handle(seen("a", A, NOW, JPEG))
    assert [(one.plate, one.outcome) for one in await place.told()][-1] == (A, Outcome.TURNED_BACK)
    assert (place.ordered, place.book.inside(LOT)) == ([], 0)


async def test_what_was_kept_while_cut_off_is_named_by_its_picture_and_opens_nothing(place: Place) -> None:
    async with opened(place.lane()) as lane:
        await lane.handle(Recognised(id="a", plate="", taken_at=NOW - 1_000, offline=True))
        await lane.handle(Recognised(id="a", plate=A, taken_at=NOW - 1_000, offline=True, picture=JPEG))
        await lane.handle(Passed(taken_at=NOW - 500, id="a", offline=True))
    told = await place.told()
    assert [(one.plate, one.outcome) for one in told][-1] == (A, Outcome.PASSED)
    assert (len({one.id for one in told}), place.ordered) == (1, [])


async def test_a_vehicle_that_comes_after_one_without_a_plate_is_not_taken_for_it(place: Place) -> None:
    """A device that begins to count anew, or another vehicle: neither is held, neither is named like the other."""
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("1", ""))
        await lane.handle(seen("2", B, NOW + 900))
        await lane.handle(seen("1", A, NOW + 20_000))
    told = await place.told()
    assert [one.plate for one in told] == ["", B, A]
    assert (len({one.id for one in told}), len(place.ordered)) == (3, 3)


async def test_a_stay_that_is_named_late_is_so_over_a_restart(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "access.sqlite"
    place.book = AccessBook(file, NOW)
    async with opened(place.lane(without_plate="open", passage_sensor=False)) as lane:
        await lane.handle(seen("a", ""))
        await lane.handle(seen("a", A, NOW, JPEG))
    place.book.close()
    place.book = AccessBook(file, NOW)
    assert place.book.state(A, "small", LOT, NOW).stay is not None
    assert place.book.inside(LOT) == 1
