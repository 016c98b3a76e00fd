"""What a tenth of dead devices takes from the others: readings of the healthy ones against those of a healthy site.

Devices answer after 5 ms; the dead ones say nothing and cost a timeout of 0.5 s each time they are asked. Both sites
are offered the same two readings a second of every device, and are measured after the dead ones were found out.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from gateway.contract.messages import Point
from gateway.drivers.base import Group
from gateway.drivers.settings import DeviceSettings, ModbusTcpLineSettings
from gateway.lines import line_with_meters
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker
from gateway.templates.library import Library
from tests.benchmarks.measure import Measure
from tests.benchmarks.peers import Manners, running_peers

_TEMPLATE: Final = "gatemeter-demo-electricity"
_LINES: Final = 5
_METERS_PER_LINE: Final = 20
_HEALTHY: Final = 18
_PERIOD_MS: Final = 500
_TIMEOUT_S: Final = 0.5
_SETTLING_S: Final = 5.0
_SECONDS: Final = 20.0


def _worker(number: int, port: int, library: Library) -> LineWorker:
    devices = tuple(
        DeviceSettings(id=f"m-{number}-{unit}", template=_TEMPLATE, unit_id=unit)
        for unit in range(1, _METERS_PER_LINE + 1)
    )
    settings = ModbusTcpLineSettings(
        name=f"line-{number}",
        protocol="modbus-tcp",
        host="127.0.0.1",
        port=port,
        timeout_s=_TIMEOUT_S,
        devices=devices,
    )
    line, meters = line_with_meters(settings, library)
    periods = [{Group.BILLING: _PERIOD_MS, Group.INSTANT: _PERIOD_MS}] * len(meters)
    return LineWorker(settings.name, line, meters, periods, Clock(), _nowhere)


async def _nowhere(points: Sequence[Point]) -> None:
    del points


def _answers(workers: Sequence[LineWorker]) -> int:
    """Of the devices that are healthy in both sites."""
    return sum(device.answers for worker in workers for device in worker.stats.devices[:_HEALTHY])


async def _rate(ports: Sequence[int]) -> float:
    """Answers per second."""
    library = Library()
    workers = [_worker(number, port, library) for number, port in enumerate(ports)]
    polling = [asyncio.create_task(worker.run()) for worker in workers]
    await asyncio.sleep(_SETTLING_S)
    before, started = _answers(workers), perf_counter()
    await asyncio.sleep(_SECONDS)
    rate = (_answers(workers) - before) / (perf_counter() - started)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*polling)
    return rate


def run() -> list[Measure]:
    """The healthy site, then the one with dead devices."""
    with running_peers(_LINES, Manners(0.005)) as ports:
        healthy = asyncio.run(_rate(ports))
    with running_peers(_LINES, Manners(0.005, _HEALTHY + 1)) as ports:
        ours = asyncio.run(_rate(ports))
    name = f"healthy devices beside 10 % dead ones, {_LINES} lines × {_METERS_PER_LINE}"
    return [Measure(name, ours, "the same ones, nobody dead", healthy, "polls", 0.95)]
