"""One broker process over a folder of its own."""

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from simulators.broker.access import BrokerClient
from simulators.broker.engines import Engine, best_engine, write_amqtt, write_mosquitto

_START_LIMIT_S: Final = 20.0
_STOP_LIMIT_S: Final = 10.0


class BrokerFailed(RuntimeError):
    """The broker did not come up; the message carries what it wrote."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class BrokerProcess:
    """Passwords and ACL for `clients`, and the process that enforces them. Address and files outlive restarts.

    `command` starts the broker for a caller who supervises processes himself; `start`, `stop` and `kill` do it here.
    """

    def __init__(
        self, folder: Path, clients: Sequence[BrokerClient], *, port: int = 0, engine: Engine | None = None
    ) -> None:
        self.host: Final = "127.0.0.1"
        self.port: Final = port or free_port(self.host)
        self.engine: Final = engine or best_engine()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write = write_mosquitto if self.engine is Engine.MOSQUITTO else write_amqtt
        self.command: Final = write(folder.resolve(), self.host, self.port, clients)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the broker accepts connections. Raises BrokerFailed."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_LIMIT_S
        while not self.accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise BrokerFailed((self._folder / "broker.log").read_text(errors="replace")[-2_000:])
            time.sleep(0.02)

    def accepts(self) -> bool:
        """Whether something listens at the address."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """Ends it politely."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_LIMIT_S)
        self._process = None
