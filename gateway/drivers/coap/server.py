"""The line that battery meters push to: a pack is acknowledged when all of it is durable, and not before.

    POST /m/<device>[?token=…]   a pack of one meter
    POST /senml[?token=…]        a pack whose record names tell the meters; a concentrator may send for several

Answers: 2.04 all is durable · 4.00 with the reason, nothing is used · 4.01 token · 4.04 unknown device · 4.13 too
large · 4.15 not SenML in JSON or CBOR · 5.03 stopping or overloaded, come again.
"""

import asyncio
import hmac
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from aiocoap import Message, error
from aiocoap.numbers.codes import CHANGED, POST
from aiocoap.numbers.constants import TransportTuning
from aiocoap.resource import Resource

from gateway.drivers.coap import senml
from gateway.drivers.coap.context import MeterServerContext, listen, udp_port
from gateway.drivers.coap.errors import BadPayload, PayloadTooLarge
from gateway.drivers.coap.intake import Clock, Intake, Meter, RecordPoints, meters_of
from gateway.drivers.coap.senml import Record
from gateway.drivers.coap.settings import CoapServerLineSettings
from gateway.drivers.coap.tokens import load_tokens
from gateway.health.stats import IntakeCounters, LineStats
from gateway.templates.base import DeviceTemplate
from gateway.uplink.reconnect import Backoff

MAX_WAITING: Final = 256
"""Messages that may wait for the disk; further meters are told to come again."""
MAX_UPLOADS: Final = 1_024
"""Block-wise packs that may be begun within the time that aiocoap keeps their blocks, finished or not."""
_BLOCKS_KEPT_S: Final = 2 * TransportTuning().MAX_TRANSMIT_WAIT
_COME_AGAIN_S: Final = 30
_STRANGERS_NAMED: Final = 100
"""Unknown devices that the log names; all are counted."""

log = structlog.get_logger(__name__)


