"""The meters of a whole site: one listening socket per line of the site file, one meter per device."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.drivers.settings import ModbusTcpLineSettings
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.faults import Fault, Faults
from simulators.modbus.meter import Served, SimulatedMeter
from simulators.modbus.server import MeterLine


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
    library: Library = field(default_factory=Library)
    now_ms: Callable[[], int] = wall_ms


class Fleet:
    """Builds and runs the simulated meters of a site."""

    def __init__(self, site: SiteSettings, options: FleetOptions, served: Served | None = None) -> None:
        self._options = options
        self._served = served
        self.lines: dict[str, MeterLine] = {}
        self.meters: dict[str, SimulatedMeter] = {}
        self._addresses: dict[str, tuple[str, int]] = {}
        for line in site.lines:
            if not isinstance(line, ModbusTcpLineSettings):
                continue
            self.lines[line.name] = MeterLine(line.name, self._meters_of(line))
            self._addresses[line.name] = (line.host, line.port)

    async def start(self) -> None:
        """Listens where the site says that the lines are. Raises OSError."""
        for name, line in self.lines.items():
            await line.start(*self._addresses[name])

    async def stop(self) -> None:
        """Closes everything."""
        for line in self.lines.values():
            await line.stop()

    def _meters_of(self, line: ModbusTcpLineSettings) -> dict[int, SimulatedMeter]:
        meters: dict[int, SimulatedMeter] = {}
        options = self._options
        for device, _ in line.all_devices():
            template = options.library.meter(device.template)
            assert isinstance(template, ModbusTemplate)
            assert device.unit_id is not None
            dwelling = Dwelling(options.seed, device.id, template.medium.value, options.time_zone)
            meter = SimulatedMeter(device.id, template, dwelling, options.now_ms, options.advance, self._served)
            generator = random.Random(f"{options.seed}/{device.id}")
            meter.faults = Faults(dict(options.fault_rates), generator, options.late_s)
            meters[device.unit_id] = self.meters[device.id] = meter
        return meters
