"""How much of slow buses the gateway leaves unused when it polls flat out: RTU at 9600 baud, devices that take 20 ms.

The buses are simulated in another process with the exact times of their frames, behind converters and behind serial
ports. A read takes (8 + 5 + 2 N) characters, two silences of 3.5 characters and the time of the device: nobody can poll
faster. The simulated buses themselves say how long they were in use.
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

Medium = Literal["converter", "serial port"]


class _Meter:
    """Registers that count up."""

    def __init__(self) -> None:
        self.faults = Faults()

    def read(self, function: int, address: int, count: int) -> range:
        del function
        return range(address, address + count)


def _serve(pipe: Connection, medium: Medium, count: int, timing: BusTiming) -> None:
    async def run() -> None:
        buses = [
            SimulatedBus([ModbusStation(unit, _Meter()) for unit in range(1, _METERS + 1)], timing)
            for _ in range(count)
        ]
        ports = [PtyPort(bus) if medium == "serial port" else ConverterPort(bus, "127.0.0.1", 0) for bus in buses]
        for port in ports:
            await port.start()
        pipe.send([port.path if isinstance(port, PtyPort) else port.port for port in ports])

        def tell() -> None:
            pipe.recv()
            pipe.send(sum(bus.counts.busy_s for bus in buses))

        asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
        await asyncio.Event().wait()

    # epoll waits whole milliseconds; select does not.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(run())


def run() -> list[Measure | Bound]:
    """One bus behind a converter, one behind a serial port, and eight at once."""
    return _measured("converter", 1) + _measured("serial port", 1) + _measured("converter", 8)


def _measured(medium: Medium, count: int) -> list[Measure | Bound]:
    timing = timing_of(_settings(medium, 0, 1))
    ceiling = count / ((8 + 5 + 2 * REGISTERS) * timing.character_s + 2 * timing.silence_s + _TURNAROUND_S)
    ours, busy = _polled(medium, count, BusTiming(timing.character_s, timing.silence_s, _TURNAROUND_S))
    name = f"RTU at 9600 baud behind a {medium}, {_METERS} meters, 12 values in a read"
    if count > 1:
        name = f"{count} such buses at once"
    return [
        Measure(name, ours.visits_per_s, "what the wire bears", ceiling, "polls", 0.97),
        Bound("the same, share of the time that the wire is in use", busy, "", 0.97, at_least=True),
        Bound("the same, processor time for 1,000 points", ours.cpu_s, "s", _AFFORDABLE_S),
    ]


def _polled(medium: Medium, count: int, timing: BusTiming) -> tuple[Polled, float]:
    """(ours, share of the time that the buses were in use)"""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    peer = context.Process(target=_serve, args=(there, medium, count, timing), daemon=True)
    peer.start()
    try:
        lines = [_settings(medium, number, where) for number, where in enumerate(here.recv())]

        async def program() -> tuple[Polled, float]:
            watching = asyncio.create_task(_share_in_use(here, count))
            return await poll_flat_out(lines, _SECONDS), await watching

        return asyncio.run(program())
    finally:
        peer.terminate()
        peer.join()


async def _share_in_use(buses: Connection, count: int) -> float:
    async def busy_s() -> float:
        buses.send(None)
        while not buses.poll():
            await asyncio.sleep(0.001)
        return float(buses.recv()) / count

    await asyncio.sleep(1)
    before, started = await busy_s(), perf_counter()
    await asyncio.sleep(_SECONDS - 2)
    return (await busy_s() - before) / (perf_counter() - started)


def _settings(medium: Medium, number: int, where: int | str) -> BusLineSettings:
    """The line of a bus behind port or path `where`."""
    return BusLineSettings(
        name=f"bus-{number}",
        protocol="bus",
        serial=SerialPort(path=str(where)) if medium == "serial port" else None,
        converter=Converter(host="127.0.0.1", port=int(where)) if medium == "converter" else None,
        devices=devices(number, _METERS),
    )
