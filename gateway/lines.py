"""Builds what runs a line of the site file; the only place that knows all drivers of meters."""

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from gateway.drivers.base import Group, Line, ReadsMeter
from gateway.drivers.modbus.line import ModbusTcpLine
from gateway.drivers.modbus.meter import ModbusMeter, Programs, compile_template
from gateway.drivers.settings import LineSettings, ModbusTcpLineSettings
from gateway.polling.clock import Clock
from gateway.polling.midnight import midnights
from gateway.polling.report import ReportRules, rules_of
from gateway.polling.worker import LineWorker, Record
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.report import ReportSettings


def build_line(
    settings: LineSettings, site: SiteSettings, library: Library, clock: Clock, record: Record
) -> LineWorker:
    """The worker of one line with its meters; nothing is opened yet. Raises ConfigError."""
    assert isinstance(settings, ModbusTcpLineSettings), settings.protocol
    line, meters = modbus_tcp(settings, library)
    periods: Sequence[Mapping[Group, int]] = [
        (device.periods or site.periods).in_ms() for device, _ in settings.all_devices()
    ]
    rules = [
        report_rules(device.report, site.report, library.meter(device.template).report)
        for device, _ in settings.all_devices()
    ]
    next_midnight = midnights(ZoneInfo(site.time_zone))
    return LineWorker(settings.name, line, meters, periods, clock, record, next_midnight, rules)


def report_rules(
    device: ReportSettings | None, site: ReportSettings | None, template: ReportSettings | None
) -> ReportRules | None:
    """What a device reports: everything, unless site or device ask for exceptions; then also what its template says."""
    return None if device is None and site is None else rules_of((template, site, device))


def modbus_tcp(settings: ModbusTcpLineSettings, library: Library) -> tuple[Line, list[ReadsMeter]]:
    """A Modbus TCP line and its meters; templates are compiled once each."""
    line = ModbusTcpLine(settings.host, settings.port, settings.timeout_s)
    compiled: dict[str, Programs] = {}
    meters: list[ReadsMeter] = []
    for device, _ in settings.all_devices():
        template = library.meter(device.template)
        assert isinstance(template, ModbusTemplate)
        assert device.unit_id is not None
        if device.template not in compiled:
            compiled[device.template] = compile_template(template)
        programs = compiled[device.template]
        meters.append(ModbusMeter(device.id, device.unit_id, line, programs, template.limits.pause_ms))
    return line, meters
