"""The meters of a whole site: a port per line of the site file, one meter per device."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.drivers.line_kinds import PolledLineSettings
from gateway.drivers.settings import BusLineSettings, DeviceSettings, ModbusTcpLineSettings
from gateway.lines import timing_of
from gateway.settings import SiteSettings
from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from simulators.bus.device import BusDevice
from simulators.bus.ports import BusPort, ConverterPort, PtyPort
from simulators.bus.wire import BusTiming, SimulatedBus
from simulators.cjt188.meter import SimulatedCjt188
from simulators.dlt645.meter import SimulatedDlt645
from simulators.modbus.answers import Answers
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.faults import NOT_ON_A_BUS, ON_THE_WIRE, Fault, Faults
from simulators.modbus.meter import Served, SimulatedMeter
from simulators.modbus.recorded import RecordedDwelling, RecordedMeter, Recording
from simulators.modbus.server import MeterLine
from simulators.modbus.station import ModbusStation
from simulators.modbus.unit import SimulatedUnit


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """How the fleet behaves."""

    seed: int = 1
    time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    advance: bool = False
    """Every answer moves the cumulative registers by at least one step, so that no two answers are equal."""
    fault_rates: Mapping[Fault, float] = field(default_factory=dict)
    late_s: float = 2.0
    turnaround_s: float = 0.02
    """What a meter on a bus takes to begin its answer; bytes on a bus take their time by its baud rate."""
    ptys: bool = False
    """Makes a pseudo-terminal for every serial port of the site, with a link at its path; else those lines are left."""
    library: Library = field(default_factory=Library)
    recordings: Mapping[str, Recording] = field(default_factory=dict)
    """Modbus TCP devices, by id, that replay a real household instead of a curve."""
    now_ms: Callable[[], int] = wall_ms


class Fleet:
    """Builds and runs the simulated meters of a site."""

    def __init__(self, site: SiteSettings, options: FleetOptions, served: Served | None = None) -> None:
        self._options = options
        self._served = served
        self.lines: dict[str, MeterLine] = {}
        """Modbus TCP lines."""
        self.buses: dict[str, SimulatedBus] = {}
        self.meters: dict[str, SimulatedMeter] = {}
        """Those that speak Modbus."""
        self.called: dict[str, SimulatedDlt645 | SimulatedCjt188] = {}
        """Those that are called by their number."""
        self._addresses: dict[str, tuple[str, int]] = {}
        self._ports: list[BusPort] = []
        for line in site.lines:
            if isinstance(line, ModbusTcpLineSettings):
                self.lines[line.name] = MeterLine(line.name, self._units_of(line))
                self._addresses[line.name] = (line.host, line.port)
            elif isinstance(line, BusLineSettings) and (line.converter is not None or options.ptys):
                self._plug_in(line)

    async def start(self) -> None:
        """Listens where the site says that the lines are. Raises OSError."""
        for name, line in self.lines.items():
            await line.start(*self._addresses[name])
        for port in self._ports:
            await port.start()

    async def stop(self) -> None:
        """Closes everything."""
        for line in self.lines.values():
            await line.stop()
        for port in self._ports:
            await port.stop()
        for bus in self.buses.values():
            bus.stop()

    def _plug_in(self, line: BusLineSettings) -> None:
        options = self._options
        timing = timing_of(line)
        rates = {fault: rate for fault, rate in options.fault_rates.items() if fault in ON_THE_WIRE}
        faults = Faults(rates, random.Random(f"{options.seed}/{line.name}"), options.late_s)
        bus = self.buses[line.name] = SimulatedBus(
            self._stations(line),
            BusTiming(timing.character_s, timing.silence_s, options.turnaround_s),
            faults,
        )
        if line.converter is not None:
            self._ports.append(ConverterPort(bus, line.converter.host, line.converter.port))
        else:
            assert line.serial is not None
            self._ports.append(PtyPort(bus, Path(line.serial.path)))

    def _stations(self, line: BusLineSettings) -> list[BusDevice]:
        """What answers on a bus; the one place where another protocol is added."""
        called: list[BusDevice] = []
        for device, _ in line.all_devices():
            template = self._options.library.meter(device.template)
            if isinstance(template, Dlt645Template | Cjt188Template):
                called.append(self._called(device, template))
        units = self._units_of(line).items()
        return called + [ModbusStation(unit, meter, line.modbus_framing) for unit, meter in units]

    def _called(self, device: DeviceSettings, template: Dlt645Template | Cjt188Template) -> BusDevice:
        options = self._options
        assert device.address is not None
        dwelling = self._dwelling(device, template)
        called: SimulatedDlt645 | SimulatedCjt188
        if isinstance(template, Dlt645Template):
            called = SimulatedDlt645(device.id, device.address, template, dwelling, options.now_ms, options.advance)
        else:
            called = SimulatedCjt188(device.id, device.address, template, dwelling, options.now_ms, options.advance)
        called.zone = options.time_zone
        self.called[device.id] = called
        return called

    def _dwelling(self, device: DeviceSettings, template: DeviceTemplate) -> Dwelling:
        options = self._options
        return Dwelling(options.seed, device.id, template.medium.value, options.time_zone)

    def _units_of(self, line: PolledLineSettings) -> dict[int, Answers]:
        """The Modbus meters of a line by their units."""
        units: dict[int, list[SimulatedMeter]] = {}
        for device, _ in line.all_devices():
            if device.unit_id is None:  # called by its number
                continue
            units.setdefault(device.unit_id, []).append(self._meter(device, line))
        return {unit: meters[0] if len(meters) == 1 else SimulatedUnit(meters) for unit, meters in units.items()}

    def _meter(self, device: DeviceSettings, line: PolledLineSettings) -> SimulatedMeter:
        options = self._options
        template = options.library.meter(device.template)
        assert isinstance(template, ModbusTemplate)
        if (recording := options.recordings.get(device.id)) is not None:
            replayed = RecordedDwelling(device.id, template.medium.value, options.time_zone, recording)
            return self._with_faults(RecordedMeter(device.id, template, replayed, options.now_ms), line)
        dwelling = self._dwelling(device, template)
        meter = SimulatedMeter(
            device.id, template, dwelling, options.now_ms, options.advance, self._served, device.instance
        )
        return self._with_faults(meter, line)

    def _with_faults(self, meter: SimulatedMeter, line: PolledLineSettings) -> SimulatedMeter:
        options = self._options
        not_here = ON_THE_WIRE | NOT_ON_A_BUS if isinstance(line, BusLineSettings) else frozenset()
        rates = {fault: rate for fault, rate in options.fault_rates.items() if fault not in not_here}
        meter.faults = Faults(rates, random.Random(f"{options.seed}/{meter.device}"), options.late_s)
        self.meters[meter.device] = meter
        return meter
