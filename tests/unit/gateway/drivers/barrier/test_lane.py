"""A lane on its own: what it does when the disk takes nothing, or its book fails."""

from typing import Any

import pytest

from gateway.access.book import AccessBook
from gateway.contract.messages import Outcome, Passage
from gateway.drivers.barrier.answers import Answer
from gateway.drivers.barrier.events import KeepAlive, Order, Passed
from gateway.drivers.barrier.lane import Lane
from gateway.drivers.barrier.memory import Visit
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings

NOW = 1_700_000_000_000
PASSAGE = "6f1b6bd2-5d7e-5c0f-9a8e-2f5b1d6c7a34"


class Memory:
    """Takes passages while it has room."""

    def __init__(self) -> None:
        self.room = True
        self.kept: list[Passage] = []

    async def finish(self, ended: Visit) -> bool:
        if self.room:
            self.kept.append(ended.passage)
        return self.room


def lane_over(memory: Any) -> Lane:
    line = BarrierLineSettings.model_validate({
        "name": "garage", "lot": "lot-1", "broker": {"host": "b"},
        "lanes": [{"device": "lane-in", "sn": "IN", "direction": "entry"}],
    })  # fmt: skip

    async def give(settings: LaneSettings, order: Order) -> Answer:
        raise AssertionError(f"nothing is ordered: {order}")

    return Lane(line.lanes[0], line, memory, give, AccessBook(), lambda: 1_700_000_000_000)


async def test_what_passed_while_the_disk_was_full_is_written_when_there_is_room_again() -> None:
    memory = Memory()
    lane = lane_over(memory)
    memory.room = False
    for number in (1, 2):
        await lane.handle(Passed(taken_at=1_700_000_000_000 + number))
    await lane.handle(KeepAlive(taken_at=1_700_000_001_000))
    assert memory.kept == []
    memory.room = True
    await lane.handle(KeepAlive(taken_at=1_700_000_002_000))
    assert [(passage.outcome, passage.taken_at) for passage in memory.kept] == [
        (Outcome.PASSED, 1_700_000_000_001),
        (Outcome.PASSED, 1_700_000_000_002),
    ]
    await lane.handle(KeepAlive(taken_at=1_700_000_003_000))
    assert len(memory.kept) == 2


async def test_a_passing_is_told_to_the_cloud_also_when_the_book_fails_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the stay would have no end, and nobody would be asked for its fee."""
    memory = Memory()
    lane = lane_over(memory)

    def fails(lot: str, passage: Passage) -> None:
        raise KeyError("something nobody thought of")

    lane._visits[PASSAGE] = Visit(Passage(PASSAGE, "lane-in", "京A12345", NOW, Outcome.ARRIVED, "entry"), "a")
    monkeypatch.setattr(lane._book, "passed", fails)
    with pytest.raises(KeyError):
        await lane.handle(Passed(taken_at=NOW, id="a"))
    assert [(passage.plate, passage.outcome) for passage in memory.kept] == [("京A12345", Outcome.PASSED)]
