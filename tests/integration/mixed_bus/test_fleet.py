"""The simulated fleet of a site puts meters of every protocol on its buses."""

from pathlib import Path

from gateway.drivers.settings import BusLineSettings
from gateway.lines import line_with_meters
from gateway.settings import load_site
from simulators.modbus.fleet import Fleet, FleetOptions
from tests.integration.mixed_bus.site import NOW_MS
from tests.ports import free_port
from tests.templates import LIBRARY

SITE = """\
project: demo
gateway: gw-1
state_directory: state
broker: {{host: localhost}}
lines:
  - name: mixed
    protocol: bus
    converter: {{host: 127.0.0.1, port: {port}, baud_rate: 115200}}
    timeout_s: 5
    devices:
      - {{id: e-1, template: generic-dlt645-2007-three-phase, address: "201709320072"}}
      - {{id: w-1, template: generic-cjt188-cold-water, address: "78330011223344"}}
      - {{id: h-1, template: generic-cjt188-heat, address: "78330011223345"}}
      - {{id: m-1, template: gatemeter-demo-water, unit_id: 1}}
"""


async def test_a_mixed_line_of_a_site(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(SITE.format(port=free_port()), encoding="utf-8")
    site = load_site(file)
    fleet = Fleet(site, FleetOptions(now_ms=lambda: NOW_MS, turnaround_s=0.0))
    assert set(fleet.called) == {"e-1", "w-1", "h-1"}
    await fleet.start()
    settings = site.lines[0]
    assert isinstance(settings, BusLineSettings)
    line, meters = line_with_meters(settings, LIBRARY)
    try:
        for meter in meters:
            outcome = await meter.read(meter.groups, lambda: NOW_MS)
            readings = [reading for _, answer in outcome.answers for reading in answer]
            device = next(one for one, _ in settings.all_devices() if one.id == meter.device)
            assert len(readings) == len(LIBRARY.meter(device.template).registers)
            assert any(reading.value > 0 for reading in readings)
    finally:
        line.close()
        await fleet.stop()
