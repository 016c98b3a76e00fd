"""What shifts hand out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

ShiftState = Literal["open", "ended", "confirmed"]


@dataclass(frozen=True, slots=True)
class Shift:
    """One person at one desk. It is open until handed over, and ended until the next guard confirms what he found."""

    id: int
    project_id: int
    desk: str
    user_id: int
    guard: str
    currency: str
    began_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    note: str
    confirmed_at: datetime | None
    confirmed_name: str | None
    confirmed_note: str

    @property
    def state(self) -> ShiftState:
        """How far it is."""
        if self.confirmed_at is not None:
            return "confirmed"
        return "open" if self.ended_at is None else "ended"


@dataclass(frozen=True, slots=True)
class Taking:
    """What was taken and given back in a shift by one method; `counted` is None until it is handed over."""

    method: str
    payments: int
    taken: Decimal
    returned: Decimal = Decimal(0)
    counted: Decimal | None = None

    @property
    def expected(self) -> Decimal:
        """What should be there; below 0 when more was given back than taken."""
        return self.taken - self.returned

    @property
    def difference(self) -> Decimal | None:
        """Counted less expected: below 0 something is missing."""
        return None if self.counted is None else self.counted - self.expected


@dataclass(frozen=True, slots=True)
class Totals:
    """What happened in the project while the shift lasted; openings by hand are the guard's own, by reason."""

    entries: int
    exits: int
    incidents: int
    openings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShiftDetail:
    """A shift with its totals and takings: those of now while it is open, those of its end afterwards."""

    shift: Shift
    totals: Totals
    takings: tuple[Taking, ...]


@dataclass(frozen=True, slots=True)
class ShiftOpening:
    """A barrier that the guard of a shift opened by hand; `pictured`: a picture of the vehicle is kept."""

    command_id: UUID
    lane_name: str
    code: str
    reason: str
    opened_by: str
    opened_at: datetime
    passage_id: UUID | None
    plate: str | None
    pictured: bool


@dataclass(frozen=True, slots=True)
class ShiftFilter:
    """Which shifts are wanted; None means any. `since` and `until` bound the beginning."""

    project_id: int | None = None
    desk: str | None = None
    user_id: int | None = None
    state: ShiftState | None = None
    since: datetime | None = None
    until: datetime | None = None
