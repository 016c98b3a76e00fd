"""From records of a meter to recorded points: what the pushed-to and the observing line share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.contract.messages import Point
from gateway.drivers.coap.errors import BadPayload
from gateway.drivers.coap.history import Memory, dated
from gateway.drivers.coap.readings import Channels
from gateway.drivers.coap.senml import Record
from gateway.drivers.coap.settings import CoapDevice
from gateway.drivers.instants import next_instant
from gateway.health.stats import DeviceStats, IntakeCounters
from gateway.templates.base import DeviceTemplate
from gateway.templates.senml import SenmlTemplate

RecordPoints = Callable[[Sequence[Point]], Awaitable[None]]


class Clock(Protocol):
    """The clock of readings."""

    estimated: bool
    """Whether its time is not that of the wall."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""


@dataclass(slots=True)
class Meter:
    """One meter of a line."""

    device: str
    prefix: str | None
    channels: Channels
    stats: DeviceStats
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while its points are recorded: the same ones in a second message wait, and are then known."""


def meters_of(devices: Sequence[CoapDevice], templates: Mapping[str, DeviceTemplate]) -> dict[str, Meter]:
    """The meters of a line by their codes; templates are compiled once each."""
    compiled: dict[str, Channels] = {}
    for template_id in {device.template for device in devices}:
        template = templates[template_id]
        assert isinstance(template, SenmlTemplate)
        compiled[template_id] = Channels(template)
    return {
        device.id: Meter(device.id, device.name, compiled[device.template], DeviceStats(device.id))
        for device in devices
    }


class Intake:
    """Records what meters say, each point once. Another line has another one."""

    def __init__(self, clock: Clock, record: RecordPoints, history_after_s: float) -> None:
        self.counters = IntakeCounters()
        self._clock, self._record = clock, record
        self._history_after_ms = round(history_after_s * 1000)
        self._memory = Memory()
        self._last_arrival_ms = 0

    def arrival_ms(self) -> int:
        """The time of a pack that is here now; never the same twice, which would make two values one."""
        self._last_arrival_ms = next_instant(self._clock.now_ms(), self._last_arrival_ms)
        return self._last_arrival_ms

    def points(self, meter: Meter, records: Sequence[Record], arrival_ms: int) -> list[Point]:
        """The points of a pack. Raises BadPayload; nothing of such a pack is used, and it is counted."""
        try:
            samples, missing = meter.channels.samples(records, meter.prefix)
        except BadPayload:
            meter.stats.malformed += 1
            raise
        pack = dated(meter.device, samples, arrival_ms, self._history_after_ms, self._clock.estimated)
        meter.stats.missing += missing
        self.counters.refused_times += pack.refused
        return pack.points

    async def keep(self, meter: Meter, points: Sequence[Point]) -> None:
        """Records those of `points` that are not recorded yet. Raises what the recorder raises."""
        async with meter.recording:
            fresh = self._memory.unknown(points)
            self.counters.duplicates += len(points) - len(fresh)
            if fresh:
                await self._record(fresh)
            self._memory.remember(fresh)
        meter.stats.points += len(fresh)
        meter.stats.show(fresh)
        meter.stats.answers += 1
        meter.stats.last_seen_ms = self._clock.now_ms()
        meter.stats.failures_in_a_row = 0
