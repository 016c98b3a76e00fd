"""What runs on the lines and barriers of a site, and how it becomes that of another site while it runs."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import structlog

from gateway.access.book import AccessBook
from gateway.contract.messages import Command, CommandState, DeviceHealth
from gateway.drivers.barrier import BarrierLine
from gateway.drivers.barrier.pictures import Pictures
from gateway.drivers.barrier.settings import BarrierLineSettings
from gateway.drivers.base import CommandOutcome
from gateway.drivers.line_kinds import LineSettings
from gateway.drivers.settings import MeterLineSettings
from gateway.errors import GatewayError
from gateway.health.stats import LineStats
from gateway.lines import Records, RunningLine, build_line
from gateway.outbox import Outbox
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker
from gateway.settings import SiteSettings
from gateway.tasks import end
from gateway.templates.library import Library

_END_S: Final = 15.0
"""Shortest patience with a part that is to finish what it is doing, before it is cut off."""
_FIRST_STEPS_S: Final = 0.2
"""A part that cannot run at all shows it in this time."""

_log = structlog.get_logger(__name__)


class PlantError(GatewayError):
    """The new parts do not run; the old ones do again."""


class PlantStopping(PlantError):
    """Too late for changes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that one part is built from. Parts of equal recipes are the same part."""

    settings: LineSettings | BarrierLineSettings
    shared: tuple[object, ...] = ()
    """What it takes from the rest of the site: periods, rules of reporting, time zone, templates."""


Recipes = Mapping[str, Recipe]
"""By name: `line <name>` or `barriers <name>`."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to happen to come from one set of parts to another; names in the order of the site."""

    kept: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    started: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ended or self.replaced or self.started)


def recipes(site: SiteSettings, library: Library) -> dict[str, Recipe]:
    """What the parts of `site` are built from. Raises ConfigError when a template is wrong."""
    found: dict[str, Recipe] = {}
    for line in site.lines:
        devices = [device for device, _ in line.all_devices()]
        templates = tuple(library.meter(template) for template in sorted({device.template for device in devices}))
        shared: tuple[object, ...] = (templates,)
        if isinstance(line, MeterLineSettings):
            periods = tuple(device.periods or site.periods for device, _ in line.all_devices())
            shared = (periods, site.report, site.time_zone, templates)
        found[f"line {line.name}"] = Recipe(line, shared)
    for barrier in site.barriers:
        found[f"barriers {barrier.name}"] = Recipe(barrier)
    return found


def patience_s(recipe: Recipe) -> float:
    """How long a part may take to finish what it is doing: a line first waits for the answer that is out. Pure."""
    settings = recipe.settings
    return max(_END_S, settings.timeout_s + _END_S / 3) if isinstance(settings, MeterLineSettings) else _END_S


def compare(old: Recipes, new: Recipes) -> Changes:
    """The difference between two sets of parts. Pure."""
    return Changes(
        kept=tuple(name for name in new if name in old and old[name] == new[name]),
        ended=tuple(name for name in old if name not in new),
        replaced=tuple(name for name in new if name in old and old[name] != new[name]),
        started=tuple(name for name in new if name not in old),
    )


@dataclass(slots=True)
class _Unit:
    name: str
    recipe: Recipe
    part: RunningLine | BarrierLine
    task: "asyncio.Task[None] | None" = None
    trusted: bool = field(default=False)
    """Whether its failure is one of the gateway; before that it is one of the change that brought it."""
    leaving: bool = False


