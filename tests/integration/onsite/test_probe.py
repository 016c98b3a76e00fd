"""A probe shows what a device says, where it lies, and how long it took."""

from pathlib import Path
from typing import Any

import pytest

from gateway.drivers.settings import DeviceSettings
from gateway.errors import LineDown
from gateway.onsite.probe import Probed, Prober, as_json
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from tests.integration.onsite.site import bus_line, converter, line_named, simulated, site_of, tcp_line

LIBRARY = Library()
ITEMS = (
    {"id": "e", "template": "generic-dlt645-2007-single-phase", "address": "000012345678"},
    {"id": "f", "template": "generic-cjt188-cold-water", "address": "00000012345678"},
    {"id": "m", "template": "eastron-sdm630", "unit_id": 3},
)


async def probed(site: SiteSettings, line: str, device: str, repeat: int = 1) -> Probed:
    settings = line_named(site, line)
    found = next(one for one, _ in settings.all_devices() if one.id == device)
    prober = Prober(settings, LIBRARY)
    try:
        return await prober.run(found, repeat)
    finally:
        prober.close()


async def test_every_register_of_a_modbus_meter_with_its_words_and_times(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [tcp_line()])
    async with simulated(site):
        found = await probed(site, "tcp", "b", repeat=3)
    assert found.fine
    assert [row.channel for row in found.rows] == [one.channel for one in LIBRARY.meter("abb-b23").registers]
    row = next(row for row in found.rows if row.channel == "energy_import_total")
    assert row.where == "FC3 @20480 u64"
    words = row.raw.split()
    assert len(words) == 4
    assert float(row.value) == pytest.approx(int("".join(words), 16) / 100)  # a step is 10 Wh
    asked = [one.asked for one in found.timings]
    assert asked[0] == "FC3 @20480 ×8"
    for one in found.timings:
        assert len(one.whole_ms) == 3
        assert all(0 < first <= whole for first, whole in zip(one.first_ms, one.whole_ms, strict=True))
    assert (found.visits, found.failed_visits, sum(found.errors.values())) == (3, 0, 0)


async def test_items_of_meters_that_are_called_by_number(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [bus_line(converter(), ITEMS)])
    async with simulated(site):
        energy, water = await probed(site, "bus", "e"), await probed(site, "bus", "f")
    for found in (energy, water):
        assert found.fine, found.errors
        assert all(row.value and row.raw for row in found.rows)
    voltage = next(row for row in energy.rows if row.channel == "voltage_l1")
    assert float(voltage.value) == pytest.approx(int(voltage.raw) / 10)
    assert {one.asked for one in energy.timings} >= {"item 02010100"}
    volume = next(row for row in water.rows if row.channel == "volume_total")
    *digits, unit = volume.raw.split()
    assert float(volume.value) == pytest.approx(int("".join(reversed(digits))) / 100)
    assert unit == "2C"


async def test_a_serial_port_is_probed_like_a_converter(tmp_path: Path) -> None:
    port = {"serial": {"path": str(tmp_path / "ttyM0"), "baud_rate": 115_200}}
    _, site = site_of(tmp_path, [bus_line(port, ITEMS[2:])])
    async with simulated(site, ptys=True):
        found = await probed(site, "bus", "m")
    assert found.fine
    assert found.endpoint == str(tmp_path / "ttyM0")
    assert all(row.value for row in found.rows)


async def test_sentinels_and_refusals_are_told_apart(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [tcp_line()])
    async with simulated(site) as fleet:
        fleet.meters["a"].overrides["frequency"] = float("nan")
        found = await probed(site, "tcp", "a")
    row = next(row for row in found.rows if row.channel == "frequency")
    assert (row.value, row.note[:8], bool(row.raw)) == ("", "no value", True)
    assert found.fine  # it answered everything


async def test_a_silent_device_has_errors_and_no_values(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [tcp_line()])
    async with simulated(site):
        prober = Prober(line_named(site, "tcp"), LIBRARY)
        found = await prober.run(DeviceSettings(id="x", template="abb-b23", unit_id=77), repeat=2)
        prober.close()
    assert not found.fine
    assert (found.visits, found.failed_visits, found.errors["timeouts"]) == (2, 2, 2)
    assert {row.note for row in found.rows} == {"not read"}
    document: dict[str, Any] = as_json(found)
    assert document["ok"] is False
    assert document["requests"][0]["complete_ms"] is None
    assert "no answer" in document["requests"][0]["errors"][0]


async def test_a_line_that_is_not_there_is_said(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [tcp_line()])
    with pytest.raises(LineDown, match="does not accept connections"):
        await probed(site, "tcp", "a")
