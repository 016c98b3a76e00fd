"""How much of a slow bus the gateway leaves unused when it polls flat out: RTU at 9600 baud, devices that take 20 ms.

The bus is simulated in another process with the exact times of its frames, behind a converter and behind a serial
port. A read takes (8 + 5 + 2 N) characters, two silences of 3.5 characters and the time of the device: nobody can poll
faster. The simulated bus itself says how long it was in use.
"""

import asyncio
import multiprocessing
import selectors
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Final, Literal

from gateway.drivers.settings import BusLineSettings, Converter, SerialPort
from gateway.lines import timing_of
from simulators.bus.ports import ConverterPort, PtyPort
from simulators.bus.wire import BusTiming, SimulatedBus
from simulators.modbus.faults import Faults
from simulators.modbus.station import ModbusStation
from tests.benchmarks.measure import Bound, Measure
from tests.benchmarks.meters import REGISTERS, Polled, devices, poll_flat_out

_METERS: Final = 10
_SECONDS: Final = 12.0
_TURNAROUND_S: Final = 0.02
_AFFORDABLE_S: Final = 0.033
"""Processor time for 1,000 points: a tenth of what others need. A bare loop that sends, receives, sleeps through the
silence and does nothing with what it gets takes 0.028 s on the machine of docs/benchmarks.md: two wake-ups a poll."""

Medium = Literal["converter", "serial"]


class _Meter:
    """Registers that count up."""

    def __init__(self) -> None:
        self.faults = Faults()

    def read(self, function: int, address: int, count: int) -> range:
        del function
        return range(address, address + count)


def _serve(pipe: Connection, medium: Medium, timing: BusTiming) -> None:
    async def run() -> None:
        bus = SimulatedBus([ModbusStation(unit, _Meter()) for unit in range(1, _METERS + 1)], timing)
        port = PtyPort(bus) if medium == "serial" else ConverterPort(bus, "127.0.0.1", 0)
        await port.start()
        pipe.send(port.path if isinstance(port, PtyPort) else port.port)

        def tell() -> None:
            pipe.recv()
            pipe.send(bus.counts)

        asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
        await asyncio.Event().wait()

    # epoll waits whole milliseconds; select does not.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(run())


def run() -> list[Measure | Bound]:
    """Behind a converter, then behind a serial port."""
    return [measure for medium in ("converter", "serial") for measure in _measured(medium)]


def _measured(medium: Medium) -> list[Measure | Bound]:
    settings = _settings(medium, "/nowhere", 1)
    timing = timing_of(settings)
    ceiling = 1 / ((8 + 5 + 2 * REGISTERS) * timing.character_s + 2 * timing.silence_s + _TURNAROUND_S)
    ours, busy = _polled(medium, BusTiming(timing.character_s, timing.silence_s, _TURNAROUND_S))
    name = f"RTU at 9600 baud behind a {medium}, {_METERS} meters, 12 values in a read"
    return [
        Measure(name, ours.visits_per_s, "what the bus bears", ceiling, "polls", 0.97),
        Measure("the same, time that the bus is in use", busy, "all the time", 1, "s", 0.97),
        Bound("the same, processor time for 1,000 points", ours.cpu_s, "s", _AFFORDABLE_S),
    ]


def _polled(medium: Medium, timing: BusTiming) -> tuple[Polled, float]:
    """(ours, share of the time that the bus was in use)"""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    peer = context.Process(target=_serve, args=(there, medium, timing), daemon=True)
    peer.start()
    try:
        where = here.recv()
        settings = _settings(medium, str(where), where if medium == "converter" else 1)

        async def program() -> tuple[Polled, float]:
            watching = asyncio.create_task(_share_in_use(here))
            return await poll_flat_out([settings], _SECONDS), await watching

        return asyncio.run(program())
    finally:
        peer.terminate()
        peer.join()


async def _share_in_use(bus: Connection) -> float:
    async def busy_s() -> float:
        bus.send(None)
        while not bus.poll():
            await asyncio.sleep(0.001)
        return float(bus.recv().busy_s)

    await asyncio.sleep(1)
    before, started = await busy_s(), perf_counter()
    await asyncio.sleep(_SECONDS - 2)
    return (await busy_s() - before) / (perf_counter() - started)


def _settings(medium: Medium, path: str, port: int) -> BusLineSettings:
    return BusLineSettings(
        name="bus",
        protocol="bus",
        serial=SerialPort(path=path) if medium == "serial" else None,
        converter=Converter(host="127.0.0.1", port=port) if medium == "converter" else None,
        devices=devices(0, _METERS),
    )
