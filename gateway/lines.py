"""Builds what runs a line of the site file; the only place that knows all drivers of meters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from gateway.drivers.base import Group, Line, ReadsMeter
from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.transport import SerialMedium, TcpMedium
from gateway.drivers.cjt188 import meter as cjt188
from gateway.drivers.dlt645 import meter as dlt645
from gateway.drivers.dlt645.meter import LocalNow
from gateway.drivers.modbus.framing import Ascii, Framing, Manners, Rtu
from gateway.drivers.modbus.line import ModbusLine, ModbusTcpLine
from gateway.drivers.modbus.meter import ModbusMeter, Programs, compile_template
from gateway.drivers.settings import BusLineSettings, DeviceSettings, LineSettings, ModbusTcpLineSettings
from gateway.polling.clock import Clock
from gateway.polling.midnight import midnights
from gateway.polling.report import ReportRules, rules_of
from gateway.polling.worker import LineWorker, Record
from gateway.settings import SiteSettings
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.report import ReportSettings

_FRAMINGS: Final[dict[str, type[Framing]]] = {"rtu": Rtu, "ascii": Ascii}
_SHORTEST_SILENCE_S: Final = 0.00175
"""Above 19,200 baud the silence between frames no longer shrinks."""


def build_line(
    settings: LineSettings, site: SiteSettings, library: Library, clock: Clock, record: Record
) -> LineWorker:
    """The worker of one line with its meters; nothing is opened yet. Raises ConfigError."""
    zone = ZoneInfo(site.time_zone)
    line, meters = line_with_meters(
        settings, library, lambda: datetime.fromtimestamp(clock.now_ms() / 1000, zone).replace(tzinfo=None)
    )
    periods: Sequence[Mapping[Group, int]] = [
        (device.periods or site.periods).in_ms() for device, _ in settings.all_devices()
    ]
    rules = [
        report_rules(device.report, site.report, library.meter(device.template).report)
        for device, _ in settings.all_devices()
    ]
    next_midnight = midnights(zone)
    return LineWorker(settings.name, line, meters, periods, clock, record, next_midnight, rules)


def report_rules(
    device: ReportSettings | None, site: ReportSettings | None, template: ReportSettings | None
) -> ReportRules | None:
    """What a device reports: everything, unless site or device ask for exceptions; then also what its template says."""
    return None if device is None and site is None else rules_of((template, site, device))


def line_with_meters(
    settings: LineSettings, library: Library, local_now: LocalNow | None = None
) -> tuple[Line, list[ReadsMeter]]:
    """A line and its meters in the order of the settings; templates are compiled once each. Raises ConfigError.

    `local_now` is the wall clock of the property; without it, meters that want to know how long an order is valid are
    only read.
    """
    if isinstance(settings, ModbusTcpLineSettings):
        modbus: ModbusLine = ModbusTcpLine(settings.host, settings.port, settings.timeout_s, settings.tls)
    else:
        modbus = ModbusLine(bus_of(settings), _FRAMINGS[settings.modbus_framing]())
    return modbus.bus, meters_on(modbus, [device for device, _ in settings.all_devices()], library, local_now)


def meters_on(
    modbus: ModbusLine, devices: Sequence[DeviceSettings], library: Library, local_now: LocalNow | None = None
) -> list[ReadsMeter]:
    """The drivers of `devices`, whatever their protocol, on the bus that `modbus` speaks on. Raises ConfigError."""
    builder = _MeterBuilder(modbus, library, local_now)
    return [builder.build(device) for device in devices]


def timing_of(settings: BusLineSettings) -> Timing:
    """How time passes on a bus."""
    port = settings.serial or settings.converter
    assert port is not None
    usual_s = _SHORTEST_SILENCE_S if port.baud_rate > 19_200 else 3.5 * port.character_s
    silence_s = usual_s if settings.silence_ms is None else settings.silence_ms / 1000
    return Timing(settings.timeout_s, port.character_s, silence_s, settings.late_answer_s)


def bus_of(settings: BusLineSettings) -> Bus:
    """The bus that all meters of a bus line share, whatever their protocol."""
    timing = timing_of(settings)
    if settings.serial is not None:
        return Bus(SerialMedium(settings.serial), timing, reopens=False, may_echo=True)
    assert settings.converter is not None
    medium = TcpMedium(settings.converter.host, settings.converter.port)
    return Bus(medium, timing, reopens=True, may_echo=True)


class _MeterBuilder:
    """Makes the meters of one line; the one place where a protocol of a bus is added."""

    def __init__(self, modbus: ModbusLine, library: Library, local_now: LocalNow | None) -> None:
        self._modbus, self._library, self._local_now = modbus, library, local_now
        self._programs: dict[str, Programs] = {}
        self._dlt645: dict[str, dlt645.Compiled] = {}
        self._cjt188: dict[str, cjt188.Compiled] = {}

    def build(self, device: DeviceSettings) -> ReadsMeter:
        """The driver of a meter by the protocol of its template."""
        template = self._library.meter(device.template)
        if isinstance(template, Dlt645Template):
            return self._dlt645_meter(device, template)
        if isinstance(template, Cjt188Template):
            return self._cjt188_meter(device, template)
        assert isinstance(template, ModbusTemplate), template.protocol
        return self._modbus_meter(device, template)

    def _modbus_meter(self, device: DeviceSettings, template: ModbusTemplate) -> ReadsMeter:
        assert device.unit_id is not None
        if device.template not in self._programs:
            self._programs[device.template] = compile_template(template)
        pause_s = template.limits.pause_ms / 1000
        if pause_s:
            self._modbus.treat(device.unit_id, Manners(rest_s=pause_s))
        return ModbusMeter(device.id, device.unit_id, self._modbus, self._programs[device.template])

    def _dlt645_meter(self, device: DeviceSettings, template: Dlt645Template) -> ReadsMeter:
        assert device.address is not None
        if device.template not in self._dlt645:
            self._dlt645[device.template] = dlt645.compile_meter(template)
        authority = None
        if device.password is not None and self._local_now is not None:
            authority = dlt645.Authority(device.password.read, self._local_now)
        compiled = self._dlt645[device.template]
        return dlt645.build_meter(device.id, device.address, self._modbus.bus, compiled, authority)

    def _cjt188_meter(self, device: DeviceSettings, template: Cjt188Template) -> ReadsMeter:
        assert device.address is not None
        if device.template not in self._cjt188:
            self._cjt188[device.template] = cjt188.compile_meter(template)
        return cjt188.build_meter(device.id, device.address, self._modbus.bus, self._cjt188[device.template])
