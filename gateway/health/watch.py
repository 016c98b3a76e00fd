"""Watches over a running gateway: beats, systemd, the state of the outbox, and the health server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from gateway.health.observed import Observed, Queue
from gateway.health.systemd import Notifier
from gateway.health.vitals import BEAT_S, Vitals, hanging, keep_beating
from gateway.outbox import OutboxStats

if TYPE_CHECKING:
    from gateway.health.server import HealthServer

_LOOK_S: Final = 5.0
"""How often the outbox is asked; well within what `Vitals` bears."""

_log = structlog.get_logger(__name__)


class Watch:
    """Runs beside the parts of a gateway and outlives them all, so that a long end is not taken for a hang."""

    def __init__(
        self,
        observed: Observed,
        ask_outbox: Callable[[], Awaitable[OutboxStats]],
        notifier: Notifier | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.vitals = Vitals(clock, lambda: hanging(observed.lines(), clock()))
        self.server: HealthServer | None = None
        self._observed, self._ask_outbox = observed, ask_outbox
        self._notifier = notifier or Notifier()
        self._queue = Queue()
        self._stopping = asyncio.Event()

    def serve(self, port: int) -> None:
        """Opens the health server. Raises OSError when the port is taken."""
        # Loaded only by gateways that have one: it brings a web server and the Prometheus client.
        from gateway.health.metrics import GatewayCollector
        from gateway.health.server import HealthServer
        from gateway.health.status import status

        collector = GatewayCollector(self._observed, self._queue)
        document = partial(status, self._observed, self._queue, self.vitals)
        self.server = HealthServer(collector, self.vitals, document, port)
        _log.info("health-server", port=self.server.port)

    async def run(self) -> None:
        """Beats until `stop`. Raises OutboxError when the outbox fails."""
        self.vitals.beat("outbox")
        self._notifier.ready()
        watchdog_s = self._notifier.watchdog_s
        every_s = BEAT_S if watchdog_s is None else min(BEAT_S, watchdog_s / 3)
        alive = None if watchdog_s is None else self._notifier.alive
        beating = asyncio.create_task(keep_beating(self.vitals, self._stopping, alive, every_s), name="beat")
        try:
            await self._look()
        finally:
            self.vitals.forget("outbox")
            self._stopping.set()
            await beating

    def ending(self) -> None:
        """Tells systemd that the end has begun; the beats go on."""
        self._notifier.stopping()

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tells systemd that the configuration is read again, and when that is over, with or without success."""
        self._notifier.reloading()
        try:
            yield
        finally:
            self._notifier.ready()

    def stop(self) -> None:
        """Ends `run` and closes the health server."""
        self._stopping.set()
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _look(self) -> None:
        said = ""
        while not self._stopping.is_set():
            self._queue.stats = stats = await self._ask_outbox()
            self.vitals.beat("outbox")
            lines = self._observed.lines()
            link = self._observed.uplink.state.value
            text = f"{len(lines)} lines, uplink {link}, {stats.rows} batches wait"
            if text != said:
                self._notifier.status(text)
                said = text
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._stopping.wait()
