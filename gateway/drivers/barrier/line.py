"""The barriers behind one broker: the one place of this driver that does I/O."""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

import aiomqtt
import msgspec
import structlog

from gateway.access.book import AccessBook
from gateway.contract.messages import Action, Command, CommandState, DeviceHealth
from gateway.drivers.barrier.answers import OUTCOMES, Answer
from gateway.drivers.barrier.dialect import GenericDialect
from gateway.drivers.barrier.events import (
    CannotSay,
    Dialect,
    Event,
    KeepAlive,
    Listing,
    MalformedMessage,
    Order,
    Recognised,
    Reply,
)
from gateway.drivers.barrier.lane import Lane
from gateway.drivers.barrier.memory import VisitMemory
from gateway.drivers.barrier.pictures import Pictures
from gateway.drivers.barrier.sending import NotTaken, put_picture
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings
from gateway.drivers.barrier.showing import due_of, shows_due
from gateway.drivers.barrier.vzenith import VzenithDialect
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox, OutboxError
from gateway.outbox.outbox import wall_clock_ms
from gateway.tasks import end
from gateway.uplink.connection import UplinkClient, new_client
from gateway.uplink.reconnect import Backoff
from gateway.uplink.settings import CredentialsMissing

_EVENTS_QUEUED: Final = 256
_ROUND_TRIPS_KEPT: Final = 64
_PICTURES_QUEUED: Final = 8
"""Events of a lane that may wait with their pictures; of more the pictures are left out."""
_CLOCK_OFF_MS: Final = 5_000
_CLOCK_EVERY_S: Final = 600.0
_CLOCK_ORDER: Final = "set-clock"

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Port:
    """One lane with its topics, its queue of events and what is known of its device."""

    lane: Lane
    dialect: Dialect
    events: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(_EVENTS_QUEUED))
    last_seen: int = 0
    heard_at: float | None = None
    """Monotonic, of the last message; None when nothing was ever heard."""
    lost: bool = False
    clock_set_at: float | None = None
    shown: int = 0
    """When the cloud gave the order whose amount is shown, Unix milliseconds."""
    answers: int = 0
    malformed: int = 0
    failed: int = 0
    """Events on which this software failed."""
    round_trips_us: deque[int] = field(default_factory=lambda: deque(maxlen=_ROUND_TRIPS_KEPT))


