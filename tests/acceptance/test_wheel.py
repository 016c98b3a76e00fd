"""The built wheel serves outside the repository: the demo runs from it, and a gateway needs no part of the cloud."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cloud
from tests.acceptance.installed import install
from tests.acceptance.running_demo import RunningDemo

REPOSITORY = Path(cloud.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=180)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel(open_folder: Path, wheel: Path) -> None:
    programs = install(open_folder / "environment", wheel, "demo")
    demo = RunningDemo(open_folder / "demo", [str(programs / "gatemeter")])
    try:
        demo.start()
        with demo.browser("resident") as resident:
            assert resident.get("/home").status_code == 200
            for asset in ("tabler.min.css", "echarts.min.js", "htmx.min.js", "icons.svg"):
                assert resident.get(f"/static/vendor/{asset}").status_code == 200, asset
        demo.end(signal.SIGINT)
    finally:
        demo.force_end()


@pytest.mark.slow
def test_a_gateway_needs_no_part_of_the_cloud(tmp_path: Path, wheel: Path) -> None:
    programs = install(tmp_path / "environment", wheel, "gateway")

    def gatemeter(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(programs / "gatemeter"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    listed = gatemeter("devices", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "gatemeter-demo-electricity" in listed.stdout
    without = gatemeter("web", "run")
    assert without.returncode == 2
    assert "gatemeter[cloud]" in without.stderr
    there = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "list", "--format=freeze"]
    packages = subprocess.run(there, capture_output=True, text=True, check=True).stdout.lower()
    assert "pydantic" in packages
    assert "fastapi" not in packages
    assert "psycopg" not in packages
