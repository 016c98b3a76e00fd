"""Brings prepared batches in by the way that live ones take: outbox, broker, ingest, end-to-end acknowledgement."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self

from gateway.contract.codec import encode_body
from gateway.contract.messages import Command, CommandState, Passage, Point
from gateway.contract.topics import Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox
from gateway.tasks import end
from gateway.uplink import BrokerSettings, Uplink

_OUTBOX_BYTES: Final = 1 << 30
_BACKLOG_ROWS: Final = 200
"""Batches on disk that the cloud has not taken yet; a faster producer waits."""
_POLL_S: Final = 0.05


class DeliveryFailed(RuntimeError):
    """The cloud refused batches, or took nothing for too long."""


class Delivery:
    """An outbox of its own epoch, so that the running gateway's is not touched. One event loop, one caller."""

    def __init__(self, outbox: Outbox, uplink: Uplink, patience_s: float) -> None:
        self._outbox = outbox
        self._uplink = uplink
        self._patience_s = patience_s

    async def readings(self, points: list[Point]) -> None:
        """Queues one batch of readings; waits while too much is queued."""
        await self._put(Up.READINGS, encode_body(points))

    async def passages(self, passages: list[Passage]) -> None:
        """Queues one batch of passages; waits while too much is queued."""
        await self._put(Up.PASSAGES, encode_body(passages))

    async def settled(self, rows: int = 0) -> None:
        """Waits until at most `rows` batches are unacknowledged. Raises DeliveryFailed."""
        loop = asyncio.get_running_loop()
        least, deadline = 1 << 62, loop.time() + self._patience_s
        while True:
            stats = await self._outbox.stats()
            if stats.parked:
                raise DeliveryFailed(f"the cloud refused {stats.parked} batches")
            if stats.rows <= rows:
                return
            if stats.rows < least:
                least, deadline = stats.rows, loop.time() + self._patience_s
            if loop.time() > deadline:
                raise DeliveryFailed(
                    f"{stats.rows} batches are not acknowledged, and none was in {self._patience_s:.0f} s"
                    f" (link {self._uplink.state})"
                )
            await asyncio.sleep(_POLL_S)

    async def _put(self, kind: Up, body: bytes) -> None:
        await self._outbox.put(kind, body)
        await self.settled(_BACKLOG_ROWS)


class _Opened:
    """The pieces that belong together for as long as a delivery lasts."""

    def __init__(self, path: Path, broker: BrokerSettings, project: str, gateway: str) -> None:
        for leftover in path.parent.glob(path.name + "*"):
            leftover.unlink()  # of an interrupted delivery, which is repeated from its beginning
        path.parent.mkdir(parents=True, exist_ok=True)
        self.outbox = Outbox.open(path, _OUTBOX_BYTES)
        self.uplink = Uplink(broker, project, gateway, self.outbox, _no_commands)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.uplink.run(), name="delivery")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.uplink.stop()
        await end(self._running)
        self.outbox.close()


@contextlib.asynccontextmanager
async def delivery(
    path: Path, broker: BrokerSettings, project: str, gateway: str, patience_s: float = 60.0
) -> AsyncIterator[Delivery]:
    """Delivers as `project`/`gateway` from the outbox file `path`, which is made anew and gone afterwards.

    The gateway itself must not run meanwhile: a broker knows one session of a name. Everything is acknowledged
    when the block ends without an exception.
    """
    async with _Opened(path, broker, project, gateway) as opened:
        deliverer = Delivery(opened.outbox, opened.uplink, patience_s)
        yield deliverer
        await deliverer.settled()
    for leftover in path.parent.glob(path.name + "*"):
        leftover.unlink()


async def _no_commands(command: Command) -> CommandOutcome:
    return CommandOutcome(CommandState.FAILED, f"{command.device} is not in service yet")
