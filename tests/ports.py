"""Ports for processes that must be told theirs before they listen."""

import random
import socket
from typing import Final

_BELOW_THOSE_THE_SYSTEM_GIVES: Final = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that no outgoing connection gets in the meantime."""
    while True:
        port = random.SystemRandom().choice(_BELOW_THOSE_THE_SYSTEM_GIVES)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def free_ports(count: int) -> tuple[int, ...]:
    """So many different ones."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return tuple(found)
