"""A scan finds who is there, by every protocol, and names the right template first."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from gateway.drivers.line_kinds import PolledLineSettings
from gateway.drivers.settings import DeviceSettings
from gateway.onsite.found import Scanned, site_snippet
from gateway.onsite.scan import PROTOCOLS, Order, Scanner
from gateway.templates.library import Library
from simulators.modbus.server import MeterLine
from tests.integration.modbus.fleet import simulated as meter
from tests.integration.onsite.site import bus_line, converter, line_named, simulated, site_of, tcp_line

LIBRARY = Library()
TWO_645: tuple[dict[str, Any], ...] = tuple(
    {"id": f"e-{number}", "template": "generic-dlt645-2007-single-phase", "address": f"0000123456{number}"}
    for number in (12, 78)
)


async def scanned(
    line: PolledLineSettings,
    units: Sequence[int],
    protocols: Sequence[str] = PROTOCOLS,
    stop: asyncio.Event | None = None,
) -> Scanned:
    scanner = Scanner(line, LIBRARY, Order(units, protocols, LIBRARY.ids, guesses=3, each_s=20))
    try:
        return await scanner.run(stop or asyncio.Event())
    finally:
        scanner.close()


def best(found: Scanned) -> dict[str, str]:
    return {one.station: one.guesses[0].template if one.guesses else "" for one in found.found}


async def test_units_of_a_network_line_and_their_models(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [tcp_line(timeout_s=0.2)])
    async with simulated(site):
        found = await scanned(line_named(site, "tcp"), range(1, 11))
    assert best(found) == {"unit 3": "eastron-sdm630", "unit 5": "abb-b23", "unit 9": "gatemeter-demo-water"}
    assert [one.known_as for one in found.found] == ["a", "b", "w"]
    assert found.complete
    snippet = yaml.safe_load(site_snippet(found))
    for device in snippet["devices"]:
        DeviceSettings.model_validate(device)
    assert [device["unit_id"] for device in snippet["devices"]] == [3, 5, 9]


async def test_meters_of_all_protocols_on_one_bus(tmp_path: Path) -> None:
    devices: list[dict[str, Any]] = [
        TWO_645[0],
        {"id": "f", "template": "generic-cjt188-cold-water", "address": "00000012345678"},
        {"id": "m", "template": "eastron-sdm630", "unit_id": 2},
    ]
    _, site = site_of(tmp_path, [bus_line(converter(), devices)])
    async with simulated(site):
        found = await scanned(line_named(site, "bus"), range(1, 4))
    assert {one.station: one.protocol for one in found.found} == {
        "address 000012345612": "dlt645",
        "address 00000012345678": "cjt188",
        "unit 2": "modbus",
    }
    names = best(found)
    assert names["address 000012345612"] == "generic-dlt645-2007-single-phase"
    assert names["unit 2"] == "eastron-sdm630"
    assert LIBRARY.meter(names["address 00000012345678"]).protocol == "cjt188"
    assert found.notes == []


async def test_meters_that_answer_a_wildcard_together_are_told_apart(tmp_path: Path) -> None:
    line = bus_line(converter(), TWO_645) | {"timeout_s": 0.02, "late_answer_s": 0.05}
    _, site = site_of(tmp_path, [line])
    async with simulated(site):
        found = await scanned(line_named(site, "bus"), (), ["dlt645"])
    assert {one.address for one in found.found} == {"000012345612", "000012345678"}
    assert {one.known_as for one in found.found} == {"e-12", "e-78"}


async def test_a_scan_that_is_stopped_gives_what_it_has(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [tcp_line()])
    stop = asyncio.Event()
    async with simulated(site) as fleet:
        running = asyncio.create_task(scanned(line_named(site, "tcp"), range(3, 200), stop=stop))
        while not fleet.lines["tcp"].requests:
            await asyncio.sleep(0)
        stop.set()
        found = await running
    assert not found.complete
    assert [one.unit_id for one in found.found] == [3]
    assert found.as_json()["complete"] is False
    assert "no template fits" in site_snippet(found)


async def test_one_device_that_answers_for_every_unit_is_one_device(tmp_path: Path) -> None:
    everywhere = meter("one", "abb-b23")
    server = MeterLine("direct", dict.fromkeys(range(1, 20), everywhere))
    await server.start("127.0.0.1", 0)
    _, site = site_of(tmp_path, [tcp_line(port=server.port, devices=[])])
    try:
        found = await scanned(line_named(site, "tcp"), range(1, 13))
    finally:
        await server.stop()
    assert [one.unit_id for one in found.found] == [1]
    assert "every unit id answers" in found.notes[0]
    assert best(found) == {"unit 1": "abb-b23"}


async def test_a_converter_that_reports_silent_units_finds_nobody(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(12):
            writer.write(request[:4] + b"\0\3" + request[6:7] + bytes([request[7] | 0x80, 11]))
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, site = site_of(tmp_path, [tcp_line(port=port, devices=[])])
    async with server:
        found = await scanned(line_named(site, "tcp"), range(1, 5))
    assert found.found == []


def test_a_snippet_names_what_could_not_be_guessed() -> None:
    empty: dict[str, Any] = yaml.safe_load(site_snippet(Scanned("x")))
    assert empty == {"devices": None}
