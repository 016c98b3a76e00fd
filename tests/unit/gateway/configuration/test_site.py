"""The cloud's part of a site over the site file: key by key, with located problems, without this machine's secrets."""

from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.site import CHANGEABLE, Running, fixed_keys, told, unpacked
from gateway.contract import WIRE_VERSION
from gateway.contract.configuration import Configuration
from gateway.errors import ConfigError
from gateway.settings import SiteSettings
from tests.templates import LIBRARY

LOCAL: dict[str, Any] = {
    "project": "demo", "gateway": "gw-1", "state_directory": "s", "broker": {"host": "b"},
    "lines": [
        {"name": "e", "protocol": "modbus-tcp", "host": "h", "port": 1,
         "devices": [{"id": "e-1", "template": "gatemeter-demo-electricity", "unit_id": 1}]},
        {"name": "s", "protocol": "modbus-tcp", "host": "h", "port": 802,
         "tls": {"ca_file": "ca", "cert_file": "cert", "key_file": "key"}},
        {"name": "r", "protocol": "bus", "converter": {"host": "c", "port": 1},
         "devices": [{"id": "d-1", "template": "generic-dlt645-2007-relay", "address": "201709320072",
                      "password": {"env": "SECRET"}}]},
        {"name": "p", "protocol": "coap-server", "host": "127.0.0.1", "tokens_file": "tokens",
         "devices": [{"id": "c-1", "template": "gatemeter-coap-water"}]},
    ],
    "barriers": [
        {"name": "garage", "lot": "l", "broker": {"host": "b", "username": "u", "password_env": "SECRET"},
         "lanes": [{"device": "lane", "sn": "S", "direction": "entry"}]}
    ],
}  # fmt: skip
SITE = SiteSettings.model_validate(LOCAL)


def whole(tmp_path: Path, text: str, **templates: str) -> Running:
    configuration = Configuration(
        WIRE_VERSION, 4, "demo", "gw-1", 1_764_000_000_000, text, templates, 60, "staff", "k1"
    )
    return unpacked(configuration, tmp_path / "4", SITE, LIBRARY)


def problems(tmp_path: Path, text: str, **templates: str) -> str:
    with pytest.raises(ConfigError) as caught:
        whole(tmp_path, text, **templates)
    return told(caught.value, tmp_path / "4")


def test_only_the_keys_that_are_given_take_the_place_of_the_files(tmp_path: Path) -> None:
    site = whole(tmp_path, "periods: {billing_s: 900}\n").site
    assert site.periods.billing_s == 900
    assert site.model_copy(update={"periods": SITE.periods}) == SITE
    assert whole(tmp_path, "lines: []").site.lines == ()
    assert whole(tmp_path, "{}").site == SITE


def test_problems_name_the_line_of_the_text_that_was_sent(tmp_path: Path) -> None:
    assert problems(tmp_path, "periods:\n  billing: 5\n").startswith("site.yaml:2: periods.billing: unknown key")
    for key in ("broker: {host: evil}", "cloud_keys: {}", "state_directory: /", "gateway: gw-2"):
        assert "unknown key" in problems(tmp_path, key)
    lines = "lines:\n- {name: e, protocol: modbus-tcp, host: h, devices: [{id: e-1, template: none, unit_id: 1}]}\n"
    assert problems(tmp_path, lines).startswith("site.yaml:2: lines[0].devices[0].template: one of ")
    assert problems(tmp_path, "lines: [").startswith("site.yaml:")


def test_devices_are_unique_over_both_parts(tmp_path: Path) -> None:
    text = "barriers:\n- {name: g, lot: l, broker: {host: b}, lanes: [{device: e-1, sn: S, direction: exit}]}\n"
    assert "barriers[0].lanes[0].device: each device once" in problems(tmp_path, text)


def test_templates_come_along_and_win_over_those_of_the_software(tmp_path: Path) -> None:
    text = (LIBRARY.directory / "gatemeter-demo-water.yaml").read_text("utf-8")
    line = "lines: [{name: w, protocol: modbus-tcp, host: h, devices: [{id: w, template: own, unit_id: 1}]}]"
    running = whole(tmp_path, line, own=text)
    assert running.library.meter("own") == LIBRARY.meter("gatemeter-demo-water")
    running = whole(tmp_path, "{}", **{"gatemeter-demo-water": text.replace("vendor: ", "vendor: Other ")})
    assert running.library.meter("gatemeter-demo-water").vendor.startswith("Other")
    assert problems(tmp_path, "{}", own="vendor: [").startswith("templates/own.yaml:1: ")


def test_no_password_or_key_of_this_machine_goes_to_another_host(tmp_path: Path) -> None:
    lane = "lanes: [{device: l, sn: S, direction: exit}]"
    same = f"barriers: [{{name: g, lot: l, broker: {{host: b, username: u, password_env: SECRET}}, {lane}}}]"
    assert whole(tmp_path, same).site.barriers[0].broker.password_env == "SECRET"
    other = same.replace("host: b", "host: evil")
    assert "barriers[0].broker: no password or key, or a broker that the site file has" in problems(tmp_path, other)
    tls = "tls: {ca_file: ca, cert_file: cert, key_file: key}"
    line = f"lines: [{{name: x, protocol: modbus-tcp, host: h, port: 802, {tls}}}]"
    assert whole(tmp_path, line).site.lines[0].name == "x"
    assert "lines[0].tls: no tls, or one that the site file has" in problems(
        tmp_path, line.replace("host: h", "host: evil")
    )
    meter = "{id: e, template: generic-dlt645-2007-relay, address: '201709320072', password: {env: SECRET}}"
    bus = f"lines: [{{name: y, protocol: bus, converter: {{host: c, port: 1}}, devices: [{meter}]}}]"
    assert whole(tmp_path, bus).site.lines[0].name == "y"
    found = problems(tmp_path, bus.replace("host: c", "host: evil"))
    assert "lines[0].devices[0].password: no password, or one that the site file has" in found
    pushed = "devices: [{id: w, template: gatemeter-coap-water}]"
    coap = f"lines: [{{name: z, protocol: coap-server, host: 127.0.0.1, tokens_file: tokens, {pushed}}}]"
    assert whole(tmp_path, coap).site.lines[0].name == "z"
    found = problems(tmp_path, coap.replace("tokens_file: tokens", "tokens_file: /etc/passwd"))
    assert "lines[0].tokens_file: no tokens_file, or one that the site file has" in found


def test_a_serial_port_is_a_device_and_no_other_file(tmp_path: Path) -> None:
    line = "lines: [{name: x, protocol: bus, serial: {path: /dev/ttyUSB0}}]"
    assert whole(tmp_path, line).site.lines[0].name == "x"
    for path in ("/etc/passwd", "/dev/../etc/passwd", "ttyUSB0"):
        assert "a port below /dev/" in problems(tmp_path, line.replace("/dev/ttyUSB0", path))


def test_what_needs_a_restart_is_named() -> None:
    assert fixed_keys(SITE, SITE) == ()
    changed = SiteSettings.model_validate(
        LOCAL
        | {"gateway": "gw-2", "health_port": 1, "lines": [], "time_zone": "Europe/Berlin", "broker": {"host": "c"}}
    )
    assert fixed_keys(SITE, changed) == ("gateway", "broker", "health_port")
    assert set(SiteSettings.model_fields) >= CHANGEABLE
