"""The site file is read strictly; the demo's is right; the schemas on disk are current."""

from pathlib import Path

import pytest

from gateway.drivers.base import Group
from gateway.drivers.settings import BusLineSettings, DeviceSeries, ModbusTcpLineSettings
from gateway.errors import ConfigError
from gateway.settings import json_schemas, load_site
from gateway.templates.library import Library, firmware_config

GOOD = """\
project: demo
gateway: gw-1
state_directory: state
broker: {host: localhost}
lines:
  - name: one
    protocol: modbus-tcp
    host: localhost
    port: 1502
    devices:
      - {id: m-1, template: gatemeter-demo-water, unit_id: 1}
      - id: m-2
        template: gatemeter-demo-water
        unit_id: 2
        periods: {billing_s: 900, instant_s: 0.5}
    device_series:
      - id: "s-{n}"
        template: gatemeter-demo-electricity
        first_unit_id: 10
        ranges: {n: "08..11"}
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_site(write(tmp_path, text))
    return [f"{problem.line} {problem.key}: {problem.expected}" for problem in caught.value.problems]


def test_a_site_expands_its_series(tmp_path: Path) -> None:
    line = load_site(write(tmp_path, GOOD)).lines[0]
    assert isinstance(line, ModbusTcpLineSettings)
    devices = [device for device, _ in line.all_devices()]
    assert [(device.id, device.unit_id) for device in devices] == [
        ("m-1", 1), ("m-2", 2), ("s-08", 10), ("s-09", 11), ("s-10", 12), ("s-11", 13),
    ]  # fmt: skip
    assert devices[1].periods is not None
    assert devices[1].periods.in_ms() == {Group.BILLING: 900_000, Group.INSTANT: 500}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("gateway: gw-1", "gateway: gw/1", "2 gateway: String should match pattern"),
        ("port: 1502", "prot: 1502", "9 lines[0].prot: unknown key (did you mean 'port'?)"),
        (
            "modbus-tcp",
            "modbus-udp",
            "7 lines[0].protocol: Input should be one of 'modbus-tcp', 'bus', 'coap-server', 'coap-client'",
        ),
        ("unit_id: 2", "unit_id: 1", "14 lines[0].devices[1].unit_id: each unit id of a line once, 1 is repeated"),
        ("unit_id: 2", "unit_id: 2\n        instance: 1", "15 lines[0].devices[1].instance: at most 0 for gatemeter"),
        ("id: m-2", "id: m-1", "12 lines[0].devices[1].id: each device id once, m-1 is repeated"),
        ("first_unit_id: 10", "first_unit_id: 1", "19 lines[0].device_series[0].first_unit_id: each unit id"),
        ("demo-electricity", "demo-gas", "18 lines[0].device_series[0].template: one of abb-b21, "),
        ('"08..11"', '"11..08"', "20 lines[0].device_series[0].ranges.n: Value error, expected a rising range"),
        ("s-{n}", "s-{m}", "17 lines[0].device_series[0]: Value error, expected id to use each of {n}"),
        ("s-{n}", "s {n}", "16 lines[0].device_series: device codes of letters"),
        ("billing_s: 900", "billing_s: 0", "15 lines[0].devices[1].periods.billing_s: Input should be greater than 0"),
        ("billing_s: 900", "billing_s: .nan", "15 lines[0].devices[1].periods.billing_s: Input should be a finite"),
        ("host: localhost}", "hots: localhost}", "4 broker.hots: unknown key (did you mean 'host'?)"),
        (
            "lines:",
            "report: {dead_bands: {voltage_l1: 1 A}}\nlines:",
            "5 report.dead_bands: Value error, voltage_l1: expected % or a unit that converts to mV, found '1 A'",
        ),
        ("lines:", "report: {heartbeat: 60}\nlines:", "5 report.heartbeat: unknown key (did you mean 'heartbeat_s'?)"),
        ("lines:", "cloud_keys: {k-1: AAAA}\nlines:", "5 cloud_keys.k-1: Value error, expected 32 bytes in base64"),
    ],
)
def test_each_mistake_is_located(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, GOOD.replace(old, new))
    assert any(one.startswith(expected) for one in found), found


BUS = """\
project: demo
gateway: gw-1
state_directory: state
broker: {host: localhost}
lines:
  - name: one
    protocol: bus
    converter: {host: localhost, port: 4001, baud_rate: 2400}
    devices:
      - {id: e-1, template: generic-dlt645-2007-relay, address: "201709320072", password: {env: METER_PASSWORD}}
      - {id: w-1, template: generic-cjt188-cold-water, address: "78330011223344"}
      - {id: m-1, template: gatemeter-demo-water, unit_id: 1}
