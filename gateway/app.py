"""Wires one gateway: lines, recorder, outbox, uplink, barriers, health; the only place that knows them all."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from gateway.access.book import AccessBook
from gateway.access.intake import AccessIntake
from gateway.configuration.configurator import Configurator, Resumed, abandoned, resume
from gateway.configuration.site import Running
from gateway.configuration.store import ConfigurationStore
from gateway.drivers.barrier.pictures import Pictures, unsent_passages
from gateway.errors import ConfigError, GatewayError
from gateway.health.observed import Observed
from gateway.health.report import HealthReporter, Heard
from gateway.health.watch import Watch
from gateway.outbox import Outbox
from gateway.plant import Plant
from gateway.polling.clock import Clock
from gateway.polling.recorder import Recorder
from gateway.settings import SiteSettings
from gateway.tasks import end, first_error
from gateway.templates.library import Library
from gateway.uplink.cloud_clock import CloudClock
from gateway.uplink.uplink import Uplink

log = structlog.get_logger(__name__)

OUTBOX_FILE: Final = "outbox.sqlite"
CLOCK_FILE: Final = "clock"
ACCESS_FILE: Final = "access.sqlite"
PICTURES_DIRECTORY: Final = "pictures"
_WIND_DOWN_S: Final = 20.0
"""Longest end of recorder and health; the lines' patience and the uplink's drain come on top."""


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
        self.book = _book(site.state_directory / ACCESS_FILE, self._clock.reached_ms())
        self._cloud_clock = CloudClock(
            site.project, site.gateway, site.cloud_keys, self._clock.wall_ms, self._clock.wall_is_sure
        )
        self._access = AccessIntake(site.project, site.gateway, self.book, site.cloud_keys)
        self._pictures = self._kept_pictures()
        local, store = Running(site, library), ConfigurationStore(site.state_directory)
        resumed = resume(store, local, self._clock.now_ms())
        try:
            self.plant = self._built(resumed.running)
        except ConfigError as error:
            if resumed.running is local:
                raise
            log.error("configuration cannot be built", reason=str(error))
            resumed = Resumed(abandoned(resumed.kept, f"it cannot be built: {error}", self._clock.now_ms()), local)
            store.try_save(resumed.kept)
            self.plant = self._built(local)
        self.configurator = Configurator(local, resumed, store, self.plant, self.outbox, self._clock.now_ms)
        self._health = HealthReporter(
            self.plant.device_health,
            self.outbox,
            self._clock.now_ms,
            site.health_period_s,
            self._heard,
            self._cloud_clock.ask,
        )
        self._uplink = Uplink(
            site.broker,
            site.project,
            site.gateway,
            self.outbox,
            self.plant.execute,
            on_configuration=self.configurator.handle,
            on_access=self._access.handle,
            on_time=self._cloud_clock.hear,
            cloud_keys=site.cloud_keys,
            clock=self._cloud_clock.now_ms,
            clock_is_sure=self._cloud_clock.is_sure,
            reached=self._clock.reached_ms,
        )
        self.watch = Watch(self._observed(), self.outbox.stats)

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set or a part fails for good, then ends cleanly. Raises what the part raised."""
        plant = asyncio.create_task(self.plant.run(), name="plant")
        recorder = asyncio.create_task(self.recorder.run(), name="recorder")
        health = asyncio.create_task(self._health.run(), name="health")
        uplink = asyncio.create_task(self._uplink.run(), name="uplink")
        configurator = asyncio.create_task(self.configurator.run(), name="configurator")
        watch = asyncio.create_task(self.watch.run(), name="watch")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        producers = [plant, health, configurator]
        tasks = [*producers, recorder, uplink, watch]
        late: list[str] = []
        try:
            site = self._site
            if site.health_port is not None:
                self.watch.serve(site.health_port)
            log.info("gateway-started", gateway=site.gateway, lines=len(site.lines) + len(site.barriers))
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            self.watch.ending()
            late += await self._wind_down(producers, recorder, uplink)
        finally:
            self.watch.stop()
            await end(stopped, *tasks)
            self.book.close()
            self.outbox.close()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise first_error(error)
        if late:
            raise ShutdownTimeout(f"{', '.join(late)} did not end in time")
        log.info("gateway-stopped", recorded=self.recorder.recorded)

    async def reload(self, site: SiteSettings, library: Library) -> None:
        """Takes over a site file that was read again. Raises CannotChange, ConfigError, PlantError: nothing changed."""
        await self.configurator.reload(site, library)
        self._uplink.trust(site.cloud_keys)
        self._access.trust(site.cloud_keys)
        self._cloud_clock.trust(site.cloud_keys)

    def _built(self, running: Running) -> Plant:
        site, library = running.site, running.library
        time = self._cloud_clock.now_ms
        return Plant(site, library, self._clock, self.recorder, self.outbox, self.book, self._pictures, time)

    def _heard(self) -> Heard:
        commands = self._uplink.command_counters
        refused = self._access.refused + self.configurator.refused + commands.malformed + commands.not_understood
        return Heard(self.book.number, self.book.not_understood, refused, self._cloud_clock.ahead_ms)

    def _kept_pictures(self) -> Pictures | None:
        if not self._site.pictures_max_bytes:
            return None
        directory = self._site.state_directory / PICTURES_DIRECTORY
        try:
            return Pictures(directory, self._site.pictures_max_bytes, lambda: unsent_passages(self.outbox))
        except OSError as error:  # barriers open without pictures, too
            log.error("pictures cannot be kept", path=str(directory), reason=str(error))
            return None

    def _observed(self) -> Observed:
        return Observed(
            self._site.project,
            self._site.gateway,
            self.plant.line_stats,
            lambda: [health for barrier in self.plant.barriers for health in barrier.health()],
            self._uplink,
            lambda: self.recorder.recorded,
            self._site.outbox_max_bytes,
            lambda: self._cloud_clock.ahead_ms,
        )

    async def _wind_down(
        self,
        producers: Sequence["asyncio.Task[None]"],
        recorder: "asyncio.Task[None]",
        uplink: "asyncio.Task[None]",
    ) -> list[str]:
        """From the devices towards the cloud: each stage still takes what the one before hands over.

        Gives the names of what did not end in time.
        """
        self.configurator.stop()
        self.plant.stop()
        self._health.stop()
        late = await _ended(producers, self.plant.end_s + _WIND_DOWN_S)
        self.recorder.close()
        late += await _ended([recorder], _WIND_DOWN_S)
        self._uplink.stop()
        return late + await _ended([uplink], self._site.broker.drain_s + _WIND_DOWN_S)


def _book(path: Path, reached: int) -> AccessBook:
    """What is known of vehicles. When its file cannot be used, barriers work all the same with what the cloud tells."""
    try:
        return AccessBook(path, reached)
    except sqlite3.Error as error:
        log.error("access file cannot be used", path=str(path), reason=str(error))
        return AccessBook()


async def _ended(tasks: Sequence["asyncio.Task[None]"], seconds: float) -> list[str]:
    """Waits for `tasks` and gives the names of those that still run; their errors are the caller's to raise."""
    _, running = await asyncio.wait(tasks, timeout=seconds)
    return [task.get_name() for task in running]
