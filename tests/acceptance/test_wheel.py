"""The built wheel serves outside the repository: its demo starts, shows its pages, ends without leaving a process and
goes on where it was; a gateway needs no part of the cloud.
"""

import html
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

import cloud
from tests.acceptance.installed import install
from tests.acceptance.running_demo import RunningDemo, wait

REPOSITORY = Path(cloud.__file__).parents[1]
PARKING = {
    "/parking/permits": "月卡",
    "/visitor-passes": "沪A8D902",
    "/parking-lists": "京F90417",
    "/parking/reservations": "京M61X08",
    "/parking/coupons": "巷口面馆",
    "/parking/shifts": "东门岗亭",
}
"""Pages of parking, and what the demo has made of each."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=180)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def demo(open_folder: Path, wheel: Path) -> Iterator[RunningDemo]:
    programs = install(open_folder / "environment", wheel, "demo")
    running = RunningDemo(open_folder / "demo", [str(programs / "gatemeter")])
    yield running
    running.force_end()


@pytest.mark.slow
def test_the_demo_starts_stops_without_a_trace_and_goes_on(demo: RunningDemo) -> None:
    said = demo.start()
    secrets = json.loads((demo.folder / "secrets.json").read_text())
    assert (demo.folder / "secrets.json").stat().st_mode & 0o077 == 0
    assert all(secrets[login] in said for login in ("admin", "cashier", "guard", "resident", "merchant"))
    assert f"http://127.0.0.1:{demo.port}" in said

    with demo.browser("admin") as staff:
        for page in ("/", "/bills", "/meters", "/devices", "/parking", "/estate/units", "/audit"):
            assert staff.get(page).status_code == 200, page
        for page in ("/parking", "/audit"):
            assert second_page(staff, page).status_code == 200, page
        for page, shown in PARKING.items():
            answer = staff.get(page)
            assert answer.status_code == 200, page
            assert shown in answer.text, page
    with demo.browser("merchant") as merchant:
        assert merchant.get("/shop").status_code == 200
        assert merchant.get("/parking").status_code == 403
    with demo.browser("resident") as resident:
        for page in ("/home", "/my/usage", "/my/bills", "/my/stays"):
            assert resident.get(page).status_code == 200, page
        for asset in ("tabler.min.css", "echarts.min.js", "htmx.min.js", "icons.svg"):
            assert resident.get(f"/static/vendor/{asset}").status_code == 200, asset
        assert resident.get("/devices").status_code in (403, 404), "staff pages are not the resident's"

    history = demo.rows("SELECT count(*) FROM store.reading WHERE taken_at < date_trunc('hour', now())")[0][0]
    assert history > 24 * 60 * 24, "two months of hours of 24 meters"
    live = "SELECT count(*) FROM store.reading WHERE taken_at > now() - interval '2 minutes'"
    wait(lambda: demo.rows(live)[0][0] > 0, "live readings arrive", 180)
    with demo.browser("guard") as guard:
        wait(lambda: '<img src="/parking/pictures/' in guard.get("/parking/desk").text, "a picture at the desk", 180)
        (shown,) = set(re.findall(r'<img src="(/parking/pictures/[^"]+)"', guard.get("/parking/desk").text))
        assert guard.get(shown).headers["Content-Type"] == "image/jpeg"
    before = facts(demo)
    demo.end(signal.SIGINT)
    epoch = epoch_of(demo)

    demo.start()
    after = facts(demo)
    assert after["readings"] >= before["readings"]
    assert {key: value for key, value in after.items() if key != "readings"} == {
        key: value for key, value in before.items() if key != "readings"
    }
    assert demo.rows("SELECT count(*) FROM store.reading_revision") == [(0,)]
    assert demo.rows("SELECT count(*) FROM unclaimed_reading") == [(0,)]
    demo.end(signal.SIGKILL)
    assert epoch_of(demo) == epoch


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


def second_page(client: httpx.Client, path: str) -> httpx.Response:
    """Follows the link to what a list does not show at once."""
    link = re.search(r'href="([^"]*cursor=[^"]*)"', client.get(path).text)
    assert link is not None, f"{path} has a single page"
    return client.get(html.unescape(link[1]))


def facts(demo: RunningDemo) -> dict[str, int]:
    """Counts of what a second start must neither repeat nor lose."""
    tables = (
        "project",
        "unit",
        "person",
        "account",
        "meter",
        "device",
        "app_user",
        "bill",
        "tariff_version",
        "permit",
        "coupon",
    )
    counted = {table: demo.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}
    return {**counted, "readings": demo.rows("SELECT count(*) FROM store.reading")[0][0]}


def epoch_of(demo: RunningDemo) -> str:
    """Which outbox file the gateway has."""
    with closing(sqlite3.connect(demo.folder / "gateway" / "outbox.sqlite")) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
