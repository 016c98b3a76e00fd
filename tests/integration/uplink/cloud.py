"""The cloud's end of the wire for tests of the gateway: remembers what came, acknowledges as told, commands."""

import asyncio
import contextlib
import secrets
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiomqtt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract import WIRE_VERSION, codec, topics
from gateway.contract.configuration import Configuration, ConfigurationReport
from gateway.contract.messages import (
    Ack,
    Action,
    Command,
    CommandResult,
    Envelope,
    Passage,
    Rejection,
)
from gateway.contract.signing import signed
from gateway.contract.topics import Down, Up
from gateway.tasks import end
from tests.integration.broker import Mosquitto
from tests.signing import public_key, signer

PROJECT = "demo"
GATEWAY = "gw-1"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Cloud:
    """Acknowledges each batch with `answer(envelope)`; None means silence."""

    def __init__(self, broker: Mosquitto) -> None:
        self.received: Counter[int] = Counter()
        self.bodies: dict[int, bytes] = {}
        self.results: list[CommandResult] = []
        self.passages: list[Passage] = []
        self.configurations: list[ConfigurationReport] = []
        self.answer: Callable[[Envelope], Ack | None] = accept
        self.key = Ed25519PrivateKey.generate()
        self.sessions = 0
        self._broker = broker
        self._client: aiomqtt.Client | None = None

    @property
    def keys(self) -> dict[str, str]:
        """What the gateway is configured with."""
        return public_key(self.key)

    async def serve(self) -> None:
        """Reconnects for ever."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with self._broker.client() as client:
                    await client.subscribe(topics.all_up(), qos=1)
                    self._client = client
                    self.sessions += 1
                    async for message in client.messages:
                        await self._take(client, message)
            await asyncio.sleep(0.05)

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        kind = topics.parse_up(message.topic.value).kind
        envelope = codec.decode_envelope(message.payload)
        first = envelope.seq not in self.received
        self.received[envelope.seq] += 1
        self.bodies[envelope.seq] = bytes(envelope.body)
        if first and kind is Up.RESULTS:
            self.results += codec.decode_results(envelope.body)
        if first and kind is Up.PASSAGES:
            self.passages += codec.decode_passages(envelope.body)
        if first and kind is Up.CONFIGURATIONS:
            self.configurations += codec.decode_configurations(envelope.body)
        ack = self.answer(envelope)
        if ack is not None:
            # No guard: a broker that died meanwhile answers nobody, and after this the session is begun anew.
            await client.publish(topics.down(PROJECT, GATEWAY, Down.ACK), codec.encode_ack(ack), qos=1, timeout=10.0)

    async def send(self, payload: bytes, kind: Down = Down.COMMAND) -> None:
        """Publishes anything to the gateway."""
        assert self._client is not None
        await self._client.publish(topics.down(PROJECT, GATEWAY, kind), payload, qos=1)

    def command(self, device: str, action: Action = Action.OPEN_BARRIER, **fields: object) -> Command:
        """A signed command; `fields` overrides any field before signing."""
        now = now_ms()
        command = Command(
            version=WIRE_VERSION, id=str(uuid.uuid4()), project=PROJECT, gateway=GATEWAY, device=device, action=action,
            arguments={}, actor="test", issued_at=now, expires_at=now + 30_000, nonce=secrets.token_hex(16),
            key_id="k1",
        )  # fmt: skip
        return self.sign(msgspec.structs.replace(command, **fields))

    def sign(self, command: Command) -> Command:
        return signed(command, signer(self.key))

    def configuration(self, number: int, site: str = "{}", **fields: Any) -> Configuration:
        """A signed configuration; `fields` overrides any field before signing."""
        bare = Configuration(WIRE_VERSION, number, PROJECT, GATEWAY, now_ms(), site, {}, 2, "test", "k1")
        bare = msgspec.structs.replace(bare, **fields)
        return signed(bare, signer(self.key))

    def fates_of(self, number: int) -> list[str]:
        """States reported for a configuration, in order of arrival."""
        return [report.state.value for report in self.configurations if report.number == number and report.proven]

    def states_of(self, command: Command) -> list[str]:
        """States reported for a command, in order of arrival."""
        return [result.state.value for result in self.results if result.command_id == command.id]


def accept(envelope: Envelope) -> Ack:
    return Ack(WIRE_VERSION, envelope.epoch, (envelope.seq,))


def reject(envelope: Envelope, reason: str) -> Ack:
    return Ack(WIRE_VERSION, envelope.epoch, (), (Rejection(envelope.seq, reason),))


@contextlib.asynccontextmanager
async def running_cloud(broker: Mosquitto) -> AsyncIterator[Cloud]:
    """A cloud that listens already."""
    cloud = Cloud(broker)
    serving = asyncio.ensure_future(cloud.serve())
    try:
        while not cloud.sessions:
            await asyncio.sleep(0.01)
        yield cloud
    finally:
        await end(serving)
