"""Builds what runs a line of the site file; the only place that knows all drivers of meters."""

from collections.abc import Mapping, Sequence

from gateway.drivers.base import Group, Line, ReadsMeter
from gateway.drivers.modbus.line import ModbusTcpLine
from gateway.drivers.modbus.meter import ModbusMeter, Programs, compile_template
from gateway.drivers.settings import LineSettings, ModbusTcpLineSettings
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker, Record
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate


def build_line(
    settings: LineSettings, site: SiteSettings, library: Library, clock: Clock, record: Record
) -> LineWorker:
    """The worker of one line with its meters; nothing is opened yet. Raises ConfigError."""
    assert isinstance(settings, ModbusTcpLineSettings), settings.protocol
    line, meters = modbus_tcp(settings, library)
    periods: Sequence[Mapping[Group, int]] = [
        (device.periods or site.periods).in_ms() for device, _ in settings.all_devices()
    ]
    return LineWorker(settings.name, line, meters, periods, clock, record)


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
