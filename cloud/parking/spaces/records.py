"""What the spaces hand out."""

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, get_args

SpaceState = Literal["free", "sold", "rented", "reserved", "out-of-service"]
STATES: Final[tuple[SpaceState, ...]] = get_args(SpaceState)
Role = Literal["owner", "tenant"]
MAX_NUMBER: Final = 32
MAX_PLACE: Final = 100


@dataclass(frozen=True, slots=True)
class NewSpace:
    """A space that is to be."""

    number: str
    place: str = ""
    vehicle_class: str = "small"
    state: SpaceState = "free"


@dataclass(frozen=True, slots=True)
class Space:
    """A numbered place of a lot.

    `stated` is what staff said of it; `state` what holds on the day asked for: whoever is its tenant or owner makes a
    space rented or sold, unless it is out of service.
    """

    id: int
    project_id: int
    lot_id: int
    lot_name: str
    number: str
    place: str
    vehicle_class: str
    stated: SpaceState
    state: SpaceState
    note: str


@dataclass(frozen=True, slots=True)
class SpaceFilter:
    """Which spaces are wanted; None means any. `number` and `place` begin so; `person_id` and `unit_id` hold it now."""

    project_id: int | None = None
    lot_id: int | None = None
    state: SpaceState | None = None
    number: str | None = None
    place: str | None = None
    vehicle_class: str | None = None
    person_id: int | None = None
    unit_id: int | None = None


@dataclass(frozen=True, slots=True)
class NewHolder:
    """Whose a space is to be from `since` up to, not including, `until`: a person's, a unit's, or both."""

    role: Role
    person_id: int | None
    unit_id: int | None
    since: date
    until: date | None


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a space is or was; None for what the reader may not see."""

    id: int
    project_id: int
    space_id: int
    role: Role
    person_id: int | None
    unit_id: int | None
    since: date
    until: date | None
    added_by: str
