"""One unit that holds several meters: each a device of its own in the site, read together on the wire."""

from pathlib import Path

from gateway.drivers.base import Group
from gateway.drivers.settings import DeviceSettings, ModbusTcpLineSettings
from gateway.lines import line_with_meters
from gateway.templates.library import Library, firmware_config
from gateway.templates.modbus import ModbusTemplate
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.image import value_of
from simulators.modbus.meter import SimulatedMeter
from simulators.modbus.server import MeterLine
from simulators.modbus.unit import SimulatedUnit
from tests.integration.modbus.fleet import ZONE

NOW_MS = 1_780_000_000_000


async def test_the_meters_of_a_unit_cost_the_requests_of_one(tmp_path: Path) -> None:
    plain = (firmware_config() / "meters" / "gatemeter-demo-electricity.yaml").read_text(encoding="utf-8")
    (tmp_path / "three.yaml").write_text(plain + "instances: {count: 3, stride: 40}\n", encoding="utf-8")
    library = Library(tmp_path)
    template = library.meter("three")
    assert isinstance(template, ModbusTemplate)
    meters = [
        SimulatedMeter(f"m-{n}", template, Dwelling(1, f"m-{n}", "electricity", ZONE), lambda: NOW_MS, instance=n)
        for n in range(3)
    ]
    server = MeterLine("unit", {5: SimulatedUnit(meters)})
    await server.start("127.0.0.1", 0)
    settings = ModbusTcpLineSettings(
        name="unit",
        protocol="modbus-tcp",
        host="127.0.0.1",
        port=server.port,
        devices=tuple(DeviceSettings(id=f"m-{n}", template="three", unit_id=5, instance=n) for n in range(3)),
    )
    line, readers = line_with_meters(settings, library)
    try:
        await line.connect()
        outcomes = [await reader.read(frozenset(Group), lambda: NOW_MS) for reader in readers]
    finally:
        line.close()
        await server.stop()
    assert server.requests == 1
    for meter, outcome in zip(meters, outcomes, strict=True):
        got = {reading.channel: reading.value for _, readings in outcome.answers for reading in readings}
        assert got == {one.channel: value_of(one, meter.raws(one, NOW_MS)) for one in meter.registers}
    totals = {outcome.answers[0][1][0].value for outcome in outcomes}
    assert len(totals) == 3
