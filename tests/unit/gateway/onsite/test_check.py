"""What a right site file still lacks on this machine."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.onsite.check import check
from gateway.settings import load_site
from gateway.templates.library import Library

LIBRARY = Library()


def checked(tmp_path: Path, lines: list[dict[str, Any]], **more: Any) -> tuple[list[str], list[float]]:
    """(warnings, utilisation of each line)"""
    site = {
        "project": "demo",
        "gateway": "gw-1",
        "state_directory": str(tmp_path / "state"),
        "broker": {"host": "127.0.0.1", "port": 1883},
        "cloud_keys": {"k": "A" * 43 + "="},
        "lines": lines,
        **more,
    }
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump(site), encoding="utf-8")
    found = check(load_site(file, LIBRARY), LIBRARY, 0.02)
    return found.warnings, [line.utilisation for line in found.lines]


def bus(count: int, baud: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "riser",
        "protocol": "bus",
        "converter": {"host": "127.0.0.1", "port": 4001, "baud_rate": baud},
        "device_series": [{"id": "m-{n}", "template": "eastron-sdm630", "ranges": {"n": f"1..{count}"}}],
        **more,
    }


def test_nothing_is_lacking(tmp_path: Path) -> None:
    warnings, load = checked(tmp_path, [bus(10, 9_600)])
    assert warnings == []
    assert 0 < load[0] < 0.5


def test_a_bus_that_cannot_keep_its_periods_is_named(tmp_path: Path) -> None:
    warnings, load = checked(tmp_path, [bus(200, 2_400)])
    assert load[0] > 1
    assert warnings == [f"line riser cannot keep its periods: they ask for {load[0]:.0%} of its time"]
    _, load = checked(tmp_path, [bus(1, 9_600)])
    warnings, _ = checked(tmp_path, [bus(int(0.9 / load[0]), 9_600)])
    assert "has little room for repetitions and commands" in warnings[0]


def test_missing_secrets_files_and_ports_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEMETER_TEST_NOT_SET", raising=False)
    (tmp_path / "no-port").write_text("")
    serial = {"name": "s-1", "protocol": "bus", "serial": {"path": str(tmp_path / "ttyUSB9")}}
    file = {"name": "s-2", "protocol": "bus", "serial": {"path": str(tmp_path / "no-port")}}
    tls = {name: str(tmp_path / f"{name}.pem") for name in ("ca_file", "cert_file", "key_file")}
    secure = {"name": "t", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": 802, "tls": tls}
    warnings, _ = checked(
        tmp_path,
        [serial, file, secure],
        broker={"host": "b", "username": "u", "password_env": "GATEMETER_TEST_NOT_SET", "tls": True,
                "ca_file": str(tmp_path / "broker.pem")},
        cloud_keys={},
    )  # fmt: skip
    text = "\n".join(warnings)
    for wanted in (
        "broker: environment variable GATEMETER_TEST_NOT_SET is not set",
        "broker: TLS files: ",
        "cloud_keys is empty",
        f"line s-1: serial port {tmp_path / 'ttyUSB9'}: No such file",
        f"line s-2: {tmp_path / 'no-port'} is no serial port",
        f"line t: {tls['key_file']} is not there",
    ):
        assert wanted in text
    assert len(warnings) == 8


def test_a_state_directory_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    warnings, _ = checked(tmp_path, [], state_directory=str(tmp_path / "state" / "deep"))
    assert warnings == [f"state_directory: {tmp_path / 'state'} is no directory"]


def test_secrets_of_meters_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEMETER_TEST_NOT_SET", raising=False)
    meter = {
        "id": "e-1",
        "template": "generic-dlt645-2007-relay",
        "address": "201709320072",
        "password": {"env": "GATEMETER_TEST_NOT_SET"},
    }
    pushing = {
        "name": "push",
        "protocol": "coap-server",
        "host": "127.0.0.1",
        "tokens_file": str(tmp_path / "tokens"),
        "devices": [{"id": "w-1", "template": "gatemeter-coap-water"}],
    }
    riser = bus(1, 9_600, devices=[meter])
    warnings, load = checked(tmp_path, [riser, pushing])
    assert warnings[0].startswith("device e-1 can only be read: environment variable GATEMETER_TEST_NOT_SET")
    assert warnings[1].startswith(f"line push: {tmp_path / 'tokens'}: ")
    assert len(warnings) == 2
    assert load[1] == 0
