"""`gatemeter demo` where it cannot start. How it starts, ends and goes on: `test_wheel.py`."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port


@pytest.mark.slow
def test_a_taken_port_is_named_before_anything_starts(open_folder: Path) -> None:
    folder, port = open_folder / "demo", free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        command = [sys.executable, "-m", "cloud.cli", "demo", "--folder", str(folder), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert not (folder / "postgres").exists()
