"""Builds what runs a line of the site file; the only place that knows all drivers of meters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from gateway.contract.messages import Point
from gateway.drivers.base import Group, Line, ReadsMeter
from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.transport import SerialMedium, TcpMedium
from gateway.drivers.cjt188 import meter as cjt188
from gateway.drivers.coap.settings import CoapClientLineSettings, CoapServerLineSettings
from gateway.drivers.dlt645 import meter as dlt645
from gateway.drivers.dlt645.meter import LocalNow
from gateway.drivers.line_kinds import LineSettings, PolledLineSettings
from gateway.drivers.modbus.framing import Ascii, Framing, Manners, Mbap, Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.modbus.meter import ModbusMeter, modbus_meters
from gateway.drivers.modbus.planner import TCP_COST, Cost, rtu_cost
from gateway.drivers.modbus.program import Member, Programs
from gateway.drivers.settings import BusLineSettings, DeviceSettings, ModbusTcpLineSettings
from gateway.health.stats import LineStats
from gateway.polling.clock import Clock
from gateway.polling.midnight import midnights
from gateway.polling.report import ReportRules, rules_of
from gateway.polling.worker import LineWorker
from gateway.settings import SiteSettings
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.report import ReportSettings

_FRAMINGS: Final[dict[str, type[Framing]]] = {"rtu": Rtu, "ascii": Ascii}
_USUAL_TURNAROUND_S: Final = 0.02
"""What a meter takes to begin its answer; few documents say it."""
_SHORTEST_SILENCE_S: Final = 0.00175
"""Above 19,200 baud the silence between frames no longer shrinks."""


class Records(Protocol):
    """Where the points of all lines go."""

    async def record(self, points: Sequence[Point]) -> None:
        """Takes points; they are on the disk a little later."""

    async def record_durably(self, points: Sequence[Point]) -> None:
        """Takes points and returns when they are on the disk. Raises OutboxError when they are not."""


class RunningLine(Protocol):
    """What runs a line, whatever its kind."""

    @property
    def stats(self) -> LineStats:
        """What it did since the start."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Codes of its meters."""

    async def run(self) -> None:
        """Works until `stop`."""

    def stop(self) -> None:
        """Lets `run` finish what it is doing and return."""


def build_line(
    settings: LineSettings, site: SiteSettings, library: Library, clock: Clock, records: Records
) -> RunningLine:
    """What runs one line with its meters; nothing is opened yet. Raises ConfigError, TokensUnusable."""
    if isinstance(settings, CoapServerLineSettings | CoapClientLineSettings):
        templates = {device.template: library.meter(device.template) for device, _ in settings.all_devices()}
        # Loaded by gateways with such a line only: it brings a whole protocol.
        from gateway.drivers.coap.client import CoapClientLine
        from gateway.drivers.coap.server import CoapServerLine

        if isinstance(settings, CoapServerLineSettings):
            # A meter forgets what was acknowledged: it must be on the disk by then.
            return CoapServerLine(settings, templates, clock, records.record_durably)
        return CoapClientLine(settings, templates, clock, records.record)
    return _worker(settings, site, library, clock, records)


def _worker(
    settings: PolledLineSettings, site: SiteSettings, library: Library, clock: Clock, records: Records
) -> LineWorker:
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
    places = places_of([device for device, _ in settings.all_devices()])
    return LineWorker(settings.name, line, meters, periods, clock, records.record, next_midnight, rules, places)


def places_of(devices: Sequence[DeviceSettings]) -> list[int]:
    """Where in its period each device is read: its position, or that of the first device of the same unit."""
    first: dict[int, int] = {}
    return [
        index if device.unit_id is None else first.setdefault(device.unit_id, index)
        for index, device in enumerate(devices)
    ]


def report_rules(
    device: ReportSettings | None, site: ReportSettings | None, template: ReportSettings | None
) -> ReportRules | None:
    """What a device reports: everything, unless site or device ask for exceptions; then also what its template says."""
    return None if device is None and site is None else rules_of((template, site, device))


def line_with_meters(
    settings: PolledLineSettings, library: Library, local_now: LocalNow | None = None
) -> tuple[Line, list[ReadsMeter]]:
    """A line and its meters in the order of the settings; templates are compiled once each. Raises ConfigError.

    `local_now` is the wall clock of the property; without it, meters that want to know how long an order is valid are
    only read.
    """
    modbus = modbus_on(settings)
    devices = [device for device, _ in settings.all_devices()]
    return modbus.bus, MeterBuilder(settings, modbus, library, local_now).build(devices)


