"""A gate with vehicles that keep coming, and a camera that tells again what it saw while nobody listened."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.drivers.barrier.events import Passed, Recognised
from gateway.tasks import end
from gateway.uplink.settings import MqttEndpoint
from simulators.barrier.lane import Lane
from tests.acceptance.system import System

_AGAIN_S: Final = 1.0
_PASSING_S: Final = 0.05


class RememberingLane(Lane):
    """A lane whose device keeps what it said, as real cameras do, and can tell it again marked as offline."""

    def __init__(self, broker: MqttEndpoint, prefix: str, sn: str) -> None:
        super().__init__(broker, prefix, sn, passing_s=_PASSING_S)
        self.passed: list[str] = []
        """Plates of the vehicles that drove through."""
        self._told: list[Recognised | Passed] = []
        self._plates: dict[str, str] = {}

    async def say(self, event: object) -> None:
        """Says and remembers."""
        if isinstance(event, Recognised):
            self._plates[event.id] = event.plate
            self._told.append(event)
        elif isinstance(event, Passed):
            self.passed.append(self._plates[event.id])
            self._told.append(event)
        await super().say(event)  # type: ignore[arg-type]  # what came in goes out

    async def tell_again(self) -> None:
        """Everything since the last time, in order."""
        told, self._told = self._told, []
        for event in told:
            await super().say(msgspec.structs.replace(event, offline=True))


@dataclass
class Garage:
    """Vehicles arrive one after the other; each waits until the barrier opens."""

    lane: RememberingLane
    _driving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Garage":
        await self.lane.__aenter__()
        self._driving = asyncio.create_task(self._drive())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rest()
        await self.lane.__aexit__()

    async def rest(self) -> None:
        """No more vehicles come."""
        assert self._driving is not None
        await end(self._driving)

    async def _drive(self) -> None:
        number = 0
        while True:
            number += 1
            plate = f"京A{number:05}"
            standing = await self.lane.arrive(plate)
            while not standing.left.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S):
                        await standing.left.wait()
                if not standing.left.is_set() and self.lane.standing is not None:
                    await self.lane.recognise(plate)  # cameras repeat themselves while a vehicle stands there
            await asyncio.sleep(0.2)


def garage(system: System) -> Garage:
    """The entry `lane-in` of the site."""
    endpoint = MqttEndpoint(
        host=system.broker.host, port=system.broker.port, username="barriers", password_env="BARRIER_PASSWORD"
    )
    return Garage(RememberingLane(endpoint, "barriers", "IN"))