"""


def test_a_bus_carries_meters_of_every_protocol(tmp_path: Path) -> None:
    line = load_site(write(tmp_path, BUS)).lines[0]
    assert isinstance(line, BusLineSettings)
    devices = [device for device, _ in line.all_devices()]
    assert [device.address or device.unit_id for device in devices] == ["201709320072", "78330011223344", 1]
    assert devices[0].password is not None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"201709320072"', '"20170932007200"', "10 lines[0].devices[0].address: 12 digits, generic-dlt645-2007-relay"),
        ('"78330011223344"', '"783300112233"', "11 lines[0].devices[1].address: 14 digits, generic-cjt188-cold-water"),
        ('"201709320072"', '"2017"', "10 lines[0].devices[0].address: String should match pattern"),
        ("unit_id: 1", "unit_id: 1, password: {env: A}", "12 lines[0].devices[2].password: no password, gatemeter"),
        ("{env: METER_PASSWORD}", "{}", "10 lines[0].devices[0].password: Value error, expected one of env and file"),
        (', address: "78330011223344"', "", "11 lines[0].devices[1].address: this key is required"),
    ],
)
def test_each_mistake_on_a_bus_is_located(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in BUS
    found = problems(tmp_path, BUS.replace(old, new))
    assert any(one.startswith(expected) for one in found), found


COAP = """\
project: demo
gateway: gw-1
state_directory: state
broker: {host: localhost}
lines:
  - name: pushed
    protocol: coap-server
    host: 127.0.0.1
    devices:
      - {id: w-1, template: gatemeter-coap-water}
  - name: observed
    protocol: coap-client
    devices:
      - {id: e-1, template: gatemeter-coap-electricity, uri: "coap://192.0.2.7/meter"}
"""


def test_coap_lines_take_meters_that_speak_senml_and_no_others(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, COAP))
    assert [device.id for line in site.lines for device, _ in line.all_devices()] == ["w-1", "e-1"]
    found = problems(tmp_path, COAP.replace("gatemeter-coap-water", "gatemeter-demo-water"))
    assert found[0].startswith("10 lines[0].devices[0].template: a template of senml on a coap-server line")
    found = problems(tmp_path, COAP.replace("id: e-1", "id: w-1"))
    assert found == ["14 lines[1].devices[0].id: each device id once, w-1 is repeated"]


def test_meters_share_a_unit_only_as_different_instances(tmp_path: Path) -> None:
    six = (firmware_config() / "meters" / "gatemeter-demo-electricity.yaml").read_text(encoding="utf-8")
    (tmp_path / "six.yaml").write_text(six + "instances: {count: 6, stride: 100}\n", encoding="utf-8")
    library = Library(tmp_path)
    head = GOOD[: GOOD.index("    devices:")] + "    devices:\n"
    rows = [f"      - {{id: m-{n}, template: six, unit_id: 1, instance: {n}}}\n" for n in range(7)]
    site = load_site(write(tmp_path, head + "".join(rows[:6])), library)
    assert len(list(site.lines[0].all_devices())) == 6
    for more, expected in (
        (rows[6], "at most 5 for six"),
        (rows[0].replace("m-0", "m-9"), "each unit id of a line once"),
    ):
        with pytest.raises(ConfigError, match=expected):
            load_site(write(tmp_path, head + "".join(rows[:6]) + more), library)


def test_two_lines_may_not_share_a_connection_or_a_device(tmp_path: Path) -> None:
    again = GOOD + GOOD[GOOD.index("  - name: one") :].replace("name: one", "name: two")
    found = problems(tmp_path, again)
    assert "24 lines[1].port: one line per connection, localhost:1502 has one already" in found
    assert "26 lines[1].devices[0].id: each device id once, m-1 is repeated" in found


def test_a_series_of_two_ranges_counts_the_last_one_fastest() -> None:
    series = DeviceSeries(id="e-1-{floor}{flat}", template="t", ranges={"floor": "01..10", "flat": "01..04"})
    devices = list(series.expand())
    assert [(device.id, device.unit_id) for device in devices[:5]] == [
        ("e-1-0101", 1), ("e-1-0102", 2), ("e-1-0103", 3), ("e-1-0104", 4), ("e-1-0201", 5),
    ]  # fmt: skip
    assert (devices[-1].id, devices[-1].unit_id) == ("e-1-1004", 40)


def test_the_demo_site_has_two_meters_per_flat() -> None:
    site = load_site(firmware_config() / "sites" / "demo.yaml")
    ids = [device.id for line in site.lines for device, _ in line.all_devices()]
    assert (site.project, site.gateway, len(site.lines), len(ids)) == ("demo", "gw-1", 6, 240)
    flats = {f"{b}-{floor:02}{flat:02}" for b in range(1, 4) for floor in range(1, 11) for flat in range(1, 5)}
    assert set(ids) == {f"{medium}-{flat}" for medium in "ew" for flat in flats}


def test_the_schemas_on_disk_are_current() -> None:
    for name, text in json_schemas().items():
        path = firmware_config() / "schema" / name
        assert path.read_text(encoding="utf-8") == text, f"{path} is old: run `gatemeter devices schema`"
