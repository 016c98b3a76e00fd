"""How many more vehicles find room in a lot, by what is told of it. Edge and cloud count by the same rule. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.contract.access import LotEntry

ALL_CLASSES: Final = ""
"""The class of the entry that holds for all vehicles of a lot together."""


def room_for(vehicle_class: str, entries: Mapping[str, LotEntry], inside: Callable[[str], int]) -> int | None:
    """Vehicles of `vehicle_class` that may still come in; None when nobody counts.

    `entries` are those of one lot by class; `inside` gives the vehicles inside of a class, under `ALL_CLASSES` of all.
    Vehicles stand on the spaces that are kept for their class first, the others on what is left of the lot: a lot with
    100 spaces of which 10 are kept for large vehicles takes 90 others, and no 91st while large ones are away.
    """
    whole, own = entries.get(ALL_CLASSES), entries.get(vehicle_class)
    limits: list[int] = []
    if whole is not None and whole.capacity >= 0:
        kept = [entry for name, entry in entries.items() if name != ALL_CLASSES and entry.kept]
        common = whole.capacity - sum(entry.kept for entry in kept)
        taken = inside(ALL_CLASSES) - sum(min(entry.kept, inside(entry.vehicle_class)) for entry in kept)
        reserved = own.kept - inside(vehicle_class) if own is not None and vehicle_class != ALL_CLASSES else 0
        limits.append(max(0, common - taken) + max(0, reserved))
    if own is not None and own.capacity >= 0 and vehicle_class != ALL_CLASSES:
        limits.append(max(0, own.capacity - inside(vehicle_class)))
    return min(limits, default=None)
