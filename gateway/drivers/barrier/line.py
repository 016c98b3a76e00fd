"""The barriers behind one broker: the one place of this driver that does I/O."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

import aiomqtt
import structlog

from gateway.access.decision import AccessState
from gateway.contract.messages import Action, Command, CommandState, DeviceHealth
from gateway.drivers.barrier.dialect import (
    Event,
    MalformedMessage,
    Order,
    Topics,
    decode_event,
    decode_reply,
    encode,
    topics_of,
)
from gateway.drivers.barrier.lane import Answer, Lane
from gateway.drivers.barrier.memory import VisitMemory
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox
from gateway.outbox.outbox import wall_clock_ms
from gateway.tasks import end
from gateway.uplink.connection import new_client
from gateway.uplink.reconnect import Backoff
from gateway.uplink.settings import CredentialsMissing

_EVENTS_QUEUED: Final = 256
_ROUND_TRIPS_KEPT: Final = 64
_MAX_MESSAGE_BYTES: Final = 64 * 1024

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Port:
    """One lane with its topics, its queue of events and what is known of its device."""

    lane: Lane
    topics: Topics
    events: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(_EVENTS_QUEUED))
    last_seen: int = 0
    answers: int = 0
    malformed: int = 0
    round_trips_us: deque[int] = field(default_factory=lambda: deque(maxlen=_ROUND_TRIPS_KEPT))


class BarrierLine:
    """Runs all lanes of one broker. `known` tells what the edge knows of vehicles; `clock` gives Unix milliseconds."""

    def __init__(
        self,
        settings: BarrierLineSettings,
        outbox: Outbox,
        *,
        known: Callable[[], AccessState] = AccessState,
        clock: Callable[[], int] = wall_clock_ms,
        backoff: Backoff | None = None,
    ) -> None:
        self.connected = False
        self.malformed = 0
        """Messages that no lane could be blamed for."""
        self._settings = settings
        # Unique on a broker that several gateways share, and the same again after a restart.
        self._identifier = f"gm-{settings.name}-{outbox.epoch}"
        self._clock = clock
        self._backoff = backoff or Backoff(limit_s=10.0)
        self._stopping = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self._awaited: dict[str, asyncio.Future[int]] = {}
        memory = VisitMemory(outbox)
        self._ports = [
            _Port(Lane(lane, settings, memory, self._give, known, clock), topics_of(settings.prefix, lane.sn))
            for lane in settings.lanes
        ]
        self._by_device = {port.lane.settings.device: port for port in self._ports}
        self._by_event = {port.topics.event: port for port in self._ports}
        self._by_reply = {port.topics.reply: port for port in self._ports}

    @property
    def devices(self) -> frozenset[str]:
        """Codes of the lanes, for the dispatch of commands."""
        return frozenset(self._by_device)

    async def run(self) -> None:
        """Runs until `stop` or cancellation; survives the loss of the broker. Raises OutboxError when that fails."""
        async with asyncio.TaskGroup() as tasks:
            for port in self._ports:
                await port.lane.open(tasks)
            serving = [tasks.create_task(self._work(port)) for port in self._ports]
            serving.append(tasks.create_task(self._stay_connected()))
            await self._stopping.wait()
            for port in self._ports:
                await port.events.join()
                port.lane.close()
            await end(*serving)

    def stop(self) -> None:
        """Takes no more events and lets `run` return when those at hand are dealt with."""
        self._stopping.set()

    async def execute(self, command: Command) -> CommandOutcome:
        """Carries out OPEN_BARRIER or CLOSE_BARRIER; `arguments["passage"]` names the vehicle that it is for."""
        port = self._by_device.get(command.device)
        if port is None:
            return CommandOutcome(CommandState.FAILED, f"no lane {command.device} on this line")
        return await port.lane.execute(command)

    def health(self) -> tuple[DeviceHealth, ...]:
        """State of every lane's device since the gateway started."""
        return tuple(
            DeviceHealth(
                device,
                port.last_seen,
                port.answers,
                port.lane.counters.lost_answers,
                port.lane.counters.refused_orders,
                port.malformed,
                median_low(port.round_trips_us) if port.round_trips_us else 0,
                (Action.OPEN_BARRIER, Action.CLOSE_BARRIER),
            )
            for device, port in self._by_device.items()
        )

    async def _work(self, port: _Port) -> None:
        while True:
            event = await port.events.get()
            try:
                await port.lane.handle(event)
            finally:
                port.events.task_done()

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._session()
            except (aiomqtt.MqttError, CredentialsMissing) as error:
                _log.warning("barrier broker lost", line=self._settings.name, reason=str(error))
            finally:
                self._client = None
                self.connected = False
            await asyncio.sleep(self._backoff.next_wait())

    async def _session(self) -> None:
        # A clean session: an event that waited in the broker while the gateway was away must not open anything.
        async with new_client(self._settings.broker, self._identifier) as client:
            for topic in (*self._by_event, *self._by_reply):
                await client.subscribe(topic, qos=1)
            self._client = client
            self.connected = True
            self._backoff.succeeded()
            async for message in client.messages:
                if not message.retain:
                    self._take(message.topic.value, message.payload)

    def _take(self, topic: str, payload: bytes) -> None:
        port = self._by_event.get(topic) or self._by_reply.get(topic)
        if port is None:
            self.malformed += 1
            return
        try:
            if len(payload) > _MAX_MESSAGE_BYTES:
                raise MalformedMessage(f"{len(payload)} bytes, at most {_MAX_MESSAGE_BYTES}")
            if topic == port.topics.event:
                if self._stopping.is_set():
                    return
                port.events.put_nowait(decode_event(payload))
            else:
                self._answered(port, payload)
        except (MalformedMessage, asyncio.QueueFull) as error:
            port.malformed += 1
            _log.warning("barrier message ignored", topic=topic, reason=str(error) or "too many events waiting")
            return
        port.last_seen = self._clock()

    def _answered(self, port: _Port, payload: bytes) -> None:
        reply = decode_reply(payload)
        waiting = self._awaited.get(reply.id)
        if waiting is None or waiting.done():
            raise MalformedMessage(f"answer to {reply.id}, which nobody waits for")
        if reply.code != 0:
            _log.warning("barrier refused", lane=port.lane.settings.device, code=reply.code, detail=reply.detail)
        waiting.set_result(reply.code)

    async def _give(self, lane: LaneSettings, order: Order) -> Answer:
        """Sends one order and waits for its answer, `answer_s` at most."""
        client, port = self._client, self._by_device[lane.device]
        if client is None:
            return Answer.OFFLINE
        started = time.monotonic_ns()
        answer = self._awaited[order.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._settings.answer_s):
                with contextlib.suppress(aiomqtt.MqttError):  # whether it left is not known then
                    await client.publish(port.topics.command, encode(order), qos=1)
                code = await answer
        except TimeoutError:
            return Answer.LOST
        finally:
            del self._awaited[order.id]
        port.answers += 1
        port.round_trips_us.append((time.monotonic_ns() - started) // 1000)
        return Answer.DONE if code == 0 else Answer.REFUSED
