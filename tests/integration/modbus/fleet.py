"""A simulated line and the gateway's side of it, for tests on real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.contract.messages import Point
from gateway.drivers.base import Group
from gateway.drivers.settings import DeviceSettings, ModbusTcpLineSettings
from gateway.lines import line_with_meters
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.meter import SimulatedMeter
from simulators.modbus.server import MeterLine
from tests.templates import LIBRARY, modbus

ZONE = ZoneInfo("Asia/Shanghai")
DEMO = "gatemeter-demo-electricity"


def simulated(device: str, template_id: str = DEMO, advance: bool = False, instance: int = 0) -> SimulatedMeter:
    """A meter of `template_id` on the real clock."""
    template = modbus(template_id)
    dwelling = Dwelling(1, device, template.medium.value, ZONE)
    return SimulatedMeter(device, template, dwelling, lambda: time.time_ns() // 1_000_000, advance, instance=instance)


@dataclass
class Bench:
    """A running line worker with what it recorded."""

    line: MeterLine
    meters: dict[str, SimulatedMeter]
    worker: LineWorker
    points: list[Point] = field(default_factory=list)

    def of(self, device: str) -> list[Point]:
        """Points of one device."""
        return [point for point in self.points if point.device == device]


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits for `condition`; fails the test after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running_line(
    devices: Sequence[str],
    template_id: str = DEMO,
    timeout_s: float = 0.15,
    period_ms: int = 100,
    advance: bool = False,
) -> AsyncIterator[Bench]:
    """Meters with units 1, 2, … on a free port, polled every `period_ms`."""
    meters = {device: simulated(device, template_id, advance) for device in devices}
    line = MeterLine("test", dict(enumerate(meters.values(), start=1)))
    await line.start("127.0.0.1", 0)
    settings = ModbusTcpLineSettings(
        name="test",
        protocol="modbus-tcp",
        host="127.0.0.1",
        port=line.port,
        timeout_s=timeout_s,
        devices=tuple(
            DeviceSettings(id=device, template=template_id, unit_id=unit)
            for unit, device in enumerate(devices, start=1)
        ),
    )
    points: list[Point] = []

    async def record(new: Sequence[Point]) -> None:
        points.extend(new)

    wire, readers = line_with_meters(settings, LIBRARY)
    periods = {Group.BILLING: period_ms, Group.INSTANT: period_ms}
    worker = LineWorker("test", wire, readers, [periods] * len(readers), Clock(), record)
    task = asyncio.create_task(worker.run())
    try:
        yield Bench(line, meters, worker, points)
    finally:
        worker.stop()
        async with asyncio.timeout(60):
            await task
        await line.stop()
