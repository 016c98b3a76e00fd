"""The device commands speak both to people and to programs."""

import json
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app, devices_app
from gateway.templates.library import Library, firmware_config

RUNNER = CliRunner()


def test_lists_every_template() -> None:
    rows = json.loads(RUNNER.invoke(devices_app, ["list", "--json"]).stdout)
    assert [row["id"] for row in rows] == list(Library().ids)
    assert "eastron-sdm630" in RUNNER.invoke(devices_app, ["list"]).stdout


def test_shows_sources_registers_and_reads() -> None:
    shown = json.loads(RUNNER.invoke(devices_app, ["show", "abb-b23", "--json"]).stdout)
    assert shown["vendor"] == "ABB"
    assert shown["reads"] == [
        {"function": 3, "address": 20_480, "count": 8},
        {"function": 3, "address": 21_600, "count": 24},
        {"function": 3, "address": 23_296, "count": 62},
    ]
    text = RUNNER.invoke(devices_app, ["show", "abb-b23"]).stdout
    assert "energy_import_total" in text
    assert "2CMC48001M0201" in text


def test_shows_items_of_other_protocols() -> None:
    shown = json.loads(RUNNER.invoke(devices_app, ["show", "generic-dlt645-2007-relay", "--json"]).stdout)
    assert shown["reads"][0] == {"item": "0001FF00"}
    text = RUNNER.invoke(devices_app, ["show", "generic-dlt645-2007-relay"]).stdout
    assert "0001FF00[4] bcd 4  × 0.01 kWh" in text
    assert "read 04000503" in text
    assert "901F @17 bits 1" in RUNNER.invoke(devices_app, ["show", "generic-cjt188-cold-water-valve"]).stdout


def test_an_unknown_template_is_exit_code_2() -> None:
    assert RUNNER.invoke(devices_app, ["show", "nothing"]).exit_code == 2


def test_schema_writes_once_and_checks(tmp_path: Path) -> None:
    arguments = ["schema", "--directory", str(tmp_path), "--json"]
    assert RUNNER.invoke(devices_app, [*arguments, "--check"]).exit_code == 1
    assert len(json.loads(RUNNER.invoke(devices_app, arguments).stdout)["written"]) == 2
    assert json.loads(RUNNER.invoke(devices_app, arguments).stdout)["written"] == []
    assert RUNNER.invoke(devices_app, [*arguments, "--check"]).exit_code == 0


def test_the_demo_site_is_fine() -> None:
    site = str(firmware_config() / "sites" / "demo.yaml")
    result = json.loads(RUNNER.invoke(app, ["check-config", site, "--json"]).stdout)
    assert result == {"ok": True, "gateway": "gw-1", "lines": 6, "devices": 240}


def test_shows_the_records_of_a_senml_meter() -> None:
    shown = json.loads(RUNNER.invoke(devices_app, ["show", "gatemeter-coap-water", "--json"]).stdout)
    assert (shown["protocol"], shown["registers"][0]["record"]) == ("senml", "volume")
    text = RUNNER.invoke(devices_app, ["show", "gatemeter-coap-water"]).stdout
    assert "volume_total" in text
    assert "record volume" in text
