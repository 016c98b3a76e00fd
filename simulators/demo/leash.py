"""`python -m simulators.demo.leash LOG COMMAND…`: runs a command that must not outlive who started it.

The leash is a pipe: whoever started us holds its writing end as our standard input. When that end closes, for
whatever reason (SIGKILL included), the command's process group is asked to end and soon after killed. What the
command writes goes to LOG, which never grows beyond two files of a fixed size.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 4_000_000
"""Size at which the log starts anew; the one before is kept as `….1`."""

PATIENCE_VARIABLE: Final = "GATEMETER_LEASH_PATIENCE_S"
_PATIENCE_S: Final = 20.0
"""How long the command may take to end when it is asked to, unless the variable says otherwise."""
_GLANCE_S: Final = 0.2
_CANNOT_START: Final = 127


class BoundedLog:
    """A log file with one predecessor."""

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path, self._limit = path, limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Appends; begins a new file when this one is full. A full disk loses lines, not the process."""
        with contextlib.suppress(OSError):
            if self._stream.tell() + len(data) > self._limit:
                self._stream.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._stream = self._path.open("ab", buffering=0)
            self._stream.write(data)


class Leash:
    """One command, in a process group of its own."""

    def __init__(self, log: BoundedLog, command: list[str], patience_s: float) -> None:
        self._log = log
        self._patience_s = patience_s
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
        )
        self._kill_at: float | None = None

    def run(self) -> int:
        """Serves until the command has ended; its exit code, 128 + n when signal n ended it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._let_go())
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._heard_starter)
            selector.register(self._process.stdout.fileno(), selectors.EVENT_READ, self._log.write)
            while self._process.poll() is None:
                self._look(selector, _GLANCE_S)
                if self._kill_at is not None and time.monotonic() > self._kill_at:
                    self._signal(signal.SIGKILL)
            while self._look(selector, 0.0):  # what it said last
                pass
        # What the command itself started and left behind.
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def _look(self, selector: selectors.BaseSelector, wait_s: float) -> bool:
        """Serves what is there, waiting up to `wait_s` for it; False when there is nothing."""
        found = False
        for key, _ in selector.select(wait_s):
            data = os.read(key.fd, 65_536)
            key.data(data)
            if data:
                found = True
            else:
                selector.unregister(key.fd)
        return found

    def _heard_starter(self, data: bytes) -> None:
        if not data:
            self._let_go()

    def _let_go(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._patience_s
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def main() -> None:
    """Runs the command that the arguments name."""
    log = BoundedLog(Path(sys.argv[1]))
    try:
        leash = Leash(log, sys.argv[2:], float(os.environ.get(PATIENCE_VARIABLE, _PATIENCE_S)))
    except OSError as error:
        log.write(f"cannot start {sys.argv[2]}: {error}\n".encode())
        sys.exit(_CANNOT_START)
    sys.exit(leash.run())


if __name__ == "__main__":
    main()
