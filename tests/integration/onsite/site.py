"""Simulated lines with known meters, for the tools on site."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from gateway.drivers.line_kinds import PolledLineSettings
from gateway.settings import SiteSettings, load_site
from simulators.modbus.fleet import Fleet, FleetOptions
from tests.ports import free_port


def site_of(tmp_path: Path, lines: Sequence[dict[str, Any]]) -> tuple[Path, SiteSettings]:
    """A site file with these lines."""
    file = tmp_path / "site.yaml"
    document = {
        "project": "demo",
        "gateway": "gw-1",
        "state_directory": str(tmp_path / "state"),
        "broker": {"host": "127.0.0.1"},
        "lines": list(lines),
    }
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file, load_site(file)


def tcp_line(**more: Any) -> dict[str, Any]:
    """A Modbus TCP line with three meters of different models."""
    devices = [
        {"id": "a", "template": "eastron-sdm630", "unit_id": 3},
        {"id": "b", "template": "abb-b23", "unit_id": 5},
        {"id": "w", "template": "gatemeter-demo-water", "unit_id": 9},
    ]
    line = {"name": "tcp", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": free_port(), "devices": devices}
    return {**line, "timeout_s": 0.2, **more}


def bus_line(medium: dict[str, Any], devices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A bus with fast characters, so that tests are quick."""
    line = {"name": "bus", "protocol": "bus", "timeout_s": 0.2, "late_answer_s": 0.3, "devices": list(devices)}
    return {**line, **medium}


def converter() -> dict[str, Any]:
    """A serial server on a free port."""
    return {"converter": {"host": "127.0.0.1", "port": free_port(), "baud_rate": 115_200}}


@asynccontextmanager
async def simulated(site: SiteSettings, ptys: bool = False) -> AsyncIterator[Fleet]:
    """The meters of a site, running."""
    fleet = Fleet(site, FleetOptions(turnaround_s=0.001, ptys=ptys))
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


def line_named(site: SiteSettings, name: str) -> PolledLineSettings:
    """A line of the site."""
    line = next(line for line in site.lines if line.name == name)
    assert isinstance(line, PolledLineSettings)
    return line
