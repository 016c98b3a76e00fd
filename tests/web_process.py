"""`gatemeter web run` in a process of its own, on a free port."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.ports import free_port

_START_S = 300


@contextmanager
def web_process(owner_dsn: str, keys_file: Path) -> Iterator[str]:
    """Its address, from when it answers until the block ends."""
    port = free_port()
    environment = {
        **os.environ,
        "GATEMETER_DATABASE_DSN": owner_dsn,
        "GATEMETER_KEYS_FILE": str(keys_file),
        "GATEMETER_WEB_PORT": str(port),
        "GATEMETER_SECURE_COOKIES": "false",
        "GATEMETER_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-c", "from cloud.cli import main; main()", "web", "run"]
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the web process ended"
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the web process did not answer within {_START_S} s")
