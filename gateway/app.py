"""Wires one gateway: lines, recorder, outbox, uplink, barriers, health; the only place that knows them all."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.contract.messages import Action, Command, CommandState, DeviceHealth
from gateway.drivers.barrier import BarrierLine
from gateway.drivers.base import CommandOutcome
from gateway.errors import GatewayError, LineDown
from gateway.health.metrics import GatewayCollector, MetricsServer
from gateway.health.report import HealthReporter
from gateway.lines import build_line
from gateway.outbox import Outbox
from gateway.polling.clock import Clock
from gateway.polling.recorder import Recorder
from gateway.settings import SiteSettings
from gateway.tasks import end
from gateway.templates.library import Library
from gateway.uplink.uplink import Uplink

log = structlog.get_logger(__name__)

OUTBOX_FILE: Final = "outbox.sqlite"
CLOCK_FILE: Final = "clock"
_WIND_DOWN_S: Final = 20.0
"""Longest end of lines, recorder and health; the uplink's own drain comes on top."""


class ShutdownTimeout(GatewayError):
    """Something did not end in time; what the outbox has is safe all the same."""


class Gateway:
    """One running gateway. Build it inside the event loop, then `run` it."""

    def __init__(self, site: SiteSettings, library: Library) -> None:
        """Opens the outbox and builds everything; nothing is sent yet. Raises ConfigError, OutboxError, OSError."""
        self._site = site
        site.state_directory.mkdir(parents=True, exist_ok=True)
        self._clock = Clock(kept_in=site.state_directory / CLOCK_FILE)
        self.outbox = Outbox.open(site.state_directory / OUTBOX_FILE, site.outbox_max_bytes, self._clock.now_ms)
        self.recorder = Recorder(self.outbox, site.recorder.max_points, site.recorder.linger_s)
        self.workers = [build_line(line, site, library, self._clock, self.recorder.record) for line in site.lines]
        self._barriers = [BarrierLine(line, self.outbox) for line in site.barriers]
        self._collector = GatewayCollector([worker.stats for worker in self.workers])
        self._health = HealthReporter(
            self._device_health, self.outbox, self._collector, self._clock.now_ms, site.health_period_s
        )
        self._uplink = Uplink(
            site.broker, site.project, site.gateway, self.outbox, self.execute, cloud_keys=site.cloud_keys
        )
        self.metrics: MetricsServer | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set or a part fails for good, then ends cleanly. Raises what the part raised."""
        lines = [asyncio.create_task(worker.run(), name=worker.stats.name) for worker in self.workers]
        barriers = [asyncio.create_task(barrier.run(), name="barriers") for barrier in self._barriers]
        recorder = asyncio.create_task(self.recorder.run(), name="recorder")
        health = asyncio.create_task(self._health.run(), name="health")
        uplink = asyncio.create_task(self._uplink.run(), name="uplink")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        producers = [*lines, *barriers, health]
        tasks = [*producers, recorder, uplink]
        late: list[str] = []
        try:
            if self._site.health_port is not None:
                self.metrics = MetricsServer(self._collector, self._site.health_port)
            log.info("gateway-started", gateway=self._site.gateway, lines=len(lines) + len(barriers))
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            late += await self._wind_down(producers, recorder, uplink)
        finally:
            await end(stopped, *tasks)
            if self.metrics is not None:
                self.metrics.close()
            self.outbox.close()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if late:
            raise ShutdownTimeout(f"{', '.join(late)} did not end in time")
        log.info("gateway-stopped", recorded=self.recorder.recorded)

    async def execute(self, command: Command) -> CommandOutcome:
        """Carries out one verified command."""
        if command.action is Action.READ_NOW:
            return await self._read_now(command.device)
        for barrier in self._barriers:
            if command.device in barrier.devices:
                return await barrier.execute(command)
        return CommandOutcome(CommandState.FAILED, f"{command.device} cannot {command.action}")

    async def _read_now(self, device: str) -> CommandOutcome:
        worker = next((worker for worker in self.workers if device in worker.devices), None)
        if worker is None:
            return CommandOutcome(CommandState.FAILED, f"no meter {device} here")
        try:
            outcome = await worker.read_now(device)
        except LineDown as error:
            return CommandOutcome(CommandState.FAILED, str(error))
        values = sum(len(readings) for _, readings in outcome.answers)
        if not values:
            return CommandOutcome(CommandState.FAILED, "the meter gave no value")
        return CommandOutcome(CommandState.DONE, f"{values} values")

    async def _wind_down(
        self,
        producers: Sequence["asyncio.Task[None]"],
        recorder: "asyncio.Task[None]",
        uplink: "asyncio.Task[None]",
    ) -> list[str]:
        """From the devices towards the cloud: each stage still takes what the one before hands over.

        Gives the names of what did not end in time.
        """
        for worker in self.workers:
            worker.stop()
        for barrier in self._barriers:
            barrier.stop()
        self._health.stop()
        late = await _ended(producers, _WIND_DOWN_S)
        self.recorder.close()
        late += await _ended([recorder], _WIND_DOWN_S)
        self._uplink.stop()
        return late + await _ended([uplink], self._site.broker.drain_s + _WIND_DOWN_S)

    def _device_health(self) -> list[DeviceHealth]:
        meters = [device.report() for worker in self.workers for device in worker.stats.devices]
        return meters + [device for barrier in self._barriers for device in barrier.health()]


async def _ended(tasks: Sequence["asyncio.Task[None]"], seconds: float) -> list[str]:
    """Waits for `tasks` and gives the names of those that still run; their errors are the caller's to raise."""
    _, running = await asyncio.wait(tasks, timeout=seconds)
    return [task.get_name() for task in running]
