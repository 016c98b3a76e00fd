"""The health report: every device's counters and the state of the outbox, as one message into the outbox."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from gateway.contract import __version__
from gateway.contract.codec import encode_body
from gateway.contract.limits import MAX_POINTS_PER_BATCH
from gateway.contract.messages import DeviceHealth, Health
from gateway.contract.topics import Up
from gateway.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of what the cloud said."""

    access: int = 0
    """The number of what is known of vehicles."""
    not_understood: int = 0
    """Entries of it that this software cannot read."""
    refused: int = 0
    """Messages that were broken, unproven or in unknown words, since the gateway started."""
    clock_ahead: int | None = None
    """Milliseconds that the clock here is ahead of the cloud's; None when it is not known."""


class HealthReporter:
    """Reports every `period_s`; the first report goes out at once, so that the cloud sees a start."""

    def __init__(
        self,
        devices: Callable[[], Sequence[DeviceHealth]],
        outbox: Outbox,
        now_ms: Callable[[], int],
        period_s: float,
        heard: Callable[[], Heard] = Heard,
        asks: Callable[[], str] = str,
    ) -> None:
        """`heard` gives what became of what the cloud said; `asks` what it is to answer with its time."""
        self._devices, self._outbox = devices, outbox
        self._now_ms, self._period_s = now_ms, period_s
        self._heard, self._asks = heard, asks
        self._started = monotonic()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Reports until `stop`."""
        while not self._stopping.is_set():
            await self._outbox.put(Up.HEALTH, encode_body([await self.report()]))
            try:
                async with asyncio.timeout(self._period_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def report(self) -> Health:
        """The state now. Of more devices than a message may hold, the first are reported."""
        queue, heard = await self._outbox.stats(), self._heard()
        return Health(
            at=self._now_ms(),
            software=__version__,
            uptime_s=int(monotonic() - self._started),
            queue_rows=queue.rows,
            queue_bytes=queue.bytes,
            queue_oldest=queue.oldest,
            parked_rows=queue.parked,
            devices=tuple(self._devices()[:MAX_POINTS_PER_BATCH]),
            lost_batches=sum(loss.batches for loss in queue.dropped.values()),
            set_aside=queue.damaged_files,
            access=heard.access,
            not_understood=heard.not_understood,
            refused=heard.refused,
            clock_ahead=heard.clock_ahead,
            challenge=self._asks(),
        )
