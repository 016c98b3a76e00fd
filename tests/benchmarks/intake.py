"""The ingest worker itself: ready-made messages from the broker to COMMIT and acknowledgement, beside raw binary COPY.

The messages are encoded before the clock starts and published by a process that does nothing else, with at most
`_WINDOW` unacknowledged ones. Each run proves that every message is acknowledged and every reading stored once.
"""

import multiprocessing
import os
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.migrate import migrate
from gateway.contract import codec, topics
from gateway.contract.messages import Point
from gateway.contract.topics import Down, Up
from tests.acceptance.system import GATEWAY, PASSWORDS, PROJECT, running_system
from tests.benchmarks.ingest import METERS, copy_rate, fresh_database, listen, set_up
from tests.benchmarks.measure import Measure

POINTS: Final = 1_000_000
"""Fewer are stored within a second, and then one checkpoint more or less is half of the result."""
_BATCH: Final = 200
_WINDOW: Final = 512
_LIMIT_S: Final = 300.0
_EPOCH: Final = str(uuid.UUID(int=1))


def run() -> list[Measure]:
    """New readings, all of them again, and by two workers; COPY before and after, the better one counts."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return _measure(Path(folder), fresh_database(given))
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return _measure(Path(folder), server.create_database("bench"))


def _measure(folder: Path, dsn: str) -> list[Measure]:
    migrate(dsn)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=20)
    with running_system(folder, dsn, {}) as system:
        meters = set_up(dsn, METERS)
        copies = [copy_rate(dsn, meters, start - timedelta(days=60), POINTS)]
        listen(folder, system)
        port = system.broker.port
        new = _publish(port, start)
        _prove(dsn, start)
        again = _publish(port, start)
        _prove(dsn, start)
        system.stop("ingest")
        later = start + timedelta(days=9)
        ready = folder / "fleet"
        environment = {"GATEMETER_INGEST_READY_FILE": str(ready)}
        system.start("fleet", "ingest", "run", "--workers", "2", environment=environment)
        deadline = time.monotonic() + 30
        while not all(Path(f"{ready}.{n}").exists() for n in range(2)):
            assert time.monotonic() < deadline, system.log("fleet")
            time.sleep(0.05)
        two = _publish(port, later)
        _prove(dsn, later)
        system.stop("fleet")
        copies.append(copy_rate(dsn, meters, start - timedelta(days=90), POINTS))
    reference = max(copies)
    copy, one = "binary COPY, same table", f"broker to COMMIT and ack, {POINTS:,} readings, one worker"
    return [
        Measure(one, POINTS / new, copy, reference, "readings", 0.5),
        Measure("the same readings again, one worker", POINTS / again, "the first time", POINTS / new, "readings", 0.5),
        Measure("broker to COMMIT and ack, two workers", POINTS / two, copy, reference, "readings"),
    ]  # fmt: skip


def _messages(start: datetime) -> list[bytes]:
    first, made = int(start.timestamp() * 1000), time.time_ns() // 1_000_000
    points = [
        Point(f"m-{meter:03}", "energy_import_total", first + minute * 60_000, minute)
        for minute in range(POINTS // METERS)
        for meter in range(METERS)
    ]
    bodies = (codec.encode_body(points[at : at + _BATCH]) for at in range(0, POINTS, _BATCH))
    return [codec.encode_envelope(_EPOCH, seq, made, body) for seq, body in enumerate(bodies, start=1)]


def _publish(port: int, start: datetime) -> float:
    """Seconds from the first message published to the last acknowledgement, measured in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.SimpleQueue()
    process = spawn.Process(target=_send_all, args=(port, _messages(start), results))
    process.start()
    process.join(_LIMIT_S)
    if process.exitcode != 0:
        process.kill()
        raise AssertionError(f"the publisher ended with {process.exitcode}: not everything was acknowledged")
    return float(results.get())


def _send_all(port: int, payloads: list[bytes], results: Any) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    client.username_pw_set(f"{PROJECT}.{GATEWAY}", PASSWORDS["gateway"])
    client.max_inflight_messages_set(_WINDOW)
    accepted: set[int] = set()
    room, done, subscribed = threading.Semaphore(_WINDOW), threading.Event(), threading.Event()

    def take(_client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        for seq in codec.decode_ack(bytes(message.payload)).accepted:
            if seq not in accepted:
                accepted.add(seq)
                room.release()
        if len(accepted) == len(payloads):
            done.set()

    client.on_message = take
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(topics.down(PROJECT, GATEWAY, Down.ACK), 1)
    assert subscribed.wait(10)
    topic = topics.up(PROJECT, GATEWAY, Up.READINGS)
    began = time.perf_counter()
    for payload in payloads:
        assert room.acquire(timeout=60)
        client.publish(topic, payload, qos=1)
    assert done.wait(60), f"{len(accepted)} of {len(payloads)} acknowledged"
    results.put(time.perf_counter() - began)
    client.disconnect()


def _prove(dsn: str, start: datetime) -> None:
    until = start + timedelta(minutes=POINTS // METERS)
    with psycopg.connect(dsn) as conn:
        query = "SELECT count(*) FROM store.reading WHERE taken_at >= %s AND taken_at < %s"
        stored = conn.execute(query, (start, until)).fetchone()
        revised = conn.execute("SELECT count(*) FROM store.reading_revision").fetchone()
    if stored != (POINTS,) or revised != (0,):
        raise AssertionError(f"{POINTS} readings were sent, {stored} are stored, {revised} revised")
