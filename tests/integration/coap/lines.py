"""Simulated CoAP meters and the gateway's lines on loopback sockets, for tests."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

from aiocoap import Context, Message
from aiocoap.numbers.codes import POST

from gateway.contract.messages import Point
from gateway.drivers.coap.client import CoapClientLine
from gateway.drivers.coap.context import TRANSPORT
from gateway.drivers.coap.server import CoapServerLine
from gateway.drivers.coap.settings import CoapClientLineSettings, CoapServerLineSettings
from gateway.polling.clock import Clock
from gateway.templates.senml import SenmlTemplate
from simulators.coap.meter import SenmlMeter
from simulators.modbus.dwelling import Dwelling
from tests.templates import LIBRARY, ids_of

WATER, ELECTRICITY = "gatemeter-coap-water", "gatemeter-coap-electricity"
TEMPLATES = {template_id: LIBRARY.meter(template_id) for template_id in ids_of("senml")}
URN = "urn:dev:mac:0024befffe804ff1:"


def simulated(template_id: str = WATER, base_name: str = URN) -> SenmlMeter:
    """A meter of `template_id` of seed 1."""
    template = TEMPLATES[template_id]
    assert isinstance(template, SenmlTemplate)
    dwelling = Dwelling(1, base_name, template.medium.value, ZoneInfo("Asia/Shanghai"))
    return SenmlMeter(base_name, template, dwelling)


def now_s() -> int:
    """Seconds since 1970."""
    return int(time.time())


class Recording:
    """Takes points as a recorder does; `blocked` holds it up as a stalled disk would."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.waiting = 0
        self._open = asyncio.Event()
        self._open.set()

    def block(self) -> None:
        """The disk stalls."""
        self._open.clear()

    def release(self) -> None:
        """The disk goes on."""
        self._open.set()

    async def record(self, points: Sequence[Point]) -> None:
        """Durable when it returns."""
        self.waiting += 1
        await self._open.wait()
        self.points.extend(points)

    def of(self, channel: str) -> list[Point]:
        """Points of one channel."""
        return [point for point in self.points if point.channel == channel]


@asynccontextmanager
async def running(line: CoapServerLine | CoapClientLine) -> AsyncIterator[None]:
    """Runs a line and stops it."""
    task = asyncio.create_task(line.run())
    try:
        yield
    finally:
        line.stop()
        async with asyncio.timeout(60):
            await task


def server_line(recording: Recording, port: int, **changes: Any) -> CoapServerLine:
    """A server line with meters w-1 (named by URN) and w-2 (by its path alone); port 0 takes a free one."""
    settings = CoapServerLineSettings.model_validate(
        {
            "name": "battery",
            "protocol": "coap-server",
            "host": "127.0.0.1",
            "devices": [{"id": "w-1", "template": WATER, "name": URN}, {"id": "w-2", "template": WATER}],
            **changes,
        }
    )
    return CoapServerLine(settings.model_copy(update={"port": port}), TEMPLATES, Clock(), recording.record)


@asynccontextmanager
async def pushed_to(recording: Recording, **changes: Any) -> AsyncIterator[CoapServerLine]:
    """A server line that listens."""
    line = server_line(recording, 0, **changes)
    async with running(line):
        await until(lambda: line.port)
        yield line


def client_line(recording: Recording, port: int, **changes: Any) -> CoapClientLine:
    """A client line with the meter e-1 at `port`."""
    settings = CoapClientLineSettings.model_validate(
        {
            "name": "mains",
            "protocol": "coap-client",
            "devices": [{"id": "e-1", "template": ELECTRICITY, "uri": f"coap://127.0.0.1:{port}/meter"}],
            "staleness_s": 30.0,
            "poll_s": 0.05,
            **changes,
        }
    )
    return CoapClientLine(settings, TEMPLATES, Clock(), recording.record)


@asynccontextmanager
async def observing(recording: Recording, port: int, **changes: Any) -> AsyncIterator[CoapClientLine]:
    """A client line that runs."""
    line = client_line(recording, port, **changes)
    async with running(line):
        yield line


@asynccontextmanager
async def client() -> AsyncIterator[Context]:
    """A CoAP endpoint that asks."""
    context = await Context.create_client_context(transports=[TRANSPORT])
    try:
        yield context
    finally:
        await context.shutdown()


async def post(context: Context, line: CoapServerLine, path: str, payload: bytes, content_format: int | None) -> Any:
    """Sends one pack and gives the answer."""
    message = Message(
        code=POST, uri=f"coap://127.0.0.1:{line.port}/{path}", payload=payload, content_format=content_format
    )
    async with asyncio.timeout(60):
        return await context.request(message).response


class Datagrams:
    """A bare UDP socket: what is on the wire, byte by byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """One datagram."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self, seconds: float = 60.0) -> bytes | None:
        """The next datagram; None when none comes in time."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().sock_recv(self._socket, 2048)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


async def until(condition: Any, seconds: float = 60) -> None:
    """Waits for `condition`; fails the test after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
