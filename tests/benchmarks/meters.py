"""A template of twelve values in one read, and meters of it, for the benchmarks of lines."""

import asyncio
import tempfile
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import yaml

from gateway.contract.messages import Point
from gateway.contract.topics import Up
from gateway.drivers.base import Group
from gateway.drivers.line_kinds import PolledLineSettings
from gateway.drivers.settings import DeviceSettings
from gateway.lines import line_with_meters
from gateway.outbox import Shed
from gateway.polling.clock import Clock
from gateway.polling.recorder import Recorder
from gateway.polling.worker import LineWorker
from gateway.templates.library import Library

TEMPLATE: Final = "twelve-values"
VALUES: Final = 12
REGISTERS: Final = 2 * VALUES
FUNCTION: Final = 3
_CHANNELS: Final = (
    ("energy_import_total", "Wh"), ("energy_import_peak", "Wh"), ("energy_import_flat", "Wh"),
    ("energy_import_valley", "Wh"), ("energy_export_total", "Wh"), ("reactive_energy_import_total", "varh"),
    ("power_active_total", "W"), ("power_active_l1", "W"), ("voltage_l1", "V"), ("voltage_l2", "V"),
    ("current_l1", "A"), ("current_l2", "A"),
)  # fmt: skip


def library(directory: Path) -> Library:
    """A library in `directory` with the one template."""
    document = {
        "vendor": "Benchmark", "model": "Twelve", "medium": "electricity", "proven": "simulator",
        "sources": [{"reference": "made for the benchmark", "covers": "everything"}],
        "transports": {"modbus_rtu": {}},
        "registers": [
            {"channel": channel, "function": FUNCTION, "address": 2 * index, "type": "u32", "unit": unit}
            for index, (channel, unit) in enumerate(_CHANNELS)
        ],
    }  # fmt: skip
    (directory / f"{TEMPLATE}.yaml").write_text(yaml.safe_dump(document))
    return Library(directory)


def devices(line: int, count: int) -> tuple[DeviceSettings, ...]:
    """Meters with units 1 to `count`."""
    return tuple(DeviceSettings(id=f"m-{line}-{unit}", template=TEMPLATE, unit_id=unit) for unit in range(1, count + 1))


@dataclass(frozen=True, slots=True)
class Polled:
    """What some seconds of polling gave."""

    visits_per_s: float
    cpu_s: float
    """Processor time for 1,000 points."""


async def poll_flat_out(lines: Sequence[PolledLineSettings], seconds: float) -> Polled:
    """Polls all meters as often as the lines bear, as far as the recorder's encoded batches."""
    recorder = Recorder(_Nowhere(), 200, 1.0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        templates = library(Path(directory))
        workers = []
        for settings in lines:
            line, meters = line_with_meters(settings, templates)
            periods = [{Group.BILLING: 1, Group.INSTANT: 1} for _ in meters]
            workers.append(LineWorker(settings.name, line, meters, periods, clock, recorder.record))
    storing = asyncio.create_task(recorder.run())
    polling = [asyncio.create_task(worker.run()) for worker in workers]
    while sum(worker.stats.visits for worker in workers) < 2 * len(workers):
        await asyncio.sleep(0.01)
    before, started, used = _visits(workers), perf_counter(), process_time()
    await asyncio.sleep(seconds)
    visits, elapsed, used = _visits(workers) - before, perf_counter() - started, process_time() - used
    for worker in workers:
        worker.stop()
    await asyncio.gather(*polling)
    recorder.close()
    await storing
    if any(stats.malformed + stats.timeouts for worker in workers for stats in worker.stats.devices):
        raise RuntimeError("a benchmark with failed reads measures nothing")
    return Polled(visits / elapsed, 1_000 * used / (visits * VALUES))


def _visits(workers: Sequence[LineWorker]) -> int:
    return sum(worker.stats.visits for worker in workers)


class _Nowhere:
    """Stands where the outbox stands: the outbox has a benchmark of its own."""

    def __init__(self) -> None:
        self.batches = 0

    shedding = False

    def lose(self, points: Sequence[Point]) -> None:
        raise AssertionError("there is room")

    def put(self, kind: Up, body: bytes, *, shed: Shed) -> Awaitable[int]:
        del kind, body, shed
        self.batches += 1
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(self.batches)
        return done
