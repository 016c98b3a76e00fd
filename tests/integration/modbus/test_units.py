"""One unit that holds several meters: each a device of its own in the site, read together on the wire."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.contract.messages import Point
from gateway.drivers.base import Group
from gateway.drivers.settings import DeviceSettings, ModbusTcpLineSettings
from gateway.lines import line_with_meters, places_of
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker
from gateway.templates.library import Library, firmware_config
from gateway.templates.modbus import ModbusTemplate
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.image import value_of
from simulators.modbus.meter import SimulatedMeter
from simulators.modbus.server import MeterLine
from simulators.modbus.unit import SimulatedUnit
from tests.integration.modbus.fleet import ZONE, until

NOW_MS = 1_780_000_000_000


class Unit:
    """Three meters in one unit, and the line that they are on."""

    def __init__(self, directory: Path) -> None:
        plain = (firmware_config() / "meters" / "gatemeter-demo-electricity.yaml").read_text(encoding="utf-8")
        (directory / "three.yaml").write_text(plain + "instances: {count: 3, stride: 40}\n", encoding="utf-8")
        self.library = Library(directory)
        template = self.library.meter("three")
        assert isinstance(template, ModbusTemplate)
        self.meters = [
            SimulatedMeter(f"m-{n}", template, Dwelling(1, f"m-{n}", "electricity", ZONE), lambda: NOW_MS, instance=n)
            for n in range(3)
        ]
        self.server = MeterLine("unit", {5: SimulatedUnit(self.meters)})

    def settings(self) -> ModbusTcpLineSettings:
        """Of the line, once the server has a port."""
        return ModbusTcpLineSettings(
            name="unit",
            protocol="modbus-tcp",
            host="127.0.0.1",
            port=self.server.port,
            devices=tuple(DeviceSettings(id=f"m-{n}", template="three", unit_id=5, instance=n) for n in range(3)),
        )


async def test_the_meters_of_a_unit_cost_the_requests_of_one(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    await unit.server.start("127.0.0.1", 0)
    line, readers = line_with_meters(unit.settings(), unit.library)
    try:
        await line.connect()
        outcomes = [await reader.read(frozenset(Group), lambda: NOW_MS) for reader in readers]
    finally:
        line.close()
        await unit.server.stop()
    assert unit.server.requests == 1
    for meter, outcome in zip(unit.meters, outcomes, strict=True):
        got = {reading.channel: reading.value for _, readings in outcome.answers for reading in readings}
        assert got == {one.channel: value_of(one, meter.raws(one, NOW_MS)) for one in meter.registers}
    totals = {outcome.answers[0][1][0].value for outcome in outcomes}
    assert len(totals) == 3


async def test_the_meters_of_a_unit_are_due_together(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    await unit.server.start("127.0.0.1", 0)
    settings = unit.settings()
    points: list[Point] = []

    async def record(new: Sequence[Point]) -> None:
        points.extend(new)

    line, readers = line_with_meters(settings, unit.library)
    places = places_of([device for device, _ in settings.all_devices()])
    assert places == [0, 0, 0]
    periods = [{Group.BILLING: 100, Group.INSTANT: 100}] * 3
    worker = LineWorker("unit", line, readers, periods, Clock(), record, places=places)
    running = asyncio.create_task(worker.run())
    try:
        await until(lambda: all(stats.answers >= 5 for stats in worker.stats.devices))
    finally:
        worker.stop()
        await running
        await unit.server.stop()
    assert {point.device for point in points} == {"m-0", "m-1", "m-2"}
    assert unit.server.requests <= max(stats.answers for stats in worker.stats.devices)


def test_devices_of_different_units_are_spread() -> None:
    devices = [DeviceSettings(id=f"m-{n}", template="t", unit_id=unit) for n, unit in enumerate((1, 2, 1, 3))]
    assert places_of([*devices, DeviceSettings(id="a", template="t", address="000000000001")]) == [0, 1, 0, 3, 4]
