"""The device commands speak both to people and to programs."""

import json
import shutil
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
    assert "0001FF00[4] bcd 4" in text
    assert "item 04000503" in text
    assert "901F @17 bits 1" in RUNNER.invoke(devices_app, ["show", "generic-cjt188-cold-water-valve"]).stdout


def test_the_list_can_be_narrowed_down() -> None:
    arguments = ["list", "--medium", "water", "--protocol", "modbus", "--vendor", "xin", "valve_state"]
    text = RUNNER.invoke(devices_app, arguments).stdout
    assert [line.split()[0] for line in text.splitlines()] == ["id", "xintai-water-meter"]


def test_people_see_what_is_asked_and_where_values_lie() -> None:
    text = RUNNER.invoke(devices_app, ["show", "tuf-2000m"]).stdout
    assert "holding 8 s32 + 10 f32" in text
    assert "function 3, 16 from 0" in text
    assert "low word first" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_broken_library_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("vendor: nobody\n", encoding="utf-8")
    result = RUNNER.invoke(devices_app, ["list", "--templates", str(tmp_path)])
    assert result.exit_code == 2
    assert "wrong.yaml" in result.stderr


def test_pages_are_written_once_checked_and_removed_when_their_vendor_is_gone(tmp_path: Path) -> None:
    few, pages = tmp_path / "meters", tmp_path / "pages"
    few.mkdir()
    for one in ("abb-b21.yaml", "tuf-2000m.yaml"):
        shutil.copy(Library().directory / one, few)
    arguments = ["docs", "--directory", str(pages), "--templates", str(few), "--json"]
    assert RUNNER.invoke(devices_app, [*arguments, "--check"]).exit_code == 1
    assert not pages.exists()
    written = json.loads(RUNNER.invoke(devices_app, arguments).stdout)["written"]
    assert str(pages / "README.md") in written
    assert RUNNER.invoke(devices_app, [*arguments, "--check"]).exit_code == 0
    (pages / "mine.md").write_text("# Mine\n", encoding="utf-8")
    (pages / "gone.md").write_text((pages / "abb.md").read_text(encoding="utf-8"), encoding="utf-8")
    stale = json.loads(RUNNER.invoke(devices_app, [*arguments, "--check"]).stdout)["out_of_date"]
    assert stale == [str(pages / "gone.md")]
    RUNNER.invoke(devices_app, arguments)
    assert (pages / "mine.md").exists()
    assert not (pages / "gone.md").exists()


def test_an_unknown_template_is_exit_code_2() -> None:
    assert RUNNER.invoke(devices_app, ["show", "nothing"]).exit_code == 2


def test_schema_writes_once_and_checks(tmp_path: Path) -> None:
    arguments = ["schema", "--directory", str(tmp_path), "--json"]
    assert RUNNER.invoke(devices_app, [*arguments, "--check"]).exit_code == 1
    assert len(json.loads(RUNNER.invoke(devices_app, arguments).stdout)["written"]) == 3
    assert json.loads(RUNNER.invoke(devices_app, arguments).stdout)["written"] == []
    assert RUNNER.invoke(devices_app, [*arguments, "--check"]).exit_code == 0


def test_the_demo_site_is_fine() -> None:
    site = str(firmware_config() / "sites" / "demo.yaml")
    result = json.loads(RUNNER.invoke(app, ["check-config", site, "--json"]).stdout)
    told = {name: result[name] for name in ("ok", "gateway", "lines", "devices")}
    assert told == {"ok": True, "gateway": "gw-1", "lines": 6, "devices": 240}
    assert all(0 < line["utilisation"] < 0.1 and line["devices"] == 40 for line in result["summary"])


def test_shows_the_records_of_a_senml_meter() -> None:
    shown = json.loads(RUNNER.invoke(devices_app, ["show", "gatemeter-coap-water", "--json"]).stdout)
    assert (shown["protocol"], shown["registers"][0]["record"]) == ("senml", "volume")
    text = RUNNER.invoke(devices_app, ["show", "gatemeter-coap-water"]).stdout
    assert "volume_total" in text
    assert "record volume" in text
