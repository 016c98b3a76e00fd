"""The command refuses sites that it cannot simulate, and says why."""

from pathlib import Path

from typer.testing import CliRunner

from simulators.barrier.cli import app

_SITE = "project: demo\ngateway: gw-1\nstate_directory: state\nbroker: {host: 127.0.0.1}\n"


def test_a_site_without_barriers_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(_SITE, encoding="utf-8")
    result = CliRunner().invoke(app, ["--site", str(site)])
    assert result.exit_code == 2
    assert "barriers: expected at least one line" in result.output


def test_a_wrong_site_is_refused_with_its_place(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(_SITE + "barriers:\n  - {name: a, lot: b, broker: {host: c}, lanes: [{sn: x}]}\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["--site", str(site)])
    assert result.exit_code == 2
    assert "site.yaml:6" in result.output
    assert "device" in result.output