class Plant:
    """The running parts of a site. Build it inside the event loop."""

    def __init__(
        self,
        site: SiteSettings,
        library: Library,
        clock: Clock,
        records: Records,
        outbox: Outbox,
        book: AccessBook | None = None,
        pictures: Pictures | None = None,
        barrier_ms: Callable[[], int] | None = None,
    ) -> None:
        """Builds every part; nothing is opened yet. `book` and `pictures` are of all barriers. Raises ConfigError.

        `barrier_ms` is the time at barriers, Unix milliseconds: the wall clock when there is none.
        """
        self._clock, self._records, self._outbox = clock, records, outbox
        self._barrier_ms = barrier_ms or clock.wall_ms
        self._book, self._pictures = book, pictures
        self._site, self._library = site, library
        self._units = [self._built(name, recipe, site, library) for name, recipe in recipes(site, library).items()]
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._running = False

    @property
    def site(self) -> SiteSettings:
        """What runs now."""
        return self._site

    @property
    def lines(self) -> tuple[RunningLine, ...]:
        """The lines with meters. A new tuple after each change, so that another thread may walk through it."""
        return tuple(unit.part for unit in self._units if not isinstance(unit.part, BarrierLine))

    @property
    def barriers(self) -> tuple[BarrierLine, ...]:
        """The barrier lines."""
        return tuple(unit.part for unit in self._units if isinstance(unit.part, BarrierLine))

    @property
    def busy(self) -> tuple[str, ...]:
        """Names of the parts that run."""
        return tuple(unit.name for unit in self._units if unit.task is not None and not unit.task.done())

    def line_stats(self) -> Sequence[LineStats]:
        """Counters of the lines."""
        return [line.stats for line in self.lines]

    def devices(self) -> dict[str, tuple[str, ...]]:
        """What hangs on each part."""
        return {unit.name: tuple(unit.part.devices) for unit in self._units}

    def alive(self) -> dict[str, frozenset[str]]:
        """The devices of each part that answered when they were last asked; of barriers all, while connected.

        Of meters that send by themselves nobody knows.
        """
        return {unit.name: _alive(unit.part) for unit in self._units}

    async def answers(self, name: str, device: str) -> bool:
        """Asks a device of a part now. Barriers are not asked: whether their broker is reached stands for them."""
        unit = next((unit for unit in self._units if unit.name == name), None)
        if unit is None:
            return False
        if isinstance(unit.part, BarrierLine):
            return unit.part.connected
        if not isinstance(unit.part, LineWorker) or device not in unit.part.devices:
            return False
        try:
            return (await unit.part.read_now(device)).answered
        except GatewayError:  # no connection, or it is stopping
            return False

    def device_health(self) -> list[DeviceHealth]:
        """State of every device since its line was started."""
        meters = [device.report() for line in self.lines for device in line.stats.devices]
        return meters + [device for barrier in self.barriers for device in barrier.health()]

    @property
    def end_s(self) -> float:
        """Longest that `run` may take to return after `stop`, when every part ends as it should."""
        return max((patience_s(unit.recipe) for unit in self._units), default=_END_S)

    def stop(self) -> None:
        """Lets every part finish what it is doing, and `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs the parts until `stop`. Raises what a part raised that fails for good."""
        self._running = True
        for unit in self._units:
            unit.trusted = True
            self._start(unit)
        stopping = asyncio.ensure_future(self._stopping.wait())
        signs: list[asyncio.Future[Any]] = [stopping, self._failed]
        try:
            await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
            async with self._changing:
                self._running = False
                self._stopping.set()
                late = await self._leave(self._units)
            if self._failed.done():
                self._failed.result()
            if late:
                raise PlantError(f"{', '.join(late)} did not end in time")
        finally:
            await end(*signs, *_tasks(self._units))

    async def apply(self, site: SiteSettings, library: Library) -> Changes:
        """Replaces what differs; the other parts run on undisturbed.

        Raises ConfigError before anything is touched, and PlantError when the new parts do not run: the old ones do
        again then. A part that leaves is given time to finish; one connection never has two owners.
        """
        async with self._changing:
            if self._stopping.is_set():
                raise PlantStopping("the gateway is stopping")
            wanted = recipes(site, library)
            changes = compare({unit.name: unit.recipe for unit in self._units}, wanted)
            fresh: dict[str, _Unit] = {}
            for name in (*changes.replaced, *changes.started):
                fresh[name] = self._built(name, wanted[name], site, library)
                await asyncio.sleep(0)  # a big site takes a while: the lines that stay must not wait for all of it
            await self._swap(fresh, wanted, changes)
            self._site, self._library = site, library
            return changes

    async def execute(self, command: Command) -> CommandOutcome:
        """Carries out one verified command on the device that it names."""
        unit = next((unit for unit in self._units if command.device in unit.part.devices), None)
        if unit is None:
            return CommandOutcome(CommandState.FAILED, f"no device {command.device} here")
        if isinstance(unit.part, BarrierLine):
            return await unit.part.execute(command)
        if isinstance(unit.part, LineWorker):
            return await unit.part.perform(command, self._local_now)
        return CommandOutcome(CommandState.FAILED, f"{command.device} cannot {command.action}: nobody can ask it")

    def _local_now(self) -> datetime:
        """Naive local time of the property: what a meter's clock is set to."""
        return datetime.now(ZoneInfo(self._site.time_zone)).replace(tzinfo=None)

    async def _swap(self, fresh: Mapping[str, _Unit], wanted: Recipes, changes: Changes) -> None:
        old = {unit.name: unit for unit in self._units}
        leaving = [old[name] for name in (*changes.ended, *changes.replaced)]
        await self._leave(leaving)
        self._units = [fresh.get(name) or old[name] for name in wanted]
        if not self._running:
            return
        try:
            await self._first_steps(list(fresh.values()))
        except PlantError:
            # What has run cannot run again: each is built anew from what it was built from before.
            again = {unit.name: self._built(unit.name, unit.recipe, self._site, self._library) for unit in leaving}
            self._units = [again.get(name) or unit for name, unit in old.items()]
            for unit in again.values():
                unit.trusted = True
                self._start(unit)
            raise

    async def _first_steps(self, units: Sequence[_Unit]) -> None:
        """Starts the units. Raises PlantError, with all of them ended, when one of them cannot run."""
        for unit in units:
            self._start(unit)
        if not units:
            return
        done, _ = await asyncio.wait(_tasks(units), timeout=_FIRST_STEPS_S, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            for unit in units:
                unit.trusted = True
            return
        await end(*_tasks(units))
        reasons = [f"{unit.name}: {_end_of(unit)}" for unit in units if unit.task in done]
        raise PlantError("; ".join(reasons))

    def _built(self, name: str, recipe: Recipe, site: SiteSettings, library: Library) -> _Unit:
        settings = recipe.settings
        if isinstance(settings, BarrierLineSettings):
            part = BarrierLine(
                settings,
                self._outbox,
                book=self._book,
                pictures=self._pictures,
                clock=self._barrier_ms,
                reached=self._clock.reached_ms,
            )
            return _Unit(name, recipe, part)
        return _Unit(name, recipe, build_line(settings, site, library, self._clock, self._records))

    def _start(self, unit: _Unit) -> None:
        unit.task = asyncio.create_task(unit.part.run(), name=unit.name)
        unit.task.add_done_callback(lambda _: self._ended(unit))

    def _ended(self, unit: _Unit) -> None:
        if not unit.trusted or unit.leaving or self._failed.done():
            return
        assert unit.task is not None
        error = None if unit.task.cancelled() else unit.task.exception()
        self._failed.set_exception(error or PlantError(f"{unit.name} ended by itself"))

    async def _leave(self, units: Sequence[_Unit]) -> list[str]:
        """Ends units, politely first. Gives the names of those that had to be cut off."""
        for unit in units:
            unit.leaving = True
            unit.part.stop()
        tasks = _tasks(units)
        if not tasks:
            return []
        _, running = await asyncio.wait(tasks, timeout=max(patience_s(unit.recipe) for unit in units))
        late = [unit.name for unit in units if unit.task in running]
        if late:
            _log.error("cut off: they did not end in time", parts=late)
            await end(*running)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
                self._failed.set_exception(error)
        return late


def _alive(part: RunningLine | BarrierLine) -> frozenset[str]:
    if isinstance(part, BarrierLine):
        return part.devices if part.connected else frozenset()
    if not isinstance(part, LineWorker):
        return frozenset()
    return frozenset(stats.device for stats in part.stats.devices if stats.last_seen_ms and not stats.failures_in_a_row)


def _tasks(units: Iterable[_Unit]) -> "list[asyncio.Task[None]]":
    return [unit.task for unit in units if unit.task is not None]


def _end_of(unit: _Unit) -> str:
    assert unit.task is not None
    error = None if unit.task.cancelled() else unit.task.exception()
    return "ended by itself" if error is None else f"{type(error).__name__}: {error}"
