"""Every template that comes with the software is proven against a simulator built from it."""

import time

import pytest

from gateway.contract import limits
from gateway.drivers.modbus.line import ModbusTcpLine
from gateway.drivers.modbus.meter import ModbusMeter, compile_template
from simulators.modbus.image import value_of
from simulators.modbus.server import MeterLine
from tests.integration.modbus.fleet import simulated
from tests.templates import ids_of, modbus


@pytest.mark.parametrize("template_id", ids_of("modbus"))
async def test_reads_what_the_simulator_shows(template_id: str) -> None:
    template = modbus(template_id)
    meter = simulated("proof-1", template_id)
    frozen = time.time_ns() // 1_000_000
    meter._now_ms = lambda: frozen
    server = MeterLine("proof", {9: meter})
    await server.start("127.0.0.1", 0)
    line = ModbusTcpLine("127.0.0.1", server.port, 2.0)
    await line.connect()
    programs = compile_template(template)
    reader = ModbusMeter("proof-1", 9, line, programs)
    try:
        outcome = await reader.read(reader.groups, lambda: frozen)
    finally:
        line.close()
        await server.stop()
    got = {reading.channel: reading.value for _, readings in outcome.answers for reading in readings}
    expected = {one.channel: value_of(one, meter._raw(one, frozen)) for one in template.registers}
    assert got == expected
    assert len(got) == len(template.registers)
    assert all(limits.MIN_VALUE <= value <= limits.MAX_VALUE for value in got.values())
    assert server.requests == len(programs[reader.groups])
    assert server.requests < max(2, len(template.registers))


@pytest.mark.parametrize("template_id", ids_of("modbus"))
async def test_sentinels_are_missing_not_values(template_id: str) -> None:
    template = modbus(template_id)
    guarded = [register for register in template.registers if register.sentinels]
    meter = simulated("proof-1", template_id)
    meter.overrides = {register.channel: register.sentinels[0] for register in guarded}
    meter.overrides |= {one.channel: float("nan") for one in template.registers if one.type.is_float}
    server = MeterLine("proof", {9: meter})
    await server.start("127.0.0.1", 0)
    line = ModbusTcpLine("127.0.0.1", server.port, 2.0)
    await line.connect()
    reader = ModbusMeter("proof-1", 9, line, compile_template(template))
    try:
        outcome = await reader.read(reader.groups, lambda: 1_700_000_000_000)
    finally:
        line.close()
        await server.stop()
    got = {reading.channel for _, readings in outcome.answers for reading in readings}
    assert got == {register.channel for register in template.registers} - meter.overrides.keys()
    assert outcome.missing == len(meter.overrides)
