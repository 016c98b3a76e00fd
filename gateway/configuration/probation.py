"""Whether a gateway works with what it was given: it reaches its cloud, and its meters as well as before."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.outbox import Outbox
from gateway.plant import Changes, Plant

Proofs = Mapping[str, tuple[str, ...]]
"""By changed part: the devices of which one must answer."""

_LOOK_AGAIN_S: Final = 0.2
_ASKED_AT_MOST: Final = 32
"""Devices of one line that are asked: a line on which so many are silent is not a line."""


def proofs_of(before: Mapping[str, frozenset[str]], changes: Changes, devices: Mapping[str, Sequence[str]]) -> Proofs:
    """What changed parts owe: each must be as alive as it was. Pure.

    `before` gives, for each part, the devices that answered when they were last asked; `devices` what hangs on the
    parts now. A meter that was alive must be so wherever it hangs now; a part whose meters are all new ones owes an
    answer when the part of its name gave some. What was silent before owes nothing.
    """
    alive = frozenset[str]().union(*before.values())
    owed: dict[str, tuple[str, ...]] = {}
    for name in (*changes.replaced, *changes.started):
        known = [device for device in devices[name] if device in alive]
        if known:
            owed[name] = tuple(known[:_ASKED_AT_MOST])
        elif before.get(name) and devices[name]:
            owed[name] = tuple(devices[name][:_ASKED_AT_MOST])
    return owed


class Probation:
    """Gathers the proofs of one configuration."""

    def __init__(self, plant: Plant, outbox: Outbox, seq: int, proofs: Proofs) -> None:
        """`seq` is the report that the cloud has to acknowledge; 0 when the disk did not take it: nothing is proven."""
        self._plant, self._outbox, self._seq = plant, outbox, seq
        self._reached = False
        self._owed = dict(proofs)

    async def run(self) -> None:
        """Returns when everything is proven; cancel it when the time is over."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reach_the_cloud())
            for part, devices in list(self._owed.items()):
                tasks.create_task(self._see_an_answer(part, devices))

    def lacking(self, seconds: int) -> str | None:
        """What is not proven after `seconds`, or None."""
        lacks = [] if self._reached else [f"no acknowledgement of the cloud within {seconds} s"]
        lacks += [
            f"{part}: no answer of {_named(devices)}, where there was one before"
            for part, devices in self._owed.items()
        ]
        return "; ".join(lacks) or None

    async def _reach_the_cloud(self) -> None:
        while True:
            if self._seq and not await self._outbox.holds(self._seq):
                self._reached = True
                return
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _see_an_answer(self, part: str, devices: Sequence[str]) -> None:
        while True:
            for device in devices:
                if await self._plant.answers(part, device):
                    del self._owed[part]
                    return
            await asyncio.sleep(_LOOK_AGAIN_S)


def _named(devices: Sequence[str]) -> str:
    return ", ".join(devices[:3]) + (f" and {len(devices) - 3} more" if len(devices) > 3 else "")
