"""The command: quick, lazy, and clear about what is missing."""

import subprocess
import sys

import pytest

from cloud.cli import PARTS, Part, main
from gateway.contract import __version__


def _run(*arguments: str, program: str = "from cloud.cli import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_overview_needs_no_extra() -> None:
    program = """
import sys
for name in ("fastapi", "psycopg", "pymodbus", "aiomqtt", "numpy", "uvicorn", "babel", "jinja2", "apscheduler"):
    sys.modules[name] = None  # as if not installed
from cloud.cli import main
main()
"""
    done = _run("--help", program=program)
    assert done.returncode == 0, done.stderr
    assert all(part.name in done.stdout for part in PARTS)


def test_a_missing_extra_is_named() -> None:
    program = """
import builtins
real = builtins.__import__
def without(name, *rest, **more):
    if name.split(".")[0] == "psycopg":
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
    return real(name, *rest, **more)
builtins.__import__ = without
from cloud.cli import main
main()
"""
    done = _run("db", "migrate", "--dsn", "x", program=program)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gatemeter db needs psycopg: pip install 'gatemeter[cloud]'\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gatemeter {__version__}\n"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_has_help(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    name = part.name
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["db", "nonsense"], ["db", "grant-login", "king", "--dsn", "x"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
