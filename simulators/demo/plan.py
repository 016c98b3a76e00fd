"""The demo estate on paper: who lives where since when. Pure and seeded: same arguments, same estate."""

import random
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from simulators.barrier.plates import Vehicle, random_vehicle

BUILDINGS: Final = 3
FLATS_PER_FLOOR: Final = 4
MOST_FLOORS: Final = 10

_SURNAMES: Final = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN: Final = ("伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "娟", "涛", "明", "超",
                 "秀兰", "霞", "平", "桂英", "志强", "建国", "雪梅", "晓东", "子涵", "欣怡", "浩然")  # fmt: skip
_AREAS: Final = ("56.80", "74.30", "89.50", "118.60")
"""Billed area in m² of the four flats of a floor."""
_HOUSEHOLDS: Final = (1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 7)
_TENANT_SHARE: Final = 0.3
_VEHICLE_SHARE: Final = 0.45
_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECK: Final = "10X98765432"


@dataclass(frozen=True, slots=True)
class Resident:
    """A person of the demo. The numbers are well formed and belong to nobody."""

    name: str
    phone: str
    id_number: str
    email: str


@dataclass(frozen=True, slots=True)
class Flat:
    """A flat with its people. `number` counts over the whole estate from 1."""

    number: int
    building: int
    floor: int
    position: int
    area: Decimal
    owner: Resident
    tenant: Resident | None
    persons: int
    vehicle: Vehicle | None

    @property
    def code(self) -> str:
        """Floor and position, as on the door: 0304."""
        return f"{self.floor:02}{self.position:02}"

    @property
    def payer(self) -> Resident:
        """Who gets the bills: the tenant where there is one."""
        return self.tenant or self.owner

    @property
    def account_number(self) -> str:
        """Number of the account that pays for this flat."""
        return f"{self.building}-{self.code}"

    def device(self, medium: str) -> str:
        """Code of the flat's meter device, as the site file names it: `e-1-0304`, `w-1-0304`."""
        return f"{medium[0]}-{self.building}-{self.code}"


@dataclass(frozen=True, slots=True)
class EstatePlan:
    """All flats, and since when they are metered and occupied."""

    since: date
    flats: tuple[Flat, ...]

    def devices(self) -> list[tuple[str, str]]:
        """(device code, medium) of every meter."""
        return [(flat.device(medium), medium) for flat in self.flats for medium in ("electricity", "water")]


def months_before(day: date, count: int) -> date:
    """First day of the month that lies `count` months before that of `day`."""
    months = day.year * 12 + day.month - 1 - count
    return date(months // 12, months % 12 + 1, 1)


def make_plan(seed: int, since: date, floors: int) -> EstatePlan:
    """An estate of `floors` floors in each building (1 to 10). Raises ValueError outside of that."""
    if not 1 <= floors <= MOST_FLOORS:
        raise ValueError(f"floors: expected 1 to {MOST_FLOORS}, found {floors}")
    chance = random.Random(f"{seed}/estate")
    flats: list[Flat] = []
    for building in range(1, BUILDINGS + 1):
        for floor in range(1, floors + 1):
            for position in range(1, FLATS_PER_FLOOR + 1):
                flats.append(_flat(chance, len(flats) + 1, building, floor, position))
    return EstatePlan(since, tuple(flats))


def _flat(chance: random.Random, number: int, building: int, floor: int, position: int) -> Flat:
    owner = _resident(chance, number, "o")
    tenant = _resident(chance, number, "t") if chance.random() < _TENANT_SHARE else None
    # The resident who signs in lives in the first flat; he has a vehicle, so that there are stays to look at.
    vehicle = random_vehicle(chance) if chance.random() < _VEHICLE_SHARE or number == 1 else None
    return Flat(
        number, building, floor, position, Decimal(_AREAS[position - 1]), owner, tenant,
        chance.choice(_HOUSEHOLDS), vehicle,
    )  # fmt: skip


def _resident(chance: random.Random, number: int, suffix: str) -> Resident:
    name = chance.choice(_SURNAMES) + chance.choice(_GIVEN)
    phone = f"1{chance.choice('3589')}{chance.randrange(10**9):09}"
    return Resident(name, phone, _id_number(chance), f"resident{number}{suffix}@example.com")


def _id_number(chance: random.Random) -> str:
    """A number with the check digit of GB 11643-1999; region 110000 is no place, so it is nobody's."""
    born = date(1950, 1, 1).toordinal() + chance.randrange(20_000)
    body = f"110000{date.fromordinal(born):%Y%m%d}{chance.randrange(1_000):03}"
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, body, strict=True))
    return body + _ID_CHECK[total % 11]
