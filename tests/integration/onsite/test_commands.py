"""The commands on site as processes: exit codes, documents, nothing but the document on standard output."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gateway.cli import app
from tests.integration.onsite.site import simulated, site_of, tcp_line
from tests.ports import free_port

RUN = "from gateway.cli import app; app()"


async def command(*arguments: str) -> tuple[int | None, str, str]:
    """(exit code, standard output, standard error)"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_a_probe_by_site_and_by_address(tmp_path: Path) -> None:
    file, _ = site_of(tmp_path, [line := tcp_line(timeout_s=60)])
    where = f"127.0.0.1:{line['port']}"
    async with simulated(site_of(tmp_path, [line])[1]):
        by_site = await command("probe", "--site", str(file), "b", "--json")
        shown = await command("probe", "--tcp", where, "--unit", "5", "--template", "abb-b23", "--repeat", "3")
        silent = await command(
            "probe", "--tcp", where, "--unit", "6", "--template", "abb-b23", "--timeout", "0.1", "--json"
        )
    code, output, errors = by_site
    assert (code, errors) == (0, "")
    document: dict[str, Any] = json.loads(output)
    assert (document["ok"], document["template"], document["endpoint"]) == (True, "abb-b23", where)
    assert document["registers"][0]["channel"] == "energy_import_total"
    assert document["requests"][0]["complete_ms"]["min"] > 0
    assert shown[0] == 0
    assert "3 visits, 9 requests, no errors" in shown[1]
    assert silent[0] == 1
    assert json.loads(silent[1])["errors"]["timeouts"] == 1


async def test_a_scan_as_document_and_as_snippet(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [line := tcp_line()])
    where = f"127.0.0.1:{line['port']}"
    narrow = ("--units", "5,9", "--timeout", "10", "--template", "abb-b23", "--template", "gatemeter-demo-water")
    async with simulated(site):
        document = await command("scan", "--tcp", where, *narrow, "--json")
        snippet = await command("scan", "--tcp", where, *narrow, "--write-site")
        nobody = await command("scan", "--tcp", where, "--units", "100-102", "--timeout", "0.05")
    assert (document[0], document[2]) == (0, "")
    found = json.loads(document[1])
    assert [one["guesses"][0]["template"] for one in found["devices"]] == ["abb-b23", "gatemeter-demo-water"]
    assert snippet[0] == 0
    assert [one["unit_id"] for one in yaml.safe_load(snippet[1])["devices"]] == [5, 9]
    assert "2 devices answer" in snippet[2]
    assert nobody[0] == 1


async def test_an_interrupted_scan_ends_with_what_it_found(tmp_path: Path) -> None:
    _, site = site_of(tmp_path, [line := tcp_line()])
    async with simulated(site) as fleet:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RUN, "scan", "--tcp", f"127.0.0.1:{line['port']}", "--units", "3-247"),
            *("--timeout", "1", "--json"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            while not fleet.lines["tcp"].requests:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            output, _ = await process.communicate()
    assert process.returncode == 0
    found = json.loads(output)
    assert (found["complete"], [one["unit_id"] for one in found["devices"]]) == (False, [3])


@pytest.mark.parametrize(
    "arguments",
    [
        ["probe"],
        ["probe", "--tcp", "127.0.0.1:502"],
        ["probe", "--tcp", "127.0.0.1:502", "--template", "no-such-meter", "--unit", "1"],
        ["probe", "--tcp", "127.0.0.1:502", "--template", "abb-b23"],
        ["probe", "--tcp", "127.0.0.1:502", "--template", "abb-b23", "--unit", "1", "--address", "000012345678"],
        ["probe", "--tcp", "127.0.0.1", "--template", "abb-b23", "--unit", "1"],
        ["probe", "--tcp", "127.0.0.1:502", "--serial", "/dev/null", "--template", "abb-b23", "--unit", "1"],
        ["probe", "--tcp", "127.0.0.1:502", "--template", "gatemeter-coap-water", "--unit", "1"],
        ["probe", "--rtu-tcp", "h:1", "--template", "generic-dlt645-2007-single-phase", "--address", "12"],
        ["probe", "--site", "/no/such/site.yaml", "a"],
        ["probe", "--site", "/no/such/site.yaml"],
        ["scan"],
        ["scan", "--tcp", "127.0.0.1:502", "--units", "9-3"],
        ["scan", "--tcp", "127.0.0.1:502", "--units", "all"],
        ["scan", "--tcp", "127.0.0.1:502", "--protocol", "m-bus"],
        ["scan", "--tcp", "127.0.0.1:502", "--template", "no-such-meter"],
        ["scan", "--site", "/no/such/site.yaml", "--line", "x"],
        ["check-config", "/no/such/site.yaml"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_a_device_or_line_that_the_site_lacks_is_exit_code_2(tmp_path: Path) -> None:
    file, _ = site_of(tmp_path, [tcp_line()])
    for arguments, told in ((["probe", "zz"], "has no device zz"), (["scan", "--line", "zz"], "has no line zz")):
        result = CliRunner().invoke(app, [*arguments, "--site", str(file)])
        assert (result.exit_code, told in result.stderr) == (2, True)


def test_a_line_that_cannot_be_opened_is_exit_code_1(tmp_path: Path) -> None:
    unreachable = ["--tcp", f"127.0.0.1:{free_port()}"]
    missing = ["--serial", str(tmp_path / "ttyUSB9")]
    for wire in (unreachable, missing):
        result = CliRunner().invoke(app, ["probe", *wire, "--unit", "1", "--template", "abb-b23"])
        assert (result.exit_code, result.stdout) == (1, "")
        result = CliRunner().invoke(app, ["scan", *wire, "--units", "1-3", "--json"])
        assert (result.exit_code, result.stdout) == (1, "")


def test_every_command_has_an_example() -> None:
    for name in ("run", "check-config", "probe", "scan", "monitor"):
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert f"gatemeter gateway {name}" in result.stdout
