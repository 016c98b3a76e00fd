"""What reservations hand out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["booked", "arrived", "done", "no-show", "cancelled"]


@dataclass(frozen=True, slots=True)
class ReservationRule:
    """How many places of a lot may be reserved by vehicles of a class (empty: of all without a rule), and how.

    `hold_minutes`: so long before the beginning nobody else gets the place. `early_minutes`: so much earlier the
    vehicle may come. `no_show_minutes`: so late it may come, None: until the end. `late_minutes`: so much longer it may
    stay before the place is somebody else's. `of_person`: what a resident may have at once, 0: only staff reserve.
    """

    lot_id: int
    vehicle_class: str
    places: int
    hold_minutes: int = 15
    early_minutes: int = 15
    no_show_minutes: int | None = None
    late_minutes: int = 15
    free_cancel_minutes: int = 60
    longest_hours: int = 24
    ahead_days: int = 30
    of_person: int = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """A place that somebody asks for, from `since` to before `until`."""

    lot_id: int
    plate: str
    vehicle_class: str
    since: datetime
    until: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """What follows from a rule: the place is taken, the vehicle may come, and cancelling is in time until."""

    taken_from: datetime
    taken_until: datetime
    arrive_from: datetime
    arrive_until: datetime
    free_until: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """A place in a lot for a vehicle. `arrive_from` to before `arrive_until` it may come; `session_id` is its stay."""

    id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    vehicle_class: str
    since: datetime
    until: datetime
    arrive_from: datetime
    arrive_until: datetime
    free_until: datetime
    state: State
    session_id: int | None
    person_id: int | None
    note: str
    booked_by: str
    created_at: datetime
    cancelled_at: datetime | None
    cancelled_by: str | None
    cancel_reason: str | None

    @property
    def cancelled_in_time(self) -> bool | None:
        """Whether it was cancelled while that was free; None when it was not cancelled."""
        return None if self.cancelled_at is None else self.cancelled_at <= self.free_until


@dataclass(frozen=True, slots=True)
class ReservationFilter:
    """Which reservations are wanted; None: any."""

    project_id: int | None = None
    lot_id: int | None = None
    state: State | None = None
    plate: str | None = None
