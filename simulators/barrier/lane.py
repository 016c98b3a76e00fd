"""One barrier with its camera and loop, as a peer on the broker: arrives, is opened, passes."""

import asyncio
import contextlib
import random
import socket
import time
from dataclasses import dataclass
from typing import Final

import aiomqtt

from gateway.drivers.barrier.dialect import decode_order, encode, topics_of
from gateway.drivers.barrier.events import KeepAlive, MalformedMessage, Order, Passed, Recognised, Reply, TurnedBack
from gateway.tasks import end
from gateway.uplink.settings import MqttEndpoint

_CODE_EXPIRED: Final = 2


@dataclass(slots=True)
class Faults:
    """What this device does wrong. `refuse` is the code it answers with instead of opening."""

    swallow_replies: int = 0
    """So many next orders are carried out without an answer."""
    refuse: int = 0


@dataclass(slots=True)
class Standing:
    """A vehicle before the barrier."""

    event_id: str
    plate: str
    taken_at: int
    left: asyncio.Event


class Lane:
    """A device with serial number `sn`. Use as `async with`; every event goes out over MQTT with QoS 1."""

    def __init__(
        self,
        broker: MqttEndpoint,
        prefix: str,
        sn: str,
        *,
        seed: int = 1,
        passing_s: float = 0.05,
        keep_alive_s: float = 10.0,
    ) -> None:
        self.faults = Faults()
        self.orders: list[Order] = []
        self.standing: Standing | None = None
        self._broker = broker
        self._topics = topics_of(prefix, sn)
        self._sn = sn
        self._chance = random.Random(f"{seed}/{sn}")
        self._passing_s = passing_s
        self._keep_alive_s = keep_alive_s
        self._events = 0
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._done: set[str] = set()

    async def __aenter__(self) -> "Lane":
        self._running = asyncio.ensure_future(self._stay_connected())
        async with asyncio.timeout(30):
            await self._connected.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            await end(self._running)

    async def arrive(self, plate: str, vehicle_class: str = "small", *, offline: bool = False) -> Standing:
        """A vehicle drives up and is recognised; returns it, standing. Wait on `.left` to see it go."""
        self._events += 1
        event_id = f"{int(time.time())}-{self._events}"
        self.standing = Standing(event_id, plate, _now_ms(), asyncio.Event())
        await self.recognise(plate, vehicle_class, offline=offline)
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
                offline=offline,
            )
        )

    async def drive_through(self, *, offline: bool = False) -> None:
        """The standing vehicle passes the loop."""
        standing, self.standing = self.standing, None
        if standing is not None:
            await self.say(Passed(id=standing.event_id, taken_at=_now_ms(), offline=offline))
            standing.left.set()

    async def turn_back(self) -> None:
        """The standing vehicle leaves the way it came."""
        standing, self.standing = self.standing, None
        if standing is not None:
            await self.say(TurnedBack(id=standing.event_id, taken_at=_now_ms()))
            standing.left.set()

    async def say(self, event: Recognised | Passed | TurnedBack | KeepAlive | bytes) -> None:
        """Publishes an event, or any bytes at all; waits for a connection first."""
        payload = event if isinstance(event, bytes) else encode(event)
        while True:
            await self._connected.wait()
            assert self._client is not None
            try:
                await self._client.publish(self._topics.event, payload, qos=1)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)
            else:
                return

    async def _stay_connected(self) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._session()
            self._connected.clear()
            await asyncio.sleep(0.2)

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
            await client.subscribe(self._topics.command, qos=1)
            self._client = client
            self._connected.set()
            living = asyncio.ensure_future(self._keep_alive())
            moving: set[asyncio.Task[None]] = set()
            try:
                async for message in client.messages:
                    task = asyncio.ensure_future(self._obey(client, message.payload))
                    moving.add(task)
                    task.add_done_callback(moving.discard)
            finally:
                await end(living, *moving)

    async def _keep_alive(self) -> None:
        while True:
            await self.say(KeepAlive(taken_at=_now_ms()))
            await asyncio.sleep(self._keep_alive_s)

    async def _obey(self, client: aiomqtt.Client, payload: bytes) -> None:
        try:
            order = decode_order(payload)
        except MalformedMessage:
            return
        self.orders.append(order)
        code = self._judge(order)
        if self.faults.swallow_replies:
            self.faults.swallow_replies -= 1
        else:
            await client.publish(self._topics.reply, encode(Reply(id=order.id, code=code)), qos=1)
        if code == 0 and order.type == "open":
            await asyncio.sleep(self._passing_s * self._chance.uniform(0.8, 1.6))
            await self.drive_through()

    def _judge(self, order: Order) -> int:
        if self.faults.refuse:
            return self.faults.refuse
        if order.expires_at <= _now_ms():
            return _CODE_EXPIRED
        if order.id in self._done:
            return 0
        self._done.add(order.id)
        return 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
