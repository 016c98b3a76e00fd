"""One bus with meters of three protocols, and the gateway's side of it."""

import random
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.contract.quantities import Kind
from gateway.drivers.base import Line, ReadsMeter
from gateway.drivers.cjt188.meter import ValveAndClockMeter
from gateway.drivers.dlt645.meter import RelayAndClockMeter
from gateway.drivers.dlt645.secret import MeterPassword
from gateway.drivers.modbus.framing import Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.settings import BusLineSettings, Converter, DeviceSettings, SerialPort
from gateway.lines import MeterBuilder, line_with_meters
from gateway.templates.base import Measured
from simulators.bus.device import BusDevice
from simulators.bus.ports import ConverterPort, PtyPort
from simulators.bus.wire import SimulatedBus
from simulators.cjt188.meter import SimulatedCjt188
from simulators.dlt645.meter import SimulatedDlt645
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.faults import Fault, Faults
from simulators.modbus.meter import SimulatedMeter
from simulators.modbus.station import ModbusStation
from tests.simulated_bus import joined
from tests.templates import LIBRARY, cjt188, dlt645, modbus

ZONE: Final = ZoneInfo("Asia/Shanghai")
NOW_MS: Final = 1_800_000_000_000
HOSTILE: Final = (
    Fault.SILENT, Fault.LATE, Fault.CUT, Fault.DOUBLED, Fault.DOUBLED_LATE, Fault.FLIPPED, Fault.STRAY,
)  # fmt: skip

DEVICES: Final = (
    DeviceSettings(id="modbus", template="gatemeter-demo-electricity", unit_id=7),
    DeviceSettings(id="phase-3", template="generic-dlt645-2007-three-phase", address="201709320072"),
    DeviceSettings(
        id="relay",
        template="generic-dlt645-2007-relay",
        address="201709320073",
        password=MeterPassword(env="METER_RELAY"),
    ),
    DeviceSettings(id="old", template="generic-dlt645-1997", address="138000130754"),
    DeviceSettings(id="valve", template="generic-cjt188-cold-water-valve", address="78330011223344"),
    DeviceSettings(id="heat", template="generic-cjt188-heat", address="78330011223345"),
)


class Counting:
    """Numbers that say which device and channel they are of: every answer has one more turn.

    A number is `turn * 100 + code`, so that neither an old nor another's number can pass for the right one.
    """

    def __init__(self, registers: tuple[Measured, ...], codes: Iterator[int]) -> None:
        self.codes = {one.channel: next(codes) for one in registers if one.quantity.kind is Kind.CUMULATIVE}
        self.factor = {one.channel: int(one.factor) for one in registers if one.channel in self.codes}
        self.turn = 0

    def numbers(self) -> dict[str, int]:
        """What is shown now."""
        return {channel: self.turn * 100 + code for channel, code in self.codes.items()}

    def turn_of(self, channel: str, value: int) -> int:
        """When `value`, of the base unit, was shown. Fails when this device never showed it on this channel."""
        raw, rest = divmod(value, self.factor[channel])
        turn, code = divmod(raw, 100)
        assert rest == 0
        assert code == self.codes[channel], (channel, value)
        assert turn <= self.turn
        return turn


@dataclass
class Mixed:
    """The bus, what is on it, and the drivers."""

    bus: SimulatedBus
    line: Line
    meters: dict[str, ReadsMeter]
    counting: dict[str, Counting]
    relay: SimulatedDlt645
    valve: SimulatedCjt188

    @property
    def relay_meter(self) -> RelayAndClockMeter:
        """Driver of the meter with the relay."""
        meter = self.meters["relay"]
        assert isinstance(meter, RelayAndClockMeter)
        return meter

    @property
    def valve_meter(self) -> ValveAndClockMeter:
        """Driver of the meter with the valve."""
        meter = self.meters["valve"]
        assert isinstance(meter, ValveAndClockMeter)
        return meter


