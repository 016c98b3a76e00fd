"""Both brokers keep passwords and topics apart and carry batches of realistic size."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from simulators.broker import BrokerProcess, barrier_client, gateway_client, ingest_client
from simulators.broker.engines import Engine, find_mosquitto

UP = "gm/v1/demo/gw-1/up/readings"
DOWN = "gm/v1/demo/gw-1/down/ack"
PASSWORDS = {"demo.gw-1": "one", "demo.gw-2": "two", "cloud.ingest": "three", "barriers": "four"}


@pytest.fixture(params=list(Engine))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    if request.param is Engine.MOSQUITTO:
        assert find_mosquitto() is not None, "mosquitto is not installed: make system"
    clients = [
        gateway_client("demo", "gw-1", PASSWORDS["demo.gw-1"]),
        gateway_client("demo", "gw-2", PASSWORDS["demo.gw-2"]),
        ingest_client(PASSWORDS["cloud.ingest"]),
        barrier_client("barriers", PASSWORDS["barriers"], "barriers"),
    ]
    with BrokerProcess(tmp_path / "broker", clients, engine=request.param) as running:
        yield running


@asynccontextmanager
async def connected(broker: BrokerProcess, username: str, password: str | None = None) -> AsyncIterator[aiomqtt.Client]:
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        username=username,
        password=PASSWORDS[username] if password is None else password,
        identifier=f"t-{secrets.token_hex(4)}",
        protocol=aiomqtt.ProtocolVersion.V311,
    )
    async with client:
        yield client


async def received(client: aiomqtt.Client, count: int) -> list[tuple[str, bytes]]:
    got: list[tuple[str, bytes]] = []
    async with asyncio.timeout(60):
        async for message in client.messages:
            assert isinstance(message.payload, bytes | bytearray)
            got.append((message.topic.value, bytes(message.payload)))
            if len(got) == count:
                break
    return got


async def test_a_batch_goes_up_and_its_acknowledgement_comes_down(broker: BrokerProcess) -> None:
    batch = secrets.token_bytes(30_000)
    async with connected(broker, "cloud.ingest") as ingest, connected(broker, "demo.gw-1") as gateway:
        await ingest.subscribe("gm/v1/+/+/up/+", qos=1)
        await gateway.subscribe("gm/v1/demo/gw-1/down/+", qos=1)
        await gateway.publish(UP, batch, qos=1)
        assert await received(ingest, 1) == [(UP, batch)]
        await ingest.publish(DOWN, b"[1]", qos=1)
        assert await received(gateway, 1) == [(DOWN, b"[1]")]


async def test_a_wrong_password_is_refused(broker: BrokerProcess) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with connected(broker, "demo.gw-1", "guessed"):
            pass
    with pytest.raises(aiomqtt.MqttError):
        async with connected(broker, "nobody", ""):
            pass


async def test_a_gateway_hears_nothing_of_another(broker: BrokerProcess) -> None:
    async with (
        connected(broker, "cloud.ingest") as ingest,
        connected(broker, "demo.gw-1") as one,
        connected(broker, "demo.gw-2") as two,
    ):
        await one.subscribe("gm/v1/demo/gw-1/down/+", qos=1)
        # A broker may refuse these at once or grant them and deliver nothing; both keep the other's messages away.
        for foreign in ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/+/down/+", "#", "barriers/#"):
            await two.subscribe(foreign, qos=1)
        await two.subscribe("gm/v1/demo/gw-2/down/+", qos=1)
        await ingest.publish(DOWN, b"[1]", qos=1)
        assert await received(one, 1) == [(DOWN, b"[1]")]
        await ingest.publish("gm/v1/demo/gw-2/down/ack", b"[2]", qos=1)
        assert await received(two, 1) == [("gm/v1/demo/gw-2/down/ack", b"[2]")]


async def test_nobody_publishes_in_the_name_of_another(broker: BrokerProcess) -> None:
    async with connected(broker, "cloud.ingest") as ingest:
        await ingest.subscribe("gm/v1/+/+/up/+", qos=1)
        for username in ("demo.gw-2", "barriers"):
            try:
                async with connected(broker, username) as forger:
                    await forger.publish(UP, b"forged", qos=1)
            except aiomqtt.MqttError:
                continue  # refused by closing the connection
        async with connected(broker, "demo.gw-1") as gateway:
            await gateway.publish(UP, b"true", qos=1)
        assert await received(ingest, 1) == [(UP, b"true")]


async def test_the_address_outlives_a_power_cut(broker: BrokerProcess) -> None:
    broker.kill()
    assert not broker.accepts()
    broker.start()
    async with connected(broker, "demo.gw-1") as gateway:
        await gateway.publish(UP, b"x", qos=1)
