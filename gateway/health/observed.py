"""What the health of a gateway is read from: plain counters of its parts, which other threads may look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Protocol

from gateway.contract.messages import DeviceHealth
from gateway.health.stats import LineStats
from gateway.outbox import OutboxStats
from gateway.uplink.commands import CommandCounters
from gateway.uplink.session import LinkCounters
from gateway.uplink.uplink import LinkState


class Link(Protocol):
    """The uplink as far as its health goes."""

    state: LinkState
    counters: LinkCounters

    @property
    def command_counters(self) -> CommandCounters:
        """Commands since the start."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The parts of a running gateway."""

    project: str
    gateway: str
    lines: Callable[[], Sequence[LineStats]]
    """Those that run now; a new sequence after each change."""
    barriers: Callable[[], Sequence[DeviceHealth]]
    uplink: Link
    recorded: Callable[[], int]
    """Points made durable since the start."""
    queue_limit_bytes: int
    clock_ahead_ms: Callable[[], int | None]
    """How far the clock here is ahead of the cloud's; None when it is not known."""
    started: float = field(default_factory=time)
    """Unix time of the start."""


@dataclass(slots=True)
class Queue:
    """The outbox as it was when it was last asked; the event loop replaces `stats`."""

    stats: OutboxStats | None = None