class Turning:
    """A device whose every answer shows numbers of the next turn."""

    def __init__(self, device: BusDevice, counting: Counting, shown: MutableMapping[str, Any]) -> None:
        self._device, self._counting, self._shown = device, counting, shown

    def answer(self, frame: bytes) -> bytes | None:
        """That of the device."""
        self._counting.turn += 1
        for channel, number in self._counting.numbers().items():
            self._shown[channel] = number
        answer = self._device.answer(frame)
        if answer is None:
            self._counting.turn -= 1
        return answer


_Built = tuple[list[BusDevice], dict[str, Counting], SimulatedDlt645, SimulatedCjt188]


def _built() -> _Built:
    codes = count(11)
    devices: list[BusDevice] = []
    counting: dict[str, Counting] = {}
    named: dict[str, SimulatedDlt645 | SimulatedCjt188] = {}
    for device in DEVICES:
        template = LIBRARY.meter(device.template)
        numbers = counting[device.id] = Counting(template.registers, codes)
        dwelling = Dwelling(1, device.id, template.medium.value, ZONE)
        if template.protocol == "modbus":
            meter = SimulatedMeter(device.id, modbus(device.template), dwelling, lambda: NOW_MS)
            devices.append(Turning(ModbusStation(device.unit_id or 0, meter), numbers, meter.overrides))
            continue
        called: SimulatedDlt645 | SimulatedCjt188
        if template.protocol == "dlt645":
            called = SimulatedDlt645(device.id, device.address or "", dlt645(device.template), dwelling, lambda: NOW_MS)
        else:
            called = SimulatedCjt188(device.id, device.address or "", cjt188(device.template), dwelling, lambda: NOW_MS)
        named[device.id] = called
        devices.append(Turning(called, numbers, called.overrides))
    relay, valve = named["relay"], named["valve"]
    assert isinstance(relay, SimulatedDlt645)
    assert isinstance(valve, SimulatedCjt188)
    return devices, counting, relay, valve


def _mixed(bus: SimulatedBus, line: Line, meters: Sequence[ReadsMeter], built: _Built) -> Mixed:
    _, counting, relay, valve = built
    return Mixed(bus, line, {meter.device: meter for meter in meters}, counting, relay, valve)


@asynccontextmanager
async def mixed_bus(serial_link: Path | None = None) -> AsyncIterator[Mixed]:
    """The bus behind a converter, or behind a serial port of this machine that `serial_link` leads to."""
    built = _built()
    bus = SimulatedBus(built[0])
    port: ConverterPort | PtyPort = ConverterPort(bus, "127.0.0.1", 0)
    if serial_link is not None:
        port = PtyPort(bus, serial_link)
    await port.start()
    settings = BusLineSettings(
        name="mixed",
        protocol="bus",
        converter=Converter(host="127.0.0.1", port=port.port) if isinstance(port, ConverterPort) else None,
        serial=SerialPort(path=port.path) if isinstance(port, PtyPort) else None,
        timeout_s=1.0,
        late_answer_s=0.1,
        silence_ms=0,
        devices=DEVICES,
    )
    line, meters = line_with_meters(settings, LIBRARY, built[3].local_now)
    try:
        yield _mixed(bus, line, meters, built)
    finally:
        line.close()
        await port.stop()
        bus.stop()


def joined_bus() -> Mixed:
    """The bus in memory, for a virtual clock: bytes take their time, and answers overlap as on a wire.

    What is late comes after 0.3 s at most and takes less than 0.2 s: nothing arrives later than the bus believes.
    """
    built = _built()
    faults = Faults(generator=random.Random(5), late_s=0.3, earliest_late_s=0.001)
    bus, medium = joined(built[0], faults=faults, timeout_s=0.1, late_answer_s=0.6)
    settings = BusLineSettings(name="joined", protocol="bus", converter=Converter(host="localhost", port=4001))
    meters = MeterBuilder(settings, ModbusLine(bus, Rtu()), LIBRARY, built[3].local_now).build(DEVICES)
    return _mixed(medium.simulated, bus, meters, built)