class CoapServerLine:
    """Runs until `stop`. `record_durably` must return only when the points would survive a crash."""

    def __init__(
        self,
        settings: CoapServerLineSettings,
        templates: Mapping[str, DeviceTemplate],
        clock: Clock,
        record_durably: RecordPoints,
    ) -> None:
        """`templates` are SenML templates by their ids. Raises TokensUnusable."""
        self.settings = settings
        self._meters = meters_of(settings.devices, templates)
        self._by_prefix = sorted(
            (meter for meter in self._meters.values() if meter.prefix is not None),
            key=lambda meter: len(meter.prefix or ""),
            reverse=True,
        )
        self._tokens = load_tokens(settings.tokens_file, self._meters)
        self._intake = Intake(clock, record_durably, settings.history_after_s)
        self.stats = LineStats(
            settings.name, [meter.stats for meter in self._meters.values()], intake=self._intake.counters
        )
        self._context: MeterServerContext | None = None
        self._stopping = asyncio.Event()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._strangers: set[str] = set()

    @property
    def devices(self) -> tuple[str, ...]:
        """Codes of the meters."""
        return tuple(self._meters)

    @property
    def counters(self) -> IntakeCounters:
        """What went on beside the devices' own counters."""
        return self._intake.counters

    @property
    def port(self) -> int:
        """The UDP port that is listened on; 0 when none is yet."""
        return udp_port(self._context) if self._context is not None else 0

    def stop(self) -> None:
        """Takes no more packs and lets `run` return when those at hand are recorded and acknowledged."""
        self._stopping.set()

    async def run(self) -> None:
        """Listens until `stop`; an address that cannot be had is tried again and again."""
        backoff = Backoff(limit_s=15.0)
        while self._context is None and not self._stopping.is_set():
            try:
                self._context = await listen(_Door(self), self.settings.host, self.settings.port)
            except (OSError, error.Error) as reason:
                self.stats.connect_failures += 1
                wait = backoff.next_wait()
                log.warning("line-down", line=self.stats.name, reason=str(reason), retry_in_s=wait)
                await self._pause(wait)
        if self._context is None:
            return
        self.stats.connects += 1
        self.stats.connected = True
        try:
            await self._stopping.wait()
            await self._idle.wait()
        finally:
            self.stats.connected = False
            await self._context.shutdown()
            self._context = None

    def admit(self, request: Any) -> None:
        """Judges what a message shows before its payload is put together. Raises aiocoap's renderable errors."""
        if self._stopping.is_set() or self._waiting >= MAX_WAITING:
            raise _ComeAgain
        meter = self._meter_of_path(request.opt.uri_path)
        if meter is not None:
            self._check_token(meter, request)
        if request.opt.content_format not in (senml.JSON, senml.CBOR):
            self._blame(meter)
            raise error.UnsupportedContentFormat(f"expected content format {senml.JSON} or {senml.CBOR}")
        block = request.opt.block1
        if max((block.start if block else 0) + len(request.payload), request.opt.size1 or 0) > senml.MAX_BYTES:
            self._blame(meter)
            raise error.RequestEntityTooLarge(f"expected at most {senml.MAX_BYTES} bytes")

    async def accept(self, request: Any) -> None:
        """Records a whole pack; returns when it is durable. Raises aiocoap's renderable errors."""
        self.stats.visits += 1
        self._waiting += 1
        self._idle.clear()
        meter = self._meter_of_path(request.opt.uri_path)
        try:
            await self._record(meter, request)
        except PayloadTooLarge as problem:
            raise error.RequestEntityTooLarge(str(problem)) from problem
        except BadPayload as problem:
            if meter is not None:
                meter.stats.last_error = str(problem)
            log.warning("coap-pack-refused", line=self.stats.name, device=meter and meter.device, reason=str(problem))
            raise error.BadRequest(str(problem)) from problem
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._idle.set()

    async def _record(self, meter: Meter | None, request: Any) -> None:
        arrival = self._intake.arrival_ms()
        try:
            records = senml.decode(request.payload, request.opt.content_format, arrival)
        except BadPayload:
            self._blame(meter)
            raise
        packs = {meter.device: records} if meter is not None else self._by_meter(records, request)
        points = {device: self._intake.points(self._meters[device], pack, arrival) for device, pack in packs.items()}
        for device, taken in points.items():
            await self._intake.keep(self._meters[device], taken)

    def _by_meter(self, records: Sequence[Record], request: Any) -> dict[str, list[Record]]:
        """The records of each meter; those of unknown ones are counted and left out."""
        packs: dict[str, list[Record]] = {}
        for record in records:
            meter = next((one for one in self._by_prefix if record.name.startswith(one.prefix or "")), None)
            if meter is None:
                self._stranger(record.name)
                continue
            if meter.device not in packs:
                self._check_token(meter, request)
            packs.setdefault(meter.device, []).append(record)
        if not packs:
            raise error.NotFound("expected a record of a device that this gateway knows")
        return packs

    def _meter_of_path(self, path: tuple[str, ...]) -> Meter | None:
        """The meter that `path` names; None for the path of all. Raises NotFound."""
        if path == ("senml",):
            return None
        if len(path) == 2 and path[0] == "m":
            meter = self._meters.get(path[1])
            if meter is not None:
                return meter
            self._stranger(path[1])
        raise error.NotFound("expected /senml or /m/ and a device that this gateway knows")

    def _check_token(self, meter: Meter, request: Any) -> None:
        expected = self._tokens.get(meter.device)
        if expected is None:
            return
        given = next((part[6:] for part in request.opt.uri_query if part.startswith("token=")), "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            self._stranger(f"{meter.device} without its token")
            raise error.Unauthorized("expected ?token= of this device")

    def _stranger(self, name: str) -> None:
        self.counters.unknown += 1
        if len(self._strangers) < _STRANGERS_NAMED and name not in self._strangers:
            self._strangers.add(name)
            log.warning("coap-device-unknown", line=self.stats.name, device=name)

    def _blame(self, meter: Meter | None) -> None:
        """Counts a message that cannot be used; with the device when it is known which one sent it."""
        if meter is not None:
            meter.stats.malformed += 1
        else:
            self.counters.malformed += 1

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


class _ComeAgain(error.ServiceUnavailable):  # type: ignore[misc]  # aiocoap is untyped
    def to_message(self) -> Any:
        message = super().to_message()
        message.opt.max_age = _COME_AGAIN_S
        return message


class _Door(Resource):  # type: ignore[misc]  # aiocoap is untyped
    """All paths of the server. aiocoap puts blocks together, but knows no limit: each block is judged before."""

    def __init__(self, line: CoapServerLine) -> None:
        super().__init__()
        self._line = line
        self._begun: deque[float] = deque()

    async def needs_blockwise_assembly(self, request: Any) -> bool:
        if request.code is POST:
            self._line.admit(request)
            block = request.opt.block1
            if block is not None and block.more and block.block_number == 0:
                self._begin_upload(asyncio.get_running_loop().time())
        return bool(request.code is POST)  # nothing else is answered, nor kept until it is whole

    def _begin_upload(self, now: float) -> None:
        while self._begun and self._begun[0] < now - _BLOCKS_KEPT_S:
            self._begun.popleft()
        if len(self._begun) >= MAX_UPLOADS:
            raise _ComeAgain
        self._begun.append(now)

    async def render_post(self, request: Any) -> Any:
        await self._line.accept(request)
        return Message(code=CHANGED)
