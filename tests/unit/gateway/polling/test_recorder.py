"""Points become batches that are full or old enough, and none is lost at the end."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.contract.codec import decode_points
from gateway.contract.messages import Point
from gateway.contract.topics import Up
from gateway.outbox import OutboxError, OutboxFull, Shed
from gateway.polling.recorder import Recorder

NOW = 1_700_000_000_000


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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
        await blocked
    recorder.close()
    await running
    assert sum(len(batch) for batch in box.batches) == 100


async def test_closing_with_nothing_to_store_ends_at_once() -> None:
    recorder = Recorder(Box(), max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    recorder.close()
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
        with pytest.raises(OSError, match="gone"):
            await running
        await blocked
        await recorder.record(points(500))


async def test_registers_and_diagnostics_go_into_batches_of_their_own() -> None:
    box = Box()
    recorder = Recorder(box, max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    mixed = [Point("m", channel, NOW, 1) for channel in ("flow", "volume_total", "valve_state", "odd_one")]
    await recorder.record(mixed)
    recorder.close()
    await running
    found = dict(zip(box.sheds, ([point.channel for point in batch] for batch in box.batches), strict=True))
    assert found == {Shed.BILLING: ["volume_total", "odd_one"], Shed.DIAGNOSTICS: ["flow", "valve_state"]}


async def test_a_full_stream_does_not_hold_the_other_back_beyond_the_linger() -> None:
    box = Box()
    recorder = Recorder(box, max_points=10, linger_s=0.05)
    running = asyncio.create_task(recorder.run())
    await recorder.record([Point("m", "volume_total", NOW, 1)])
    async with asyncio.timeout(60):
        while Shed.BILLING not in box.sheds:
            await recorder.record(points(10))
            await asyncio.sleep(0.001)
    recorder.close()
    await running


async def test_without_room_diagnostics_are_counted_and_registers_stored() -> None:
    box = Box()
    box.shedding = True
    recorder = Recorder(box, max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    await recorder.record([*points(7), Point("m", "volume_total", NOW, 1)])
    recorder.close()
    await running
    assert box.sheds == [Shed.BILLING]
    assert (len(box.lost), recorder.shed, recorder.recorded) == (7, 7, 1)


async def test_a_durable_record_returns_after_the_disk_has_it_and_does_not_linger() -> None:
    box = Box()
    box.open.clear()
    recorder = Recorder(box, max_points=100, linger_s=60)
    running = asyncio.create_task(recorder.run())
    await recorder.record(points(3))
    waiting = [asyncio.create_task(recorder.record_durably(points(2, start=at))) for at in (100, 200)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    box.open.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)
        await recorder.record_durably(points(1, start=300))
        await recorder.record_durably([])
    assert sum(map(len, box.batches)) == 8
    recorder.close()
    await running
    with pytest.raises(OutboxError, match="recorded any more"):
        await recorder.record_durably(points(1))


async def test_a_device_is_not_told_that_its_values_are_stored_when_they_are_not() -> None:
    class NoRoom(Box):
        async def put(self, kind: Up, body: bytes, *, shed: Shed) -> int:
            return 0

    recorder = Recorder(NoRoom(), max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    with pytest.raises(OutboxFull):
        await recorder.record_durably(points(3))
    gone = asyncio.create_task(recorder.record_durably(points(3)))
    await asyncio.sleep(0)
    gone.cancel()
    recorder.close()
    await running
    assert recorder.recorded == 0


async def test_who_waits_learns_that_the_outbox_failed() -> None:
    class Broken(Box):
        async def put(self, kind: Up, body: bytes, *, shed: Shed) -> int:
            raise OutboxError("the file is gone")

    recorder = Recorder(Broken(), max_points=10, linger_s=60)
    running = asyncio.create_task(recorder.run())
    with pytest.raises(OutboxError, match="not stored"):
        await recorder.record_durably(points(3))
    with pytest.raises(OutboxError, match="gone"):
        await running
