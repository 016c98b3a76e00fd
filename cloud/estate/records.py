"""What the estate consists of, as the services of this and higher floors pass it around."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

UnitKind = Literal["residential", "shop", "office", "industrial", "common"]
OccupancyRole = Literal["owner", "tenant", "family"]


@dataclass(frozen=True, slots=True)
class Validity:
    """Local dates from `start` up to, not including, `end`; None: open."""

    start: date
    end: date | None = None

    def contains(self, day: date) -> bool:
        """Whether it holds on `day`."""
        return self.start <= day and (self.end is None or day < self.end)

    def __str__(self) -> str:
        return f"{self.start.isoformat()}/{self.end.isoformat() if self.end else '..'}"


@dataclass(frozen=True)
class Project:
    """A residential compound, mall or park: the border of all data."""

    id: int
    code: str
    name: str
    time_zone: str
    currency: str
    address: str = ""

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone in which its days begin."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Building:
    """A building of a project."""

    id: int
    project_id: int
    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A flat, shop, office or common space. `area` is the billed floor area in square metres."""

    id: int
    project_id: int
    building_id: int
    building_name: str
    code: str
    kind: UnitKind
    floor: int | None
    area: Decimal | None

    @property
    def label(self) -> str:
        """How people name it."""
        return f"{self.building_name} {self.code}"


@dataclass(frozen=True, slots=True)
class Person:
    """A person or company. Phone and ID number are masked unless the reader may see them."""

    id: int
    project_id: int
    name: str
    phone: str | None
    id_number: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Who lives or works in a unit, and when."""

    id: int
    project_id: int
    unit_id: int
    person_id: int
    person_name: str
    role: OccupancyRole
    valid: Validity


@dataclass(frozen=True, slots=True)
class Household:
    """How many persons are filed for a unit, and when."""

    id: int
    project_id: int
    unit_id: int
    persons: int
    valid: Validity


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays. `unit_label` and `building_name` are empty for an account without a unit."""

    id: int
    project_id: int
    number: str
    unit_id: int | None
    person_id: int
    person_name: str
    unit_label: str
    building_name: str
    valid: Validity
