"""From a recognised plate to the order to open, on a real broker, with what a large garage has in its gateway.

100,000 permits, 5,000 vehicles inside, 10,000 listed plates. A camera in another process publishes recognitions one
after the other, at an entry and at an exit; the time is that from the call that publishes until the order is back
there, which holds the way over the broker twice, the decision, and the passage on its way to the disk. Meanwhile the
cloud tells changes. Beside it the decision alone, and the memory that the permits take.
"""

import asyncio
import multiprocessing
import socket
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Final

import aiomqtt

from gateway.access.book import AccessBook
from gateway.access.decision import AccessPolicy, AccessRequest, decide
from gateway.contract.access import (
    AccessEntry,
    AccessUpdate,
    ListEntry,
    Listing,
    LotEntry,
    PermitEntry,
    StayEntry,
    in_parts,
)
from gateway.drivers.barrier import BarrierLine, BarrierLineSettings
from gateway.drivers.barrier.dialect import decode_order, encode, topics_of
from gateway.drivers.barrier.events import KeepAlive, Passed, Recognised, Reply
from gateway.outbox import Outbox
from tests.benchmarks.measure import Bound
from tests.integration.broker import running_mosquitto
from tests.unit.gateway.access.updates import update

_PERMITS: Final = 100_000
_STAYS: Final = 5_000
_LISTED: Final = 10_000
_VEHICLES: Final = 2_000
_DAY_MS: Final = 86_400_000
_LOT: Final = "garage"
_LANES: Final = (("lane-in", "IN", "entry"), ("lane-out", "OUT", "exit"))


def _plate(number: int) -> str:
    return f"京{chr(65 + number // 100_000)}{number % 100_000:05}"


def _entries(now: int) -> Iterator[AccessEntry]:
    for number in range(_PERMITS):
        yield PermitEntry(f"permit-{number}", (_plate(number),), now - _DAY_MS, now + 30 * _DAY_MS, lots=(_LOT,))
    for number in range(_LISTED):
        yield ListEntry(f"list-{number}", _plate(300_000 + number), Listing.BLACK)
    for number in range(_STAYS):
        key = f"00000000-0000-4000-8000-{number:012}"
        yield StayEntry(key, _plate(number), _LOT, "small", now - _DAY_MS // 2, covered=True)
    yield LotEntry("capacity", _LOT, "", 1_000_000)


def _whole(now: int) -> list[AccessUpdate]:
    return in_parts(update(1), _entries(now))


async def _waits(host: str, port: int) -> list[float]:
    """Milliseconds from the recognition to the order, vehicle by vehicle; lanes take turns."""
    chance, waits = Random(1), []
    no_delay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with aiomqtt.Client(host, port, identifier="camera", socket_options=no_delay) as client:
        topics = [topics_of("barriers", sn) for _, sn, _ in _LANES]
        for topic in topics:
            await client.subscribe(topic.command, qos=1)
            await client.publish(topic.event, encode(KeepAlive(taken_at=_now())), qos=1)
        orders = aiter(client.messages)
        for turn in range(_VEHICLES):
            topic = topics[turn % 2]
            vehicle = Recognised(id=f"v-{turn}", plate=_plate(chance.randrange(_PERMITS)), taken_at=_now())
            started = time.perf_counter()
            await client.publish(topic.event, encode(vehicle), qos=1)
            order = decode_order((await anext(orders)).payload)
            waits.append((time.perf_counter() - started) * 1000)
            await client.publish(topic.reply, encode(Reply(id=order.id, code=0)), qos=1)
            await client.publish(topic.event, encode(Passed(id=vehicle.id, taken_at=_now())), qos=1)
    return waits


def _camera(host: str, port: int, answer: Connection) -> None:
    answer.send(asyncio.run(_waits(host, port)))


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _told_meanwhile(book: AccessBook) -> None:
    """A change each 100 ms, as on a busy morning."""
    while True:
        await asyncio.sleep(0.1)
        number = book.number + 1
        plate = _plate(400_000 + number)
        await book.take(update(number, ListEntry(f"new-{number}", plate, Listing.WHITE), base=book.number))


async def _lanes(book: AccessBook, folder: Path) -> list[float]:
    outbox = Outbox.open(folder / "outbox.sqlite", 1 << 28)
    async with running_mosquitto() as broker:
        line = BarrierLine(
            BarrierLineSettings.model_validate({
                "name": "garage", "lot": _LOT, "broker": {"host": broker.host, "port": broker.port},
                "duplicate_s": 0,
                "lanes": [{"device": device, "sn": sn, "direction": way} for device, sn, way in _LANES],
            }),
            outbox,
            book=book,
        )  # fmt: skip
        running = [asyncio.create_task(line.run()), asyncio.create_task(_told_meanwhile(book))]
        while not line.connected:
            await asyncio.sleep(0.01)
        ours, theirs = multiprocessing.Pipe()
        camera = multiprocessing.get_context("spawn").Process(target=_camera, args=(broker.host, broker.port, theirs))
        camera.start()
        waits: list[float] = await asyncio.to_thread(ours.recv)
        camera.join()
        running[1].cancel()
        line.stop()
        await running[0]
    outbox.close()
    return waits


def _decisions_us(book: AccessBook) -> list[float]:
    chance, taken = Random(2), []
    for _ in range(20_000):
        plate, at = _plate(chance.randrange(2 * _PERMITS)), _now()
        started = time.perf_counter()
        state = book.state(plate, "small", _LOT, at)
        decide(AccessRequest(plate, "small", "entry", at), state, AccessPolicy())
        taken.append((time.perf_counter() - started) * 1e6)
    return taken


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def _memory_mb(folder: Path) -> float:
    """What the process grows by when it starts with a file that holds everything."""
    tracemalloc.start()
    book = AccessBook(folder / "access.sqlite")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    book.close()
    return grown / 1e6


def run() -> list[Bound]:
    """Everything told once, then the lanes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = AccessBook(folder / "access.sqlite")

        async def drive() -> tuple[float, list[float]]:
            updates = _whole(_now())
            started = time.perf_counter()
            for one in updates:
                await book.take(one)
            return time.perf_counter() - started, await _lanes(book, folder)

        told_s, waits = asyncio.run(drive())
        decisions = _decisions_us(book)
        book.close()
        size_mb = (folder / "access.sqlite").stat().st_size / 1e6
        memory_mb = _memory_mb(folder)
    what = f"{_PERMITS:,} permits, {_STAYS:,} vehicles inside"
    return [
        Bound(f"recognised → order to open back at the camera, p99, {what}", _p99(waits), "ms", 20),
        Bound(f"decision alone, p99, {what}", _p99(decisions), "µs", 100),
        Bound(f"memory of {what}, {_LISTED:,} listed plates", memory_mb, "MB", 64),
        Bound("their file", size_mb, "MB", 64),
        Bound("all of it told anew by the cloud, until in force", told_s, "s", 30),
    ]