def modbus_on(
    settings: PolledLineSettings, bus: type[Bus] = Bus, speaking: type[ModbusLine] = ModbusLine
) -> ModbusLine:
    """The bus or connection of a line with Modbus on it; nothing is opened yet. Tools give classes that take notes."""
    if isinstance(settings, ModbusTcpLineSettings):
        medium = TcpMedium(settings.host, settings.port, settings.tls)
        return speaking(bus(medium, Timing(settings.timeout_s), reopens=True, may_echo=False), Mbap())
    return speaking(bus_of(settings, bus), _FRAMINGS[settings.modbus_framing]())


def programs_for(settings: PolledLineSettings, members: Sequence[Member]) -> Programs:
    """The reads of the meters of one unit on this line, as few and as cheap as its medium allows."""
    if isinstance(settings, ModbusTcpLineSettings):
        return Programs(members, TCP_COST)
    return Programs(members, modbus_cost_of(settings), distinct_looks=True)


def timing_of(settings: BusLineSettings) -> Timing:
    """How time passes on a bus."""
    port = settings.serial or settings.converter
    assert port is not None
    usual_s = _SHORTEST_SILENCE_S if port.baud_rate > 19_200 else 3.5 * port.character_s
    silence_s = usual_s if settings.silence_ms is None else settings.silence_ms / 1000
    return Timing(settings.timeout_s, port.character_s, silence_s, settings.late_answer_s)


def modbus_cost_of(settings: BusLineSettings) -> Cost:
    """What reads of Modbus devices cost on a bus; in ASCII each byte is two characters."""
    timing = timing_of(settings)
    characters = 2 if settings.modbus_framing == "ascii" else 1
    return rtu_cost(characters * timing.character_s, timing.silence_s, _USUAL_TURNAROUND_S)


def bus_of(settings: BusLineSettings, bus: type[Bus] = Bus) -> Bus:
    """The bus that all meters of a bus line share, whatever their protocol."""
    timing = timing_of(settings)
    if settings.serial is not None:
        return bus(SerialMedium(settings.serial), timing, reopens=False, may_echo=True)
    assert settings.converter is not None
    medium = TcpMedium(settings.converter.host, settings.converter.port)
    return bus(medium, timing, reopens=True, may_echo=True)


class MeterBuilder:
    """Makes the meters of one line; the one place where a protocol of a bus is added."""

    def __init__(
        self, settings: PolledLineSettings, modbus: ModbusLine, library: Library, local_now: LocalNow | None = None
    ) -> None:
        self._settings, self._modbus = settings, modbus
        self._library, self._local_now = library, local_now
        self._programs: dict[tuple[tuple[str, int], ...], Programs] = {}
        self._dlt645: dict[str, dlt645.Compiled] = {}
        self._cjt188: dict[str, cjt188.Compiled] = {}

    def build(self, devices: Sequence[DeviceSettings]) -> list[ReadsMeter]:
        """The meters of a line in the order of its settings, by the protocols of their templates."""
        built: dict[str, ReadsMeter] = {}
        units: dict[int, list[DeviceSettings]] = {}
        for device in devices:
            template = self._library.meter(device.template)
            if isinstance(template, Dlt645Template):
                built[device.id] = self._dlt645_meter(device, template)
            elif isinstance(template, Cjt188Template):
                built[device.id] = self._cjt188_meter(device, template)
            else:
                assert device.unit_id is not None
                units.setdefault(device.unit_id, []).append(device)
        for unit, members in units.items():
            built |= {meter.device: meter for meter in self._modbus_unit(unit, members)}
        return [built[device.id] for device in devices]

    def _modbus_unit(self, unit: int, devices: Sequence[DeviceSettings]) -> list[ModbusMeter]:
        """All meters that are in one unit: they are read together."""
        key = tuple((device.template, device.instance) for device in devices)
        if key not in self._programs:
            members = [Member(self._template(template_id), instance) for template_id, instance in key]
            self._programs[key] = programs_for(self._settings, members)
        programs = self._programs[key]
        pause_s = max(member.template.limits.pause_ms for member in programs.members) / 1000
        if pause_s:
            self._modbus.treat(unit, Manners(rest_s=pause_s))
        return modbus_meters([device.id for device in devices], unit, self._modbus, programs)

    def _template(self, template_id: str) -> ModbusTemplate:
        template = self._library.meter(template_id)
        assert isinstance(template, ModbusTemplate), template.protocol
        return template

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
