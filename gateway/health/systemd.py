"""systemd's notification socket: ready, reloading, stopping, still alive (protocol of sd_notify(3))."""

import os
import socket
from collections.abc import Mapping
from time import clock_gettime_ns
from typing import Final

import structlog

_CLOCK_MONOTONIC: Final = 1

_log = structlog.get_logger(__name__)


class Notifier:
    """Says how the service is, when systemd wants to know; without systemd it says nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """`environment` has what systemd tells a service: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environment)
        """Longest silence that the watchdog bears; None when there is no watchdog on this process."""

    @property
    def listened_to(self) -> bool:
        """Whether systemd started this process with `Type=notify` or a watchdog."""
        return bool(self._address)

    def ready(self) -> None:
        """Everything is started, or reloaded."""
        self._say("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={clock_gettime_ns(_CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Puts off the watchdog once more."""
        self._say("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows."""
        self._say(f"STATUS={text}")

    def _say(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_systemd:
                to_systemd.setblocking(False)  # a manager that reads nothing must not stop the loop
                to_systemd.connect(address)
                to_systemd.sendall(message.encode())
        except OSError as error:
            _log.warning("systemd does not listen", error=str(error))


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The watchdog may be meant for another process of the service, such as a shell around this one."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdecimal() and int(text) else None
