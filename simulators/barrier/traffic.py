"""Traffic of one lot: vehicles come at random, stay a while, and leave; same seed, same vehicles."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.tasks import end
from simulators.barrier.lane import Lane
from simulators.barrier.plates import Vehicle, misread, random_vehicle

_PATIENCE_S: Final = 60.0
"""How long a vehicle waits at an entry before it turns back."""
_EXIT_PATIENCE_S: Final = 300.0
"""How long one waits at an exit before it makes way for the others; it comes again."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Traffic:
    """Drives vehicles into `entry` and out of `exit_`. `rate` is arrivals per minute, `stay_s` the mean stay.

    `before` are in the lot when it begins: the first of them leaves at once, the others one after another. Of
    `misread_share` of those who leave, the camera errs in one sign.
    """

    entry: Lane
    exit_: Lane
    seed: int
    rate: float = 2.0
    stay_s: float = 600.0
    before: Sequence[Vehicle] = ()
    misread_share: float = 0.0
    exit_patience_s: float = _EXIT_PATIENCE_S
    inside: list[Vehicle] = field(default_factory=list)
    entered: int = 0
    left: int = 0
    turned_back: int = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        chance = random.Random(f"{self.seed}/traffic")
        at_exit = asyncio.Lock()
        leaving: set[asyncio.Task[None]] = set()

        def leaves_after(vehicle: Vehicle, stay_s: float) -> None:
            read = misread(vehicle.plate, chance) if chance.random() < self.misread_share else vehicle.plate
            leaving.add(asyncio.create_task(self._stay_and_leave(vehicle, read, stay_s, at_exit)))

        # No TaskGroup: it asks its tasks to end only once, and once may not be heard (see gateway/tasks.py).
        try:
            for nth, vehicle in enumerate(self.before):
                self.inside.append(vehicle)
                leaves_after(vehicle, nth * self.stay_s / 2)
            while True:
                vehicle = random_vehicle(chance)
                stay_s = chance.expovariate(1 / self.stay_s)
                if await self._enter(vehicle):
                    leaves_after(vehicle, stay_s)
                await asyncio.sleep(chance.expovariate(self.rate / 60))
                for task in [task for task in leaving if task.done()]:
                    leaving.discard(task)
                    task.result()
        finally:
            await end(*leaving)

    async def _enter(self, vehicle: Vehicle) -> bool:
        standing = await self.entry.arrive(vehicle.plate, vehicle.vehicle_class)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await standing.left.wait()
        except TimeoutError:
            await self.entry.turn_back()
            self.turned_back += 1
            _log.info("turned back", plate=vehicle.plate)
            return False
        self.inside.append(vehicle)
        self.entered += 1
        _log.info("entered", plate=vehicle.plate, vehicle_class=vehicle.vehicle_class, inside=len(self.inside))
        return True

    async def _stay_and_leave(self, vehicle: Vehicle, read: str, stay_s: float, at_exit: asyncio.Lock) -> None:
        await asyncio.sleep(stay_s)
        while not await self._leave(vehicle, read, at_exit):
            _log.info("made way at the exit", plate=vehicle.plate)
            await asyncio.sleep(self.stay_s / 2)
        self.inside.remove(vehicle)
        self.left += 1
        _log.info("left", plate=vehicle.plate, inside=len(self.inside))

    async def _leave(self, vehicle: Vehicle, read: str, at_exit: asyncio.Lock) -> bool:
        """False when it was not let out and went back."""
        async with at_exit:  # one vehicle at a time before the barrier
            standing = await self.exit_.arrive(vehicle.plate, vehicle.vehicle_class, read=read)
            try:
                async with asyncio.timeout(self.exit_patience_s):
                    await standing.left.wait()
            except TimeoutError:
                if self.exit_.standing is standing:  # else it is on its way through
                    await self.exit_.turn_back()
                    return False
        return True
