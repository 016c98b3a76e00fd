"""`gatemeter demo` starts, shows its pages, ends without leaving a process, and goes on where it was."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # it brings no types
import psycopg
import pytest

from simulators.broker.process import free_port
from simulators.demo.postgres import dsn_file

_START_LIMIT_S = 120.0
_STOP_LIMIT_S = 60.0


class RunningDemo:
    """A small demo as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._output = folder.with_name("demo.out")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts it and returns what it printed until it was ready."""
        command = [sys.executable, "-m", "cloud.cli", "demo", "--folder", str(self.folder), "--port", str(self.port)]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--floors", "1", "--history-months", "2"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait(lambda: "Ctrl-C" in self.text() or self.ended(), "the demo is ready", _START_LIMIT_S)
        assert not self.ended(), self.text()
        return self.text()

    def end(self, how: signal.Signals) -> None:
        """Ends it, and fails unless every process that belongs to the folder is gone."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(_STOP_LIMIT_S)
        assert code in (0, -how), self.text()
        wait(lambda: not self.processes(), "no process is left", _STOP_LIMIT_S)

    def processes(self) -> list[psutil.Process]:
        """Processes that name the folder in their command or environment."""
        found = []
        for process in psutil.process_iter():
            try:
                told = " ".join((*process.cmdline(), *process.environ().values()))
            except psutil.Error:
                continue
            if str(self.folder) in told and process.pid != os.getpid():
                found.append(process)
        return found

    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        """Rows as the owner of the database sees them."""
        with psycopg.connect(dsn_file(self.folder / "postgres").read_text()) as conn:
            return conn.execute(query).fetchall()

    @contextmanager
    def browser(self, login: str) -> Iterator[httpx.Client]:
        """Signed in with the generated password."""
        password = json.loads((self.folder / "secrets.json").read_text())[login]
        base = f"http://127.0.0.1:{self.port}"
        with httpx.Client(base_url=base, follow_redirects=True, timeout=20) as client:
            form = client.get("/login").text
            hidden = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form))
            answer = client.post("/login", data={**hidden, "login": login, "password": password})
            assert answer.status_code == 200, answer.text[:500]
            assert "/login" not in str(answer.url)
            yield client


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[RunningDemo]:
    running = RunningDemo(tmp_path / "demo")
    yield running
    if running.process is not None and not running.ended():
        running.process.kill()
        running.process.wait()
        wait(lambda: not running.processes(), "no process is left", _STOP_LIMIT_S)


@pytest.mark.slow
def test_it_starts_stops_without_a_trace_and_goes_on(demo: RunningDemo) -> None:
    said = demo.start()
    secrets = json.loads((demo.folder / "secrets.json").read_text())
    assert (demo.folder / "secrets.json").stat().st_mode & 0o077 == 0
    assert all(secrets[login] in said for login in ("admin", "cashier", "guard", "resident"))
    assert f"http://127.0.0.1:{demo.port}" in said

    with demo.browser("admin") as staff:
        for page in ("/", "/bills", "/meters", "/devices", "/parking"):
            assert staff.get(page).status_code == 200, page
    with demo.browser("resident") as resident:
        for page in ("/home", "/my/usage", "/my/bills", "/my/stays"):
            assert resident.get(page).status_code == 200, page
        assert resident.get("/devices").status_code in (403, 404), "staff pages are not the resident's"

    history = demo.rows("SELECT count(*) FROM store.reading WHERE taken_at < date_trunc('hour', now())")[0][0]
    assert history > 24 * 60 * 24, "two months of hours of 24 meters"
    live = "SELECT count(*) FROM store.reading WHERE taken_at > now() - interval '2 minutes'"
    wait(lambda: demo.rows(live)[0][0] > 0, "live readings arrive", 90)
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
def test_a_taken_port_is_named_before_anything_starts(demo: RunningDemo) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", demo.port))
        other.listen()
        command = [sys.executable, "-m", "cloud.cli", "demo", "--folder", str(demo.folder), "--port", str(demo.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert f"port {demo.port} of 127.0.0.1 is taken" in done.stderr
    assert not (demo.folder / "postgres").exists()


def facts(demo: RunningDemo) -> dict[str, int]:
    """Counts of what a second start must neither repeat nor lose."""
    tables = ("project", "unit", "person", "account", "meter", "device", "app_user", "bill", "tariff_version")
    counted = {table: demo.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}
    return {**counted, "readings": demo.rows("SELECT count(*) FROM store.reading")[0][0]}


def epoch_of(demo: RunningDemo) -> str:
    """Which outbox file the gateway has; it lets nobody else look while it runs."""
    with closing(sqlite3.connect(demo.folder / "gateway" / "outbox.sqlite")) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])


def wait(condition: Callable[[], bool], what: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        time.sleep(0.1)
