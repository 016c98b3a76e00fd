"""Points become batches that are full or old enough, and none is lost at the end."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.contract.codec import decode_points
from gateway.contract.messages import Point
from gateway.contract.topics import Up
from gateway.outbox import Shed
from gateway.polling.recorder import Recorder


class Box:
    def __init__(self) -> None:
        self.shedding = False
        self.sheds: list[Shed] = []
        self.lost: list[Point] = []
        self.batches: list[tuple[Point, ...]] = []
        self.open = asyncio.Event()
        self.open.set()

    def lose(self, points: Sequence[Point]) -> None:
        self.lost += points

    async def put(self, kind: Up, body: bytes, *, shed: Shed) -> int:
        await self.open.wait()
        assert kind is Up.READINGS
        self.sheds.append(shed)
        self.batches.append(decode_points(body))
        return len(self.batches)


def points(count: int, start: int = 0) -> list[Point]:
    return [Point("m", "flow", 1_700_000_000_000 + start + index, index) for index in range(count)]


async def test_full_batches_go_at_once_and_the_rest_at_the_end() -> None:
    box = Box()
    recorder = Recorder(box, max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    await recorder.record(points(25))
    async with asyncio.timeout(5):
        while len(box.batches) < 2:
            await asyncio.sleep(0)
    assert [len(batch) for batch in box.batches] == [10, 10]
    recorder.close()
    await running
    assert [point.taken_at for batch in box.batches for point in batch] == [one.taken_at for one in points(25)]
    assert recorder.recorded == 25


async def test_few_points_wait_no_longer_than_the_linger() -> None:
    box = Box()
    recorder = Recorder(box, max_points=10, linger_s=0.01)
    running = asyncio.create_task(recorder.run())
    await recorder.record(points(3))
    async with asyncio.timeout(5):
        while not box.batches:
            await asyncio.sleep(0.001)
    assert len(box.batches[0]) == 3
    recorder.close()
    await running


async def test_a_slow_disk_holds_the_lines_back() -> None:
    box = Box()
    box.open.clear()
    recorder = Recorder(box, max_points=10, linger_s=0.01)
    running = asyncio.create_task(recorder.run())
    blocked = asyncio.create_task(recorder.record(points(100)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not blocked.done()
    box.open.set()
    async with asyncio.timeout(5):
        await blocked
    recorder.close()
    await running
    assert sum(len(batch) for batch in box.batches) == 100


async def test_closing_with_nothing_to_store_ends_at_once() -> None:
    recorder = Recorder(Box(), max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    recorder.close()
    async with asyncio.timeout(5):
        await running


async def test_a_failed_outbox_ends_the_recorder_and_frees_the_lines() -> None:
    class Broken(Box):
        async def put(self, kind: Up, body: bytes, *, shed: Shed) -> int:
            await super().put(kind, body, shed=shed)
            raise OSError("the file is gone")

    box = Broken()
    box.open.clear()
    recorder = Recorder(box, max_points=10, linger_s=0.01)
    running = asyncio.create_task(recorder.run())
    blocked = asyncio.create_task(recorder.record(points(100)))
    for _ in range(50):
        await asyncio.sleep(0)
    box.open.set()
    async with asyncio.timeout(5):
        with pytest.raises(OSError, match="gone"):
            await running
        await blocked
        await recorder.record(points(500))
