"""One MQTT session: sends what waits in the outbox, receives acknowledgements, hands commands on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiomqtt
import structlog
from paho.mqtt.reasoncodes import ReasonCode

from gateway.contract import codec, topics
from gateway.contract.errors import ContractError
from gateway.contract.topics import Down, Up
from gateway.outbox import Outbox, OutboxFull, Row
from gateway.uplink.connection import UplinkClient
from gateway.uplink.window import Window

_URGENT: Final = (Up.RESULTS, Up.PASSAGES, Up.CONFIGURATIONS)
"""People wait for these at a barrier: they overtake a backlog of readings."""
_BULK: Final = (Up.READINGS, Up.HEALTH, Up.GAPS)
_BODY_BYTES_AT_ONCE: Final = 1 << 20
"""Handed to the connection before it gets a chance to write and to hear."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LinkCounters:
    """Traffic with the cloud since the gateway started, in batches unless named otherwise."""

    sessions: int = 0
    sent: int = 0
    resent: int = 0
    accepted: int = 0
    rejected: int = 0
    foreign_acks: int = 0
    """Acknowledgement messages for another outbox file: of a predecessor, or forged."""
    malformed: int = 0
    """Messages from the cloud that break the contract."""


@dataclass(frozen=True, slots=True)
class Address:
    """Who this gateway is."""

    project: str
    gateway: str


class Session:
    """Lives as long as one connection. What was on its way when it died is sent anew by the next one."""

    def __init__(
        self,
        client: UplinkClient,
        address: Address,
        outbox: Outbox,
        window: Window,
        counters: LinkCounters,
        on_order: Callable[[Down, bytes], None],
    ) -> None:
        """`on_order` takes commands, configurations, what is said of vehicles and of the time."""
        self.answered = False
        """Whether the cloud acknowledged anything in this session."""
        self._client = client
        self._address = address
        self._outbox = outbox
        self._window = window
        self._counters = counters
        self._on_order = on_order
        self._sent_up_to: dict[tuple[Up, ...], int] = {_URGENT: -1, _BULK: -1}
        self._topics = {kind: topics.up(address.project, address.gateway, kind) for kind in Up}
        self._stopping = False

    async def run(self) -> None:
        """Serves until the connection dies (raises a group with MqttError) or, after `stop`, nothing waits."""
        async with asyncio.TaskGroup() as tasks:
            receiver = tasks.create_task(self._receive())
            await self._send()
            receiver.cancel()

    def stop(self) -> None:
        """Lets `run` return as soon as everything is acknowledged."""
        self._stopping = True
        self._outbox.arrived.set()

    async def subscribe(self) -> None:
        """Comes before `run`: from here on the cloud is heard. Raises MqttError, also when the broker refuses."""
        topic = topics.all_down(self._address.project, self._address.gateway)
        for code in await self._client.subscribe(topic, qos=1):
            if code.is_failure if isinstance(code, ReasonCode) else code >= 128:
                raise aiomqtt.MqttError(f"the broker refuses the subscription to {topic}")

    async def _send(self) -> None:
        while True:
            self._outbox.arrived.clear()
            for row in self._window.due(_now()):
                self._counters.resent += 1
                await self._publish(row)
            handed_over = 0
            for row in await self._next_rows():
                self._window.send(row, _now())
                self._counters.sent += 1
                await self._publish(row)
                handed_over += len(row.kept)
                if handed_over > _BODY_BYTES_AT_ONCE:
                    handed_over = 0
                    await asyncio.sleep(0)
            if self._stopping and not await self._outbox.waiting(0, 1):
                return
            await self._until_something_happens()

    async def _next_rows(self) -> list[Row]:
        """What fits into the window: urgent kinds first, and a quarter of the window is theirs alone."""
        rows = await self._waiting(_URGENT, self._window.free)
        reserved = self._window.size // 4
        return rows + await self._waiting(_BULK, self._window.free - len(rows) - reserved)

    async def _waiting(self, kinds: tuple[Up, ...], limit: int) -> list[Row]:
        if limit <= 0:
            return []
        rows, self._sent_up_to[kinds] = await self._outbox.look(self._sent_up_to[kinds], limit, kinds)
        return rows

    async def _until_something_happens(self) -> None:
        due = self._window.next_due()
        try:
            async with asyncio.timeout_at(due):
                await self._outbox.arrived.wait()
        except TimeoutError:
            return

    async def _publish(self, row: Row) -> None:
        try:
            payload = codec.encode_envelope(self._outbox.epoch, row.seq, row.created_at, row.kept)
        except ContractError as error:
            _log.error("batch cannot be sent, parked", seq=row.seq, reason=error.reason, detail=error.detail)
            await self._outbox.park([(row.seq, str(error))])
            self._window.settle([row.seq])
            self._outbox.arrived.set()
            return
        self._client.post(self._topics[row.kind], payload)

    async def _receive(self) -> None:
        async for message in self._client.messages:
            kind = message.topic.value.rsplit("/", 1)[-1]
            if kind == Down.ACK:
                await self._settle(message.payload)
            elif kind in (Down.COMMAND, Down.CONFIG, Down.ACCESS, Down.TIME):
                self._on_order(Down(kind), message.payload)

    async def _settle(self, payload: bytes) -> None:
        try:
            ack = codec.decode_ack(payload)
        except ContractError as error:
            self._counters.malformed += 1
            _log.warning("malformed acknowledgement", reason=error.reason, detail=error.detail)
            return
        if ack.epoch != self._outbox.epoch:
            self._counters.foreign_acks += 1
            return
        self.answered = True
        refused = [(rejection.seq, rejection.reason) for rejection in ack.rejected]
        self._outbox.accept(ack.accepted)
        if refused:
            try:
                await self._outbox.park(refused)
            except OutboxFull:
                # The rows stay, are sent again and refused again: a disk with room takes note then.
                _log.warning("no room on disk to note a refusal")
                refused = []
        self._window.settle(ack.accepted)
        self._window.settle(seq for seq, _ in refused)
        self._counters.accepted += len(ack.accepted)
        self._counters.rejected += len(refused)
        for seq, reason in refused:
            _log.error("batch refused by the cloud, parked", seq=seq, reason=reason)
        self._outbox.arrived.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
