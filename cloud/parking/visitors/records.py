"""What visitors and residents are handed out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

RequestState = Literal["asked", "approved", "rejected"]


@dataclass(frozen=True, slots=True)
class VisitorPass:
    """A plate that may come in from `since` to before `until` at some lots; `free`: the stay costs nothing then.

    `person_id`: the resident who gave it, None for staff.
    """

    id: int
    project_id: int
    person_id: int | None
    plate: str
    since: datetime
    until: datetime
    free: bool
    note: str
    lots: tuple[int, ...]
    created_at: datetime
    revoked_at: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether it may still be used."""
        return self.revoked_at is None and now < self.until


@dataclass(frozen=True, slots=True)
class PassTime:
    """A time in which a stay of a plate in a lot costs nothing."""

    pass_id: int
    lot_id: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class VehicleRequest:
    """A vehicle that a resident says is his, and what staff said to it."""

    id: int
    project_id: int
    person_id: int
    plate: str
    vehicle_class: str
    state: RequestState
    note: str
    asked_at: datetime
    decided_at: datetime | None
