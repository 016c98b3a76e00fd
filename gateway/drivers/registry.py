"""Which driver serves which protocol; the only place that knows all drivers of meters."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.drivers.base import Line, ReadsMeter
from gateway.drivers.modbus.line import ModbusTcpLine
from gateway.drivers.modbus.meter import ModbusMeter, Programs, compile_template
from gateway.templates.model import MeterTemplate


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """A meter as the site names it, with its template loaded."""

    device: str
    unit_id: int
    template_id: str
    template: MeterTemplate


def modbus_tcp(host: str, port: int, timeout_s: float, meters: Sequence[MeterSpec]) -> tuple[Line, list[ReadsMeter]]:
    """A Modbus TCP line and its meters; templates are compiled once each."""
    line = ModbusTcpLine(host, port, timeout_s)
    compiled: dict[str, Programs] = {}
    built: list[ReadsMeter] = []
    for meter in meters:
        if meter.template_id not in compiled:
            compiled[meter.template_id] = compile_template(meter.template)
        programs = compiled[meter.template_id]
        built.append(ModbusMeter(meter.device, meter.unit_id, line, programs, meter.template.limits.pause_ms))
    return line, built
