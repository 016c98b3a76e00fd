"""The ingest process on a real broker and database: killed, cut off, stopped; nothing lost, nothing twice."""

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import aiomqtt
import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from cloud.devices import service as devices
from cloud.ingest.process import Worker
from cloud.ingest.settings import Broker, IngestSettings
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from cloud.kit.tasks import end
from gateway.contract import codec, topics
from gateway.contract.messages import Ack, Action, Command, CommandResult, CommandState
from gateway.contract.signing import covered
from gateway.contract.topics import Down, Up
from tests.integration.broker import Mosquitto, mosquitto
from tests.integration.metering.site import EPOCH, Site, hourly, make_site, now_ms, payload

__all__ = ["mosquitto"]

READINGS = topics.up("demo", "gw-1", Up.READINGS)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


class Edge:
    """A gateway's end: sends, and remembers what was acknowledged and commanded."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.accepted: list[int] = []
        self.rejected: dict[int, str] = {}
        self.commands: list[Command] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            if message.topic.value.endswith(Down.ACK):
                ack: Ack = codec.decode_ack(message.payload)
                assert ack.epoch == EPOCH
                self.accepted += ack.accepted
                self.rejected |= {one.seq: one.reason for one in ack.rejected}
            else:
                self.commands.append(codec.decode_command(message.payload))

    async def send(self, seq: int) -> None:
        await self.client.publish(READINGS, payload(seq, hourly("m1", seq, [seq * 10])), qos=1)

    async def send_until_accepted(self, seqs: range) -> None:
        """As an outbox does: again and again what is not acknowledged."""

        async def again() -> bool:
            for seq in seqs:
                if seq not in self.accepted:
                    await self.send(seq)
            await asyncio.sleep(0.1)
            return set(seqs) <= set(self.accepted)

        await eventually(again)


@pytest.fixture
async def edge(mosquitto: Mosquitto) -> AsyncIterator[Edge]:
    async with mosquitto.client() as client:
        await client.subscribe(topics.all_down("demo", "gw-1"), qos=1)
        edge = Edge(client)
        listening = asyncio.create_task(edge.listen())
        yield edge
        await end(listening)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(db: Database, mosquitto: Mosquitto, tmp_path: Path, keys: Keys | None = None) -> AsyncIterator[None]:
    """A worker in this process that listens already."""
    ready, stop = tmp_path / "ready", asyncio.Event()
    settings = IngestSettings(ready_file=ready)
    working = asyncio.create_task(Worker(db, Broker(mosquitto.host, mosquitto.port), settings, keys).run(stop))

    async def is_ready() -> bool:
        return ready.exists()

    await eventually(is_ready)
    try:
        yield
    finally:
        stop.set()
        await working


def refusals() -> float:
    """How often the database refused a group in this process."""
    return REGISTRY.get_sample_value("gatemeter_ingest_groups_total", {"outcome": "retried"}) or 0.0


async def values(db: Database) -> list[int]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT value FROM store.reading ORDER BY taken_at")).fetchall()
    return [row["value"] for row in rows]


async def test_a_batch_is_acknowledged_when_it_is_committed(
    worker_db: Database, ingest_db: Database, mosquitto: Mosquitto, site: Site, edge: Edge, tmp_path: Path
) -> None:
    async with running(ingest_db, mosquitto, tmp_path):
        await edge.send_until_accepted(range(1, 6))
        assert await values(worker_db) == [10, 20, 30, 40, 50]
        await edge.client.publish(READINGS, b'[7,"' + EPOCH.encode() + b'",99]', qos=1)

        async def is_rejected() -> bool:
            return edge.rejected == {99: "unknown-version"}

        await eventually(is_rejected)
    async with worker_db.transaction(SYSTEM) as conn:
        jobs = await (await conn.execute("SELECT kind FROM job")).fetchall()
    assert [job["kind"] for job in jobs] == ["metering.derive-usage"]


async def test_broker_and_database_may_go_away(
    owner_dsn: str, server_dsn: str, mosquitto: Mosquitto, site: Site, tmp_path: Path
) -> None:
    name = sql.Identifier(str(conninfo_to_dict(owner_dsn)["dbname"]))
    async with Database(owner_dsn, "gatemeter_ingest", max_size=3, timeout_s=1) as db:
        async with running(db, mosquitto, tmp_path):
            mosquitto.kill()
            await mosquitto.start()
            async with mosquitto.client() as client:
                await client.subscribe(topics.all_down("demo", "gw-1"), qos=1)
                edge = Edge(client)
                listening = asyncio.create_task(edge.listen())
                await edge.send_until_accepted(range(1, 4))
                with psycopg.connect(server_dsn, autocommit=True) as owner:
                    owner.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
                    owner.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                        (conninfo_to_dict(owner_dsn)["dbname"],),
                    )
                    for seq in range(4, 8):
                        await edge.send(seq)
                    before = refusals()

                    async def refused_again(before: float = before) -> bool:
                        return refusals() > before

                    await eventually(refused_again)
                    assert max(edge.accepted) == 3
                    owner.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
                await edge.send_until_accepted(range(4, 8))
                await end(listening)
        assert await values(db) == [10, 20, 30, 40, 50, 60, 70]


@pytest.mark.slow
async def test_killed_at_any_moment_nothing_is_lost_or_twice(
    owner_dsn: str, worker_db: Database, mosquitto: Mosquitto, site: Site, edge: Edge, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    Keys.generate().save(keys)
    ready = tmp_path / "ready"
    environment = {
        **os.environ,
        "GATEMETER_DATABASE_DSN": owner_dsn,
        "GATEMETER_KEYS_FILE": str(keys),
        "GATEMETER_BROKER_HOST": mosquitto.host,
        "GATEMETER_BROKER_PORT": str(mosquitto.port),
        "GATEMETER_INGEST_READY_FILE": str(ready),
    }
    command = [sys.executable, "-c", "from cloud.ingest.commands import app; app()", "run"]

    async def is_ready() -> bool:
        return ready.exists()

    first = 1
    for ending in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        ready.unlink(missing_ok=True)
        process = subprocess.Popen(command, env=environment)
        try:
            await eventually(is_ready)
            for seq in range(first, first + 300):
                await edge.send(seq)

            async def some_accepted(first: int = first) -> bool:
                return any(seq >= first for seq in edge.accepted)

            await eventually(some_accepted)
        finally:
            process.send_signal(ending)
            code = process.wait(timeout=60)
        assert code == (0 if ending == signal.SIGTERM else -signal.SIGKILL)
        first += 300
    ready.unlink(missing_ok=True)
    process = subprocess.Popen(command, env=environment)
    try:
        await eventually(is_ready)
        await edge.send_until_accepted(range(1, first))
        assert await values(worker_db) == [seq * 10 for seq in range(1, first)]
    finally:
        process.terminate()
        process.wait(timeout=60)


async def test_a_command_is_signed_published_and_moves_forward(
    worker_db: Database, ingest_db: Database, mosquitto: Mosquitto, site: Site, edge: Edge, tmp_path: Path
) -> None:
    keys = Keys.generate()

    async def queue(seconds: int) -> str:
        async with worker_db.transaction(SYSTEM) as conn:
            found = await devices.queue_command(
                conn, site.project_id, site.devices[0], Action.READ_NOW, {}, "ann", "asked",
                timedelta(seconds=seconds),
            )  # fmt: skip
        return str(found)

    async def state(command_id: str) -> str:
        async with worker_db.transaction(SYSTEM) as conn:
            return (await devices.get_command(conn, uuid.UUID(command_id))).state

    async with running(ingest_db, mosquitto, tmp_path, keys):
        wanted = await queue(60)

        async def published_twice() -> bool:
            return len(edge.commands) >= 2

        await eventually(published_twice)
        command = edge.commands[0]
        keys.command_signer().public_key().verify(base64.b64decode(command.signature), covered(command))
        assert (command.id, command.device, command.action, command.arguments) == (
            wanted, "m1", Action.READ_NOW, {},
        )  # fmt: skip

        for seq, reported in ((1, CommandState.DONE), (2, CommandState.DELIVERED)):
            body = codec.encode_body([CommandResult(wanted, reported, now_ms(), "")])
            topic = topics.up("demo", "gw-1", Up.RESULTS)
            await edge.client.publish(topic, codec.encode_envelope(EPOCH, seq, now_ms(), body), qos=1)

        async def both_taken() -> bool:
            return {1, 2} <= set(edge.accepted)

        await eventually(both_taken)
        assert await state(wanted) == "done"

        unanswered = await queue(1)

        async def is_expired() -> bool:
            return await state(unanswered) == "expired"

        await eventually(is_expired)


async def test_two_workers_share_the_messages_and_one_may_die(
    owner_dsn: str, worker_db: Database, mosquitto: Mosquitto, site: Site, edge: Edge, tmp_path: Path
) -> None:
    keys, ready = tmp_path / "keys.json", tmp_path / "ready"
    Keys.generate().save(keys)
    environment = {
        **os.environ,
        "GATEMETER_DATABASE_DSN": owner_dsn,
        "GATEMETER_KEYS_FILE": str(keys),
        "GATEMETER_BROKER_HOST": mosquitto.host,
        "GATEMETER_BROKER_PORT": str(mosquitto.port),
        "GATEMETER_INGEST_READY_FILE": str(ready),
    }
    fleet = subprocess.Popen([sys.executable, "-m", "cloud.cli", "ingest", "run", "--workers", "2"], env=environment)
    children = Path(f"/proc/{fleet.pid}/task/{fleet.pid}/children")

    async def both_listen() -> bool:
        return all(Path(f"{ready}.{n}").exists() for n in range(2))

    try:
        await eventually(both_listen)
        for seq in range(1, 201):
            await edge.send(seq)

        async def some_accepted() -> bool:
            return bool(edge.accepted)

        await eventually(some_accepted)
        victim = int(children.read_text().split()[0])
        os.kill(victim, signal.SIGKILL)
        await edge.send_until_accepted(range(1, 401))
        assert await values(worker_db) == [seq * 10 for seq in range(1, 401)]

        async def two_again() -> bool:
            alive = children.read_text().split()
            return len(alive) == 2 and str(victim) not in alive

        await eventually(two_again)
    finally:
        fleet.terminate()
        assert fleet.wait(timeout=60) == 0
