"""Bus lines of a site file: simulated by one side, polled by the other."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.contract.messages import Point
from gateway.lines import build_line
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker
from gateway.settings import SiteSettings
from simulators.modbus.fleet import Fleet, FleetOptions
from tests.integration.modbus.fleet import until
from tests.templates import LIBRARY, modbus

ELECTRICITY, WATER = "gatemeter-demo-electricity", "gatemeter-demo-water"


def site_with(**line: object) -> SiteSettings:
    """A site with one bus line."""
    return SiteSettings.model_validate({
        "project": "p", "gateway": "g", "state_directory": Path("state"), "broker": {"host": "localhost"},
        "periods": {"billing_s": 0.05, "instant_s": 0.05},
        "lines": [{
            "name": "bus", "protocol": "bus", "silence_ms": 2, "timeout_s": 30.0, **line,
            "devices": [
                {"id": "e-1", "template": ELECTRICITY, "unit_id": 1},
                {"id": "w-1", "template": WATER, "unit_id": 2},
            ],
        }],
    })  # fmt: skip


class Kept:
    """Points that were recorded."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    async def record(self, points: Sequence[Point]) -> None:
        self.points.extend(points)

    async def record_durably(self, points: Sequence[Point]) -> None:
        raise AssertionError("a polled line does not wait for the disk")


async def polled(site: SiteSettings) -> list[Point]:
    """Points of both meters, a few visits long."""
    fleet = Fleet(site, FleetOptions(turnaround_s=0.001, ptys=True))
    await fleet.start()
    records = Kept()
    worker = build_line(site.lines[0], site, LIBRARY, Clock(), records)
    assert isinstance(worker, LineWorker)
    points = records.points
    task = asyncio.create_task(worker.run())
    try:
        await until(lambda: min(sum(point.device == code for point in points) for code in ("e-1", "w-1")) >= 20)
    finally:
        worker.stop()
        await task
        await fleet.stop()
    assert [stats.malformed + stats.timeouts for stats in worker.stats.devices] == [0, 0]
    return points


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
async def test_a_serial_port(framing: str, tmp_path: Path) -> None:
    port = tmp_path / "ttyMETERS"
    points = await polled(site_with(serial={"path": str(port), "baud_rate": 115_200}, modbus_framing=framing))
    assert {point.channel for point in points if point.device == "e-1"} == {
        register.channel for register in modbus(ELECTRICITY).registers
    }
    assert not port.is_symlink()


async def test_a_converter(unused_tcp_port: int) -> None:
    points = await polled(site_with(converter={"host": "127.0.0.1", "port": unused_tcp_port, "baud_rate": 115_200}))
    assert {point.device for point in points} == {"e-1", "w-1"}


async def test_an_old_link_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    port = tmp_path / "ttyMETERS"
    port.symlink_to("/nowhere")
    fleet = Fleet(site_with(serial={"path": str(port)}), FleetOptions(ptys=True))
    await fleet.start()
    assert port.resolve().is_char_device()
    await fleet.stop()
    port.write_text("kept")
    with pytest.raises(FileExistsError):
        await fleet.start()
    assert port.read_text() == "kept"
    await fleet.stop()


async def test_serial_ports_are_left_alone_unless_wanted(tmp_path: Path) -> None:
    fleet = Fleet(site_with(serial={"path": str(tmp_path / "ttyUSB0")}), FleetOptions())
    await fleet.start()
    assert list(tmp_path.iterdir()) == []
    await fleet.stop()
