"""Passages of the last days as a barrier would have reported them. Pure and seeded."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.contract.messages import Outcome, Passage
from simulators.barrier.plates import Vehicle, random_vehicle

DAYS: Final = 5
_STAYS_PER_DAY: Final = 40
_RESIDENT_SHARE: Final = 0.35
_FIRST_RESIDENT_SHARE: Final = 0.1
_INSIDE: Final = 12
"""Vehicles that are still in the lot at the end."""
_SHORT_MINUTES: Final = 85
_LONG_MINUTES: Final = 9 * 60
_LONG_SHARE: Final = 0.4
"""Share of stays that may last beyond the free minutes of the demo's rule."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One vehicle's time in the lot; `left_at` is None while it is inside."""

    vehicle: Vehicle
    entered_at: datetime
    left_at: datetime | None


def make_stays(seed: int, residents: Sequence[Vehicle], until: datetime) -> list[Stay]:
    """Stays of the `DAYS` days before `until`; no vehicle is inside twice at a time."""
    chance = random.Random(f"{seed}/stays")
    stays: list[Stay] = []
    last_left: dict[str, datetime] = {}
    start = until - timedelta(days=DAYS)
    for _ in range(DAYS * _STAYS_PER_DAY):
        own = residents and chance.random() < _RESIDENT_SHARE
        vehicle = _drives_out(chance, residents) if own else random_vehicle(chance)
        entered = start + timedelta(seconds=chance.randrange(int(timedelta(days=DAYS).total_seconds()) - 3 * 3_600))
        longest = _LONG_MINUTES if chance.random() < _LONG_SHARE else _SHORT_MINUTES
        left = entered + timedelta(minutes=chance.randrange(5, longest))
        before = last_left.get(vehicle.plate)
        if left < until and (before is None or before < entered):
            last_left[vehicle.plate] = left
            stays.append(Stay(vehicle, entered, left))
    gone = [vehicle for vehicle in residents if last_left.get(vehicle.plate, start) < until - timedelta(hours=3)]
    inside = [*gone[: _INSIDE // 2], *(random_vehicle(chance) for _ in range(_INSIDE - min(len(gone), _INSIDE // 2)))]
    stays += [Stay(vehicle, until - timedelta(minutes=chance.randrange(10, 170)), None) for vehicle in inside]
    return sorted(stays, key=lambda stay: stay.entered_at)


def _drives_out(chance: random.Random, residents: Sequence[Vehicle]) -> Vehicle:
    """The first resident drives often: his page shall have something to show."""
    return residents[0] if chance.random() < _FIRST_RESIDENT_SHARE else chance.choice(residents)


def passages_of(seed: int, stays: Sequence[Stay], entry: str, exit_: str) -> list[Passage]:
    """The passages in order of time; ids depend on the seed and the place in the list only."""
    passages = []
    for number, stay in enumerate(stays):
        passages.append(_passage(f"{seed}/{number}/in", stay.vehicle, entry, "entry", stay.entered_at))
        if stay.left_at is not None:
            passages.append(_passage(f"{seed}/{number}/out", stay.vehicle, exit_, "exit", stay.left_at))
    return sorted(passages, key=lambda passage: passage.taken_at)


def odd_passages(seed: int, until: datetime, entry: str, exit_: str) -> list[Passage]:
    """What is odd at barriers: a plate misread at the exit, a vehicle nobody saw enter, one nobody saw leave."""
    seen = (
        ("京K8T361", "entry", timedelta(hours=30)),
        ("京KBT361", "exit", timedelta(hours=29)),
        ("冀R7Y904", "exit", timedelta(hours=7)),
        ("津A2W558", "entry", timedelta(hours=50)),
        ("津A2W558", "entry", timedelta(hours=20)),
        ("津A2W558", "exit", timedelta(hours=19)),
    )
    lanes = {"entry": entry, "exit": exit_}
    return [
        _passage(f"{seed}/odd/{number}", Vehicle(plate, "small"), lanes[direction], direction, until - before)
        for number, (plate, direction, before) in enumerate(seen)
    ]


def _passage(name: str, vehicle: Vehicle, device: str, direction: str, at: datetime) -> Passage:
    taken_at = int(at.timestamp() * 1_000)
    return Passage(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"gatemeter-demo/{name}/{taken_at}")),
        device=device,
        plate=vehicle.plate,
        taken_at=taken_at,
        outcome=Outcome.PASSED,
        direction=direction,
        vehicle_class=vehicle.vehicle_class,
        score=950,
        plate_read=vehicle.plate,
        decision="temporary",
        outcome_at=taken_at + 4_000,
    )
