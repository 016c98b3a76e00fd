"""The hostile peer of the unit tests once more, on real sockets and a real serial port."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.transport import SerialMedium, TcpMedium
from gateway.drivers.modbus.framing import Ascii, Framing, Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.settings import SerialPort
from gateway.errors import DeviceError
from simulators.bus.ports import ConverterPort, PtyPort
from simulators.bus.wire import BusTiming, SimulatedBus
from simulators.modbus.faults import NOT_ON_A_BUS, ON_THE_WIRE, Fault, Faults
from simulators.modbus.server import MeterLine
from simulators.modbus.station import ModbusStation
from tests.encoded_meter import EncodedMeter
from tests.modbus_lines import tcp_line

UNITS = range(1, 9)
COUNTS = (7, 8, 12, 24)
TIMEOUT_S = 0.04
LATE_S = 0.6
"""Much longer than anything is late here, so that a busy machine proves nothing wrong."""
_READ = 80
"""So many answers at least are compared with what was served."""


class Counted(Faults):
    """Remembers what it brought about."""

    def __init__(self, faults: frozenset[Fault], seed: int) -> None:
        super().__init__(dict.fromkeys(sorted(faults, key=str), 0.4 / len(faults)), random.Random(seed), 0.08)
        self.earliest_late_s = 0.001
        self.seen: Counter[Fault] = Counter()

    def draw(self) -> Fault | None:
        fault = super().draw()
        if fault is not None:
            self.seen[fault] += 1
        return fault


@asynccontextmanager
async def line_to(kind: str, meters: dict[int, EncodedMeter], wire: Counted) -> AsyncIterator[ModbusLine]:
    """A line of `kind` to the meters."""
    if kind == "mbap":
        server = MeterLine("hazards", meters)
        await server.start("127.0.0.1", 0)
        modbus: ModbusLine = tcp_line("127.0.0.1", server.port, TIMEOUT_S)
        try:
            yield modbus
        finally:
            modbus.close()
            await server.stop()
        return
    framing: Framing = Ascii() if kind == "ascii" else Rtu()
    stations = [ModbusStation(unit, meter, "ascii" if kind == "ascii" else "rtu") for unit, meter in meters.items()]
    simulated = SimulatedBus(stations, BusTiming(silence_s=0.001, turnaround_s=0.001), wire)
    port = PtyPort(simulated) if kind == "serial" else ConverterPort(simulated, "127.0.0.1", 0)
    await port.start()
    medium = (
        SerialMedium(SerialPort(path=port.path)) if isinstance(port, PtyPort) else TcpMedium("127.0.0.1", port.port)
    )
    timing = Timing(TIMEOUT_S, 0.0, 0.002, LATE_S)
    modbus = ModbusLine(Bus(medium, timing, reopens=kind != "serial", may_echo=True), framing)
    try:
        yield modbus
    finally:
        modbus.close()
        simulated.stop()
        await port.stop()


@pytest.mark.parametrize("kind", ["mbap", "converter", "serial", "ascii"])
async def test_no_wrong_value_is_accepted(kind: str) -> None:
    of_the_device = frozenset(Fault) - ON_THE_WIRE - {Fault.WRONG_FUNCTION}
    if kind == "mbap":  # TCP flips no bits and echoes nothing
        of_the_device |= ON_THE_WIRE - {Fault.FLIPPED, Fault.ECHO, Fault.STRAY}
    else:
        of_the_device -= NOT_ON_A_BUS
    meters = {unit: EncodedMeter(unit, monotonic) for unit in UNITS}
    for meter in meters.values():
        meter.faults = Counted(of_the_device, meter.unit)
    wire = Counted(ON_THE_WIRE, 1)
    outcomes: Counter[str] = Counter()

    async def read_all_the_time(modbus: ModbusLine, unit: int) -> None:
        generator = random.Random(f"{kind}/{unit}")
        asked = 0
        while asked < 32 or outcomes["read"] <= _READ:  # a busy machine answers less of them in time
            asked += 1
            function, address, count = generator.choice((3, 4)), 100 * generator.randrange(8), generator.choice(COUNTS)
            asked_at = monotonic()
            try:
                registers = await modbus.read(unit, function, address, count)
            except DeviceError as error:
                outcomes[type(error).__name__] += 1
                continue
            served = meters[unit].served[tuple(registers)]
            assert served[:3] == (function, address, count)
            assert asked_at - served[3] <= LATE_S
            outcomes["read"] += 1

    async with line_to(kind, meters, wire) as modbus:
        # Together, so that the bus goes on while questions of one look rest.
        await asyncio.gather(*(read_all_the_time(modbus, unit) for unit in UNITS))
    drawn = set(wire.seen).union(*(meter.faults.seen for meter in meters.values()))  # type: ignore[attr-defined]
    assert drawn >= of_the_device | (frozenset() if kind == "mbap" else ON_THE_WIRE)
    assert outcomes["read"] > _READ
    assert outcomes["MalformedReply"] > 10