class BarrierLine:
    """Runs all lanes of one broker. `book` is what the edge knows of vehicles; `clock` gives Unix milliseconds.

    `reached` gives a time that has certainly come, by which vehicles are forgotten: `clock` when there is none.
    """

    def __init__(
        self,
        settings: BarrierLineSettings,
        outbox: Outbox,
        *,
        book: AccessBook | None = None,
        pictures: Pictures | None = None,
        clock: Callable[[], int] = wall_clock_ms,
        reached: Callable[[], int] | None = None,
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
        self._client: UplinkClient | None = None
        self._awaited: dict[str, asyncio.Future[Reply]] = {}
        self._memory = VisitMemory(outbox, reached or clock)
        self._book = AccessBook() if book is None else book
        self._pictures = pictures
        self._ports = [self._port(lane) for lane in settings.lanes]
        self._by_device = {port.lane.settings.device: port for port in self._ports}
        self._by_topic = {topic: port for port in self._ports for topic in port.dialect.listens}

    @property
    def devices(self) -> frozenset[str]:
        """Codes of the lanes, for the dispatch of commands."""
        return frozenset(self._by_device)

    @property
    def lost(self) -> frozenset[str]:
        """Codes of the lanes whose devices were heard of and are not any more."""
        return frozenset(device for device, port in self._by_device.items() if port.lost)

    def _port(self, lane: LaneSettings) -> _Port:
        prefix = self._settings.prefix_of(lane)
        dialect: Dialect = GenericDialect(prefix, lane.sn)
        if lane.dialect == "vzenith":
            dialect = VzenithDialect(prefix, lane.sn, lane.vzenith)
        later = dialect.sends_pictures_later
        give, clock = self._give, self._clock
        return _Port(Lane(lane, self._settings, self._memory, give, self._book, clock, self._pictures, later), dialect)

    async def run(self) -> None:
        """Runs until `stop` or cancellation; survives the loss of the broker. Raises OutboxError when that fails."""
        async with asyncio.TaskGroup() as tasks:
            for port in self._ports:
                await port.lane.open(tasks)
            serving = [tasks.create_task(self._work(port)) for port in self._ports]
            serving.append(tasks.create_task(self._stay_connected()))
            serving.append(tasks.create_task(self._miss()))
            await self._stopping.wait()
            for port in self._ports:
                await port.events.join()
                port.lane.close()
            await end(*serving)

    def stop(self) -> None:
        """Takes no more events and lets `run` return when those at hand are dealt with."""
        self._stopping.set()

    async def execute(self, command: Command) -> CommandOutcome:
        """Carries out what a barrier can be told; `arguments["passage"]` names the vehicle that it is for."""
        port = self._by_device.get(command.device)
        if port is None:
            return CommandOutcome(CommandState.FAILED, f"no lane {command.device} on this line")
        if command.action is Action.SEND_PICTURE:
            return await self._send_picture(command.arguments["passage"], command.arguments["link"])
        if command.action is Action.SHOW_DUE:
            return self._show(port, command)
        if command.action in (Action.LIST_PLATE, Action.UNLIST_PLATE):
            listing = Listing(id=command.id, expires_at=command.expires_at, **command.arguments)
            return OUTCOMES[_answer_of(port, await self._ask(port, listing))]
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
                port.malformed + port.failed,
                median_low(port.round_trips_us) if port.round_trips_us else 0,
                self._actions(port),
            )
            for device, port in self._by_device.items()
        )

    def _actions(self, port: _Port) -> tuple[Action, ...]:
        """What a lane can be told."""
        pictures = (Action.SEND_PICTURE,) if self._pictures is not None else ()
        lists = (Action.LIST_PLATE, Action.UNLIST_PLATE) if isinstance(port.dialect, VzenithDialect) else ()
        shows = (Action.SHOW_DUE,) if shows_due(port.dialect, port.lane.settings) else ()
        return (Action.OPEN_BARRIER, Action.CLOSE_BARRIER, *pictures, *lists, *shows)

    def _show(self, port: _Port, command: Command) -> CommandOutcome:
        """Tells the lane's display, which answers nothing; nothing waits for it either.

        Only while that vehicle stands there: the next driver is not shown who was before him, nor an amount of before.
        """
        passage = command.arguments["passage"]
        event_id = port.lane.waiting(passage)
        if not shows_due(port.dialect, port.lane.settings):
            return CommandOutcome(CommandState.FAILED, "not supported: this lane shows nothing")
        if event_id is None:
            return CommandOutcome(CommandState.FAILED, f"passage {passage} does not wait at this lane")
        if command.issued_at < port.shown:
            return CommandOutcome(CommandState.FAILED, "something newer is shown")
        if self._client is None:
            return OUTCOMES[Answer.OFFLINE]
        telegram = port.dialect.encode(due_of(command, event_id, self._clock() - port.lane.device_clock.off))
        try:
            self._client.post(telegram.topic, telegram.payload)
        except aiomqtt.MqttError:
            return OUTCOMES[Answer.OFFLINE]
        port.shown = command.issued_at
        return CommandOutcome(CommandState.DONE)

    async def _send_picture(self, passage: str, link: str) -> CommandOutcome:
        picture = None if self._pictures is None else await self._pictures.read(passage)
        if picture is None:
            return CommandOutcome(CommandState.FAILED, "no picture of this passage is here")
        try:
            await asyncio.to_thread(put_picture, link, picture)
        except NotTaken as error:
            return CommandOutcome(CommandState.FAILED, str(error))
        return CommandOutcome(CommandState.DONE)

    async def _work(self, port: _Port) -> None:
        while True:
            event = await port.events.get()
            try:
                await port.lane.handle(event)
            except OutboxError:
                raise
            except Exception:  # noqa: BLE001 - what is wrong with one event must not end all lanes
                port.failed += 1
                _log.exception("event of a barrier failed", lane=port.lane.settings.device, kind=type(event).__name__)
            finally:
                port.events.task_done()

    async def _miss(self) -> None:
        """Notices devices that fall silent."""
        limit_s = self._settings.lost_after_s
        while True:
            await asyncio.sleep(limit_s / 4)
            for device, port in self._by_device.items():
                if port.heard_at is not None and not port.lost and time.monotonic() - port.heard_at > limit_s:
                    port.lost = True
                    _log.warning("barrier is not heard of", lane=device, seconds=limit_s)

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
            for topic in self._by_topic:
                await client.subscribe(topic, qos=1)
            self._client = client
            self.connected = True
            self._backoff.succeeded()
            async for message in client.messages:
                if not message.retain:
                    self._take(message.topic.value, message.payload)

    def _take(self, topic: str, payload: bytes) -> None:
        port = self._by_topic.get(topic)
        if port is None:
            self.malformed += 1
            return
        try:
            if len(payload) > port.dialect.max_bytes:
                raise MalformedMessage(f"{len(payload)} bytes, at most {port.dialect.max_bytes}")
            heard = port.dialect.decode(topic, payload)
            if isinstance(heard, Reply):
                self._answered(heard)
            elif heard is not None and not self._stopping.is_set():
                self._happened(port, heard)
        except (MalformedMessage, asyncio.QueueFull) as error:
            port.malformed += 1
            _log.warning("barrier message ignored", topic=topic, reason=str(error) or "too many events waiting")
            return
        port.last_seen = self._clock()
        port.heard_at = time.monotonic()
        if port.lost:
            port.lost = False
            _log.info("barrier is heard of again", lane=port.lane.settings.device)

    def _happened(self, port: _Port, event: Event) -> None:
        if isinstance(event, Recognised) and event.picture and port.events.qsize() >= _PICTURES_QUEUED:
            event = msgspec.structs.replace(event, picture=b"")
        if isinstance(event, KeepAlive):
            port.lane.device_clock.hear(event.taken_at)
            self._compare_clocks(port, event)
        port.events.put_nowait(event)

    def _compare_clocks(self, port: _Port, event: KeepAlive) -> None:
        """Sets a clock that is off: what its device tells after an offline spell is billed by it."""
        dialect, now = port.dialect, time.monotonic()
        if not isinstance(dialect, VzenithDialect) or not port.lane.settings.vzenith.set_clock:
            return
        recent = port.clock_set_at is not None and now - port.clock_set_at < _CLOCK_EVERY_S
        if recent or self._client is None or abs(event.taken_at - self._clock()) <= _CLOCK_OFF_MS:
            return
        port.clock_set_at = now
        _log.info("clock of a barrier set", lane=port.lane.settings.device, off_ms=event.taken_at - self._clock())
        telegram = dialect.set_time(_CLOCK_ORDER, self._clock())
        with contextlib.suppress(aiomqtt.MqttError):  # the session ends by itself then
            self._client.post(telegram.topic, telegram.payload)

    def _answered(self, reply: Reply) -> None:
        waiting = self._awaited.get(reply.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)
        elif reply.id != _CLOCK_ORDER:  # for which nobody waits
            raise MalformedMessage(f"answer to {reply.id}, which nobody waits for")

    async def _give(self, lane: LaneSettings, order: Order) -> Answer:
        """Sends one order and waits for its answer, `answer_s` at most.

        It is sent a second time only in other words, and only to a device that said that it does not know the first.
        """
        port = self._by_device[lane.device]
        reply = await self._ask(port, order)
        if isinstance(reply, Reply) and reply.code != 0 and port.dialect.another_way(reply):
            _log.info("barrier does not know the command", lane=lane.device, code=reply.code)
            reply = await self._ask(port, msgspec.structs.replace(order, id=str(uuid.uuid4())))
        return _answer_of(port, reply)

    async def _ask(self, port: _Port, order: Order | Listing) -> Reply | Answer:
        client = self._client
        if client is None or not (_may_wait(port) or self._is_heard(port)):
            return Answer.OFFLINE
        if order.expires_at <= self._clock():
            return Answer.EXPIRED
        try:
            telegram = port.dialect.encode(_by_its_clock(port, order))
        except CannotSay as error:
            _log.warning("barrier cannot be told", lane=port.lane.settings.device, reason=str(error))
            return Answer.REFUSED
        started = time.monotonic_ns()
        answer = self._awaited[order.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._settings.answer_s):
                with contextlib.suppress(aiomqtt.MqttError):  # whether it left is not known then
                    await client.publish(telegram.topic, telegram.payload, qos=telegram.qos)
                reply: Reply = await answer
        except TimeoutError:
            return Answer.LOST
        finally:
            del self._awaited[order.id]
        port.answers += 1
        port.round_trips_us.append((time.monotonic_ns() - started) // 1000)
        return reply

    def _is_heard(self, port: _Port) -> bool:
        return port.heard_at is not None and time.monotonic() - port.heard_at <= self._settings.lost_after_s


def _may_wait(port: _Port) -> bool:
    """Whether the broker may keep an order for a device that is not heard.

    Not where the device is told a later end because its clock is ahead: it may be right when the device is back.
    """
    return port.dialect.queues_orders and port.lane.device_clock.off >= -_CLOCK_OFF_MS


def _by_its_clock(port: _Port, order: Order | Listing) -> Order | Listing:
    """An order as a device whose clock is off has to hear it: by its own time it would have expired, or never would."""
    if isinstance(order, Listing):
        return order
    return msgspec.structs.replace(order, expires_at=order.expires_at - port.lane.device_clock.off)


def _answer_of(port: _Port, reply: Reply | Answer) -> Answer:
    if isinstance(reply, Answer):
        return reply
    if reply.code != 0:
        _log.warning("barrier refused", lane=port.lane.settings.device, code=reply.code, detail=reply.detail)
        return Answer.REFUSED
    return Answer.DONE
