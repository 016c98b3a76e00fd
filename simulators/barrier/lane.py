"""One barrier with its camera and loop, as a peer on the broker, in any dialect: arrives, is opened, passes."""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiomqtt
import msgspec
import structlog

from gateway.drivers.barrier.events import Due, Event, KeepAlive, Order, Passed, Recognised, TurnedBack
from gateway.tasks import end
from gateway.uplink.settings import MqttEndpoint
from simulators.barrier.speech import GenericSpeech, Heard, Message, Speech

_CODE_EXPIRED: Final = 2

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Faults:
    """What this device does wrong. `refuse` is the code it answers with instead of opening."""

    swallow_replies: int = 0
    """So many next orders are carried out without an answer."""
    refuse: int = 0
    no_keep_alives: bool = False
    clock_off_ms: int = 0
    """How far its clock is ahead, where its dialect tells milliseconds; orders expire by it."""


@dataclass(slots=True)
class Standing:
    """A vehicle before the barrier."""

    event_id: str
    plate: str
    taken_at: int
    left: asyncio.Event


class Lane:
    """A device with serial number `sn`. Use as `async with`; every event goes out over MQTT with QoS 1.

    Between `cut_off` and `come_back` it goes on without the broker and keeps what it has to tell. `camera` gives the
    picture of a vehicle, a JPEG, from its plate and class; without one there are no pictures.
    """

    def __init__(
        self,
        broker: MqttEndpoint,
        prefix: str,
        sn: str,
        *,
        seed: int = 1,
        passing_s: float = 0.05,
        keep_alive_s: float = 10.0,
        speech: Speech | None = None,
        camera: Callable[[str, str], bytes] | None = None,
    ) -> None:
        self.faults = Faults()
        self.orders: list[Order] = []
        self.shown: list[Due] = []
        """All that the display was told, the newest last."""
        self.standing: Standing | None = None
        self._broker = broker
        self._speech = GenericSpeech(prefix, sn) if speech is None else speech
        self._sn = sn
        self._camera = camera
        self._chance = random.Random(f"{seed}/{sn}")
        self._passing_s = passing_s
        self._keep_alive_s = keep_alive_s
        self._events = 0
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._session_task: asyncio.Task[None] | None = None
        self._away = False
        self._untold: list[Event] = []
        self._done: set[str] = set()

    async def __aenter__(self) -> "Lane":
        self._running = asyncio.ensure_future(self._stay_connected())
        async with asyncio.timeout(30):
            await self._connected.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            await end(self._running)

    async def arrive(
        self, plate: str, vehicle_class: str = "small", *, offline: bool = False, read: str | None = None
    ) -> Standing:
        """A vehicle drives up and is recognised, by the plate that is `read` when the camera errs.

        Returns it, standing. Wait on `.left` to see it go.
        """
        self._events += 1
        event_id = f"{int(time.time())}-{self._events}"
        self.standing = Standing(event_id, plate, self._now_ms(), asyncio.Event())
        await self.recognise(plate if read is None else read, vehicle_class, offline=offline)
        return self.standing

    async def recognise(self, plate: str, vehicle_class: str = "small", *, offline: bool = False) -> None:
        """The camera reports the standing vehicle, once more if need be: it is the same recognition then."""
        assert self.standing is not None, "nobody stands here"
        await self.say(
            Recognised(
                id=self.standing.event_id,
                plate=plate,
                taken_at=self.standing.taken_at,
                score=self._chance.randint(900, 999),
                vehicle_class=vehicle_class,
                picture=b"" if self._camera is None else self._camera(self.standing.plate, vehicle_class),
                offline=offline,
            )
        )

    @property
    def display(self) -> Due | None:
        """What the driver reads now: what is due of the vehicle that stands here."""
        newest = self.shown[-1] if self.shown else None
        standing = self.standing is not None and newest is not None and newest.id == self.standing.event_id
        return newest if newest is not None and standing and self._now_ms() < newest.until else None

    async def drive_through(self, *, offline: bool = False) -> None:
        """The standing vehicle passes the loop."""
        standing, self.standing = self.standing, None
        if standing is not None:
            await self.say(Passed(id=standing.event_id, taken_at=self._now_ms(), offline=offline))
            standing.left.set()

    async def turn_back(self) -> None:
        """The standing vehicle leaves the way it came."""
        standing, self.standing = self.standing, None
        if standing is not None:
            await self.say(TurnedBack(id=standing.event_id, taken_at=self._now_ms()))
            standing.left.set()

    async def say(self, event: Event | bytes) -> None:
        """Publishes an event, or any bytes at all; waits for a connection first, or keeps it when cut off."""
        if self._away and not isinstance(event, bytes):
            self._untold.append(event)
            return
        for message in [self._speech.own(event)] if isinstance(event, bytes) else self._speech.tell(event):
            await self._publish(message)

    async def cut_off(self) -> None:
        """The cable is pulled."""
        self._away = True
        if self._session_task is not None:
            await end(self._session_task)

    async def come_back(self, *, times: int = 1, shuffled: bool = False) -> None:
        """The cable is back: what was kept is told as offline, `times` over, in order or not."""
        self._away = False
        kept, self._untold = self._untold, []
        told = [
            msgspec.structs.replace(event, offline=True)
            for event in kept
            if isinstance(event, Recognised | Passed | TurnedBack)
        ] * times
        if shuffled:
            self._chance.shuffle(told)
        for event in told:
            await self.say(event)

    async def _publish(self, message: Message) -> None:
        while True:
            await self._connected.wait()
            assert self._client is not None
            try:
                await self._client.publish(message.topic, message.payload, qos=1)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)
            else:
                return

    async def _stay_connected(self) -> None:
        try:
            while True:
                if not self._away:
                    self._session_task = asyncio.ensure_future(self._session())
                    await asyncio.wait([self._session_task])
                    _only_the_connection_may_fail(self._session_task)
                self._connected.clear()
                await asyncio.sleep(0.05)
        finally:
            if self._session_task is not None:
                await end(self._session_task)

    async def _session(self) -> None:
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password(),
            identifier=f"sim-barrier-{self._sn}",
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        async with client:
            for topic in self._speech.hears:
                await client.subscribe(topic, qos=1)
            self._client = client
            self._connected.set()
            living = asyncio.ensure_future(self._keep_alive())
            moving: set[asyncio.Task[None]] = set()
            try:
                async for message in client.messages:
                    task = asyncio.ensure_future(self._obey(message.topic.value, message.payload))
                    moving.add(task)
                    task.add_done_callback(moving.discard)
            finally:
                await end(living, *moving)

    async def _keep_alive(self) -> None:
        while True:
            if not self.faults.no_keep_alives:
                await self.say(KeepAlive(taken_at=self._now_ms()))
            await asyncio.sleep(self._keep_alive_s)

    async def _obey(self, topic: str, payload: bytes) -> None:
        heard = self._speech.hear(topic, payload)
        if heard is None:
            return
        if heard.due is not None:
            self.shown.append(heard.due)
            _log.info("display", sn=self._sn, **msgspec.structs.asdict(heard.due))
        order = heard.order if heard.known else None
        code = 0
        if order is not None:
            self.orders.append(order)
            code = self._judge(order)
        await self._answer(topic, heard, code)
        if order is not None and code == 0 and order.type == "open":
            await asyncio.sleep(self._passing_s * self._chance.uniform(0.8, 1.6))
            await self.drive_through()

    async def _answer(self, topic: str, heard: Heard, code: int) -> None:
        if self.faults.swallow_replies:
            self.faults.swallow_replies -= 1
            return
        answer = self._speech.answer(topic, heard, code)
        if answer is not None:
            await self._publish(answer)

    def _judge(self, order: Order) -> int:
        if self.faults.refuse:
            return self.faults.refuse
        if order.expires_at <= self._now_ms():
            return _CODE_EXPIRED
        if order.id in self._done:
            return 0
        self._done.add(order.id)
        return 0

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.faults.clock_off_ms


def _only_the_connection_may_fail(session: "asyncio.Task[None]") -> None:
    error = None if session.cancelled() else session.exception()
    if error is not None and not isinstance(error, aiomqtt.MqttError):
        raise error
