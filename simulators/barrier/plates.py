"""Number plates as they drive around: blue seven-character ones and green eight-character ones, seeded."""

import random
from dataclasses import dataclass
from typing import Final

_PROVINCES: Final = "京京京京京京冀津晋辽沪苏浙鲁粤"
_CITY_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_SERIAL: Final = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_NEW_ENERGY_SMALL: Final = "DF"
_NEW_ENERGY_SHARE: Final = 0.35
_LARGE_SHARE: Final = 0.04
_ALIKE: Final = {"0": "D", "D": "0", "2": "Z", "Z": "2", "5": "S", "S": "5", "8": "B", "B": "8"}


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle with its plate; `vehicle_class` is small, new-energy or large."""

    plate: str
    vehicle_class: str


def random_vehicle(chance: random.Random) -> Vehicle:
    """A vehicle as a camera in Beijing sees them: a third green plates (GA 36-2018: D or F, then five), few lorries."""
    area = chance.choice(_PROVINCES) + chance.choice(_CITY_LETTERS)
    if chance.random() < _NEW_ENERGY_SHARE:
        return Vehicle(f"{area}{chance.choice(_NEW_ENERGY_SMALL)}{chance.randrange(100_000):05}", "new-energy")
    # The letters I and O are not used; at most two letters among the last five.
    serial = list(f"{chance.randrange(100_000):05}")
    for place in chance.sample(range(5), chance.randrange(3)):
        serial[place] = chance.choice(_SERIAL)
    return Vehicle(area + "".join(serial), "large" if chance.random() < _LARGE_SHARE else "small")


def misread(plate: str, chance: random.Random) -> str:
    """The plate with one of its last five signs taken for another that looks like it, when there is such a sign."""
    places = [place for place in range(2, len(plate)) if plate[place] in _ALIKE]
    if not places:
        return plate
    place = chance.choice(places)
    return plate[:place] + _ALIKE[plate[place]] + plate[place + 1 :]
