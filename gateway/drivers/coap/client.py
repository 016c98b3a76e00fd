"""The line that observes meters on mains power: notifications, a staleness timer, polling where there is no observing.

An observation is a list in the device's memory. It is gone with a restart, and a lost notification is never missed by
anybody: so the packs carry their history, of which what is known is left out, and silence registers anew.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import structlog
from aiocoap import Context, Message, error
from aiocoap.numbers.codes import GET
from aiocoap.numbers.constants import TransportTuning

from gateway.drivers.coap import senml
from gateway.drivers.coap.context import TRANSPORT
from gateway.drivers.coap.errors import BadPayload
from gateway.drivers.coap.intake import Clock, Intake, Meter, RecordPoints, meters_of
from gateway.drivers.coap.settings import CoapClientLineSettings
from gateway.health.stats import IntakeCounters, LineStats
from gateway.tasks import end
from gateway.templates.base import DeviceTemplate
from gateway.uplink.reconnect import Backoff

log = structlog.get_logger(__name__)


class _Tuning(TransportTuning):  # type: ignore[misc]  # aiocoap is untyped
    """Gives up after about 20 s: later questions to a device wait until earlier ones are given up."""

    MAX_RETRANSMIT = 2


class _Failed(Exception):
    """A device did not answer, or refused; it is asked again after a back-off."""


class CoapClientLine:
    """Follows every device of the line until `stop`."""

    def __init__(
        self,
        settings: CoapClientLineSettings,
        templates: Mapping[str, DeviceTemplate],
        clock: Clock,
        record: RecordPoints,
    ) -> None:
        """`templates` are SenML templates by their ids."""
        self._settings = settings
        self._meters = meters_of(settings.devices, templates)
        self._intake = Intake(clock, record, settings.history_after_s)
        self.stats = LineStats(
            settings.name, [meter.stats for meter in self._meters.values()], intake=self._intake.counters
        )
        self._stopping = asyncio.Event()

    @property
    def devices(self) -> tuple[str, ...]:
        """Codes of the meters."""
        return tuple(self._meters)

    @property
    def counters(self) -> IntakeCounters:
        """What went on beside the devices' own counters."""
        return self._intake.counters

    def stop(self) -> None:
        """Ends `run`. What a device said last is recorded; what was on its way, it will say again."""
        self._stopping.set()

    async def run(self) -> None:
        """Observes until `stop`. Raises what the recorder raises."""
        context = await Context.create_client_context(transports=[TRANSPORT])
        self.stats.connects += 1
        self.stats.connected = True
        following = [
            asyncio.create_task(self._follow(context, self._meters[device.id], device.uri), name=f"coap {device.id}")
            for device in self._settings.devices
        ]
        stopping = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            await asyncio.wait([*following, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stats.connected = False
            await end(stopping, *following)
            await context.shutdown()
        for task in following:
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    async def _follow(self, context: Context, meter: Meter, uri: str) -> None:
        backoff = Backoff(first_s=1.0, limit_s=max(60.0, self._settings.poll_s))
        while True:
            try:
                if not await self._observe(context, meter, uri):
                    await asyncio.sleep(self._settings.poll_s)
                backoff.succeeded()
            except _Failed as reason:
                meter.stats.failures_in_a_row += 1
                meter.stats.last_error = str(reason)
                wait = backoff.next_wait()
                if meter.stats.failures_in_a_row == 1:
                    log.warning("device-failed", line=self.stats.name, device=meter.device, reason=str(reason))
                await asyncio.sleep(wait)

    async def _observe(self, context: Context, meter: Meter, uri: str) -> bool:
        """Registers and follows the notifications until they end. False when the device offers none: one answer.

        Every question is one to be observed: a device that does not know the option passes over it, and one that
        learns it later is observed from then on. Raises _Failed.
        """
        request = context.request(Message(code=GET, uri=uri, observe=0, transport_tuning=_Tuning()))
        try:
            response = await self._answer(meter, request.response)
            await self._take(meter, response)
            if response.opt.observe is None:
                return False
            notifications = aiter(request.observation)
            while True:
                try:
                    notification = await self._notification(meter, notifications)
                except StopAsyncIteration:  # ended by the device
                    return False
                if notification is None:
                    return True
                await self._take(meter, notification)
        finally:
            if not request.response.done():
                request.response.cancel()
            if not request.observation.cancelled:
                request.observation.cancel()

    async def _answer(self, meter: Meter, answer: "asyncio.Future[Any]") -> Any:
        self.stats.visits += 1
        asked = monotonic()
        try:
            async with asyncio.timeout(self._settings.answer_s):
                response = await answer
        except (TimeoutError, error.Error, OSError) as reason:
            meter.stats.timeouts += 1
            raise _Failed(str(reason) or "no answer") from reason
        finally:
            self.stats.busy_s += monotonic() - asked
        meter.stats.round_trips_us.append(round((monotonic() - asked) * 1_000_000))
        return response

    async def _notification(self, meter: Meter, notifications: Any) -> Any | None:
        """The next one; None after too long a silence. Raises StopAsyncIteration when the device ended them."""
        try:
            async with asyncio.timeout(self._settings.staleness_s):
                return await anext(notifications)
        except TimeoutError:
            self.counters.stale += 1
            log.info("coap-observation-silent", line=self.stats.name, device=meter.device)
            return None
        except (error.Error, OSError) as reason:
            meter.stats.timeouts += 1
            raise _Failed(str(reason)) from reason

    async def _take(self, meter: Meter, response: Any) -> None:
        """Records what a response says. Raises _Failed when it is none to use."""
        if not response.code.is_successful():
            meter.stats.exceptions += 1
            raise _Failed(f"answered {response.code}")
        arrival = self._intake.arrival_ms()
        try:
            if response.opt.content_format not in (senml.JSON, senml.CBOR):
                raise BadPayload("content format", f"{senml.JSON} or {senml.CBOR}")
            records = senml.decode(response.payload, response.opt.content_format, arrival)
        except BadPayload as problem:
            meter.stats.malformed += 1
            raise _Failed(str(problem)) from problem
        try:
            points = self._intake.points(meter, records, arrival)
        except BadPayload as problem:
            raise _Failed(str(problem)) from problem
        await self._intake.keep(meter, points)
