"""The way of points from the recorder to the cloud's acknowledgement: what it costs, and how fast the disk takes them.

Three measures. Durable points: batches of 200 through the outbox, each awaited, against a bare loop that inserts the
same bodies into an SQLite file with the same durability and nothing else. Processor time of the whole way: recorder,
encoding, commit, compression, publishing on a real broker, acknowledgement, deletion; the receiving end is another
process. A day's backlog of 1,000 meters, one value a minute, through broker and ingest into PostgreSQL.
"""

import asyncio
import contextlib
import multiprocessing
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiomqtt

from cloud.kit.embedded import EmbeddedPostgres
from gateway.contract import WIRE_VERSION, codec, topics
from gateway.contract.codec import encode_body
from gateway.contract.messages import Ack, Command, Point
from gateway.contract.topics import Down, Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox, Shed
from gateway.polling.recorder import Recorder
from gateway.tasks import end
from gateway.uplink import BrokerSettings, LinkState, Uplink
from tests.benchmarks.ingest import drained, fresh_database
from tests.benchmarks.measure import Bound, Measure
from tests.integration.broker import running_mosquitto

_BATCH: Final = 200
_DURABLE: Final = 200_000
_PATH: Final = 120_000
_PATH_PER_S: Final = 10_000
_CHANNELS: Final = (
    "energy_import_total", "energy_export_total", "voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2",
    "current_l3", "power_active_total", "power_reactive_total", "power_factor_total", "frequency",
)  # fmt: skip
_PROJECT, _GATEWAY = "demo", "gw-1"
_METERS: Final = 1_000
_MINUTES: Final = 1_440


def run() -> list[Measure | Bound]:
    """Bare, ours, bare again where there is a reference; it is the better of its two runs."""
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        bodies = _bodies()
        before = _bare(folder / "bare-1.sqlite", bodies)
        ours = asyncio.run(_durable(folder / "ours.sqlite", bodies))
        after = _bare(folder / "bare-2.sqlite", bodies)
        cost = asyncio.run(_path(folder / "path.sqlite"))
        seconds = _backlog(folder)
    return [
        Measure(f"outbox, durable, {_BATCH} points a batch", ours, "bare SQLite loop", max(before, after), "points"),
        Bound("outbox, durable points a second", ours, "points/s", 20_000, at_least=True),
        Bound("recorder to acknowledgement, 10,000 points/s", cost, "CPU-s per 1,000 points", 0.008),
        Bound(f"a day of {_METERS:,} meters by the minute, through ingest", seconds, "s", 120),
    ]


def _points(count: int) -> list[Point]:
    chance = random.Random(1)
    start = 1_764_000_000_000
    return [
        Point(f"m-{n // 12 % 1_000:04}", _CHANNELS[n % 12], start + n // 12 * 7, chance.randrange(10**8), 0)
        for n in range(count)
    ]


def _bodies() -> list[bytes]:
    points = _points(_DURABLE)
    return [encode_body(points[at : at + _BATCH]) for at in range(0, _DURABLE, _BATCH)]


def _bare(file: Path, bodies: list[bytes]) -> float:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE batch (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        began = time.perf_counter()
        for body in bodies:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO batch (body) VALUES (?)", (body,))
            db.execute("COMMIT")
        return _DURABLE / (time.perf_counter() - began)


async def _durable(file: Path, bodies: list[bytes]) -> float:
    outbox = Outbox.open(file, 1 << 30)
    began = time.perf_counter()
    for body in bodies:
        await outbox.put(Up.READINGS, body, shed=Shed.BILLING)
    elapsed = time.perf_counter() - began
    outbox.close()
    return _DURABLE / elapsed


def _receiver(port: int) -> None:
    """The cloud's end in a process of its own: acknowledges every 10 ms what came, as ingest does after a COMMIT."""

    async def run() -> None:
        waiting: list[int] = []
        epoch = ""
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe(topics.all_up(), qos=1)
            await client.publish("bench/ready", b"", qos=1, retain=True)

            async def acknowledge() -> None:
                while True:
                    await asyncio.sleep(0.01)
                    if waiting:
                        ack = Ack(WIRE_VERSION, epoch, tuple(waiting))
                        waiting.clear()
                        await client.publish(topics.down(_PROJECT, _GATEWAY, Down.ACK), codec.encode_ack(ack), qos=1)

            acknowledging = asyncio.ensure_future(acknowledge())
            async for message in client.messages:
                envelope = codec.decode_envelope(message.payload)
                epoch = envelope.epoch
                waiting.append(envelope.seq)
            await acknowledging

    asyncio.run(run())


async def _path(file: Path) -> float:
    """Processor seconds of this process for 1,000 points that came one visit (12 values) after the other."""
    async with running_mosquitto() as broker:
        receiver = multiprocessing.get_context("spawn").Process(target=_receiver, args=(broker.port,), daemon=True)
        receiver.start()
        try:
            async with broker.client() as client:
                await client.subscribe("bench/ready")
                await anext(aiter(client.messages))
            return await _deliver(file, broker.port)
        finally:
            receiver.terminate()
            receiver.join()


async def _deliver(file: Path, port: int) -> float:
    outbox = Outbox.open(file, 1 << 30)
    recorder = Recorder(outbox, _BATCH, 1.0)
    uplink = Uplink(BrokerSettings(host="127.0.0.1", port=port, window=64), _PROJECT, _GATEWAY, outbox, _no_command)
    linked, recording = asyncio.ensure_future(uplink.run()), asyncio.ensure_future(recorder.run())
    while uplink.state is not LinkState.ONLINE:
        await asyncio.sleep(0.01)
    points = _points(_PATH)
    visits = [points[at : at + 12] for at in range(0, _PATH, 12)]
    cpu, began = time.process_time(), time.perf_counter()
    for number, visit in enumerate(visits):
        await recorder.record(visit)
        if number % 50 == 49:
            await asyncio.sleep(max(0.0, began + number * 12 / _PATH_PER_S - time.perf_counter()))
    recorder.close()
    await recording
    await _until_empty(outbox)
    spent = time.process_time() - cpu
    uplink.stop()
    await linked
    outbox.close()
    await end(recording, linked)
    return spent / _PATH * 1_000


async def _until_empty(outbox: Outbox) -> None:
    async with asyncio.timeout(60):
        while (await outbox.stats()).rows:
            await asyncio.sleep(0.05)


def _backlog(folder: Path) -> float:
    """Seconds from the first session to the last acknowledgement."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    first = int(start.timestamp() * 1_000)

    async def fill(outbox: Outbox) -> int:
        for minute in range(_MINUTES):
            at = first + 60_000 * minute
            points = [Point(f"m-{n:03}", "energy_import_total", at + n, minute) for n in range(_METERS)]
            await asyncio.gather(
                *(outbox.put(Up.READINGS, encode_body(points[k : k + _BATCH])) for k in range(0, _METERS, _BATCH))
            )
        return _METERS * _MINUTES

    return _in_database(folder, lambda dsn: drained(folder, dsn, _METERS, start, fill))


def _in_database(folder: Path, work: Callable[[str], float]) -> float:
    given = os.environ.get("GATEMETER_TEST_DSN")
    if given is not None:
        return work(fresh_database(given))
    with EmbeddedPostgres(folder / "pg") as server:
        return work(server.create_database("bench"))


async def _no_command(command: Command) -> CommandOutcome:
    raise AssertionError(f"nobody sent a command, but here is {command}")
