"""The demo as a process of its own, for tests that start, look at and end it."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from simulators.demo.postgres import dsn_file
from tests.ports import free_port

_START_LIMIT_S = 240.0
_STOP_LIMIT_S = 180.0


class RunningDemo:
    """A small demo as a process of its own."""

    def __init__(self, folder: Path, program: Sequence[str]) -> None:
        self.folder = folder
        self._program = program
        self.port = free_port()
        self._output = folder.with_name("demo.out")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts it and returns what it printed until it was ready."""
        command = [*self._program, "demo", "--folder", str(self.folder), "--port", str(self.port)]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--floors", "1", "--history-months", "2"],
                # Elsewhere than in the repository: nothing may be found by where it is started.
                cwd=self.folder.parent,
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
        with httpx.Client(base_url=base, follow_redirects=True, timeout=60) as client:
            form = client.get("/login").text
            hidden = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form))
            answer = client.post("/login", data={**hidden, "login": login, "password": password})
            assert answer.status_code == 200, answer.text[:500]
            assert "/login" not in str(answer.url)
            yield client

    def force_end(self) -> None:
        """For the end of a test, however it went."""
        if self.process is not None and not self.ended():
            self.process.kill()
            self.process.wait()
            wait(lambda: not self.processes(), "no process is left", _STOP_LIMIT_S)


def wait(condition: Callable[[], bool], what: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        time.sleep(0.1)
