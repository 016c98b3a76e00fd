"""What the API of reservations takes and gives."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.plates import PlateText, valid_plate
from cloud.parking.reservations.records import Reservation, ReservationFilter, ReservationRule, State, Wanted

VehicleClass = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$", examples=["small"])]
_Minutes = Annotated[int, Field(ge=0, le=1440)]


class ReservationQuery(ListQuery):
    """Which reservations are wanted."""

    lot_id: Id | None = None
    state: State | None = None
    plate: PlateText | None = None

    def wanted(self) -> ReservationFilter:
        """The same as the services know it. Raises InvalidInput."""
        plate = None if self.plate is None else valid_plate(self.plate)
        return ReservationFilter(self.project_id, self.lot_id, self.state, plate)


class ReservationIn(Input):
    """A place for a vehicle; residents reserve for vehicles that are registered as theirs."""

    lot_id: Id
    plate: PlateText
    vehicle_class: VehicleClass | None = Field(None, description="Without it that of the registered vehicle, or small.")
    since: Instant
    until: Instant
    note: Annotated[str, Field(max_length=500)] = ""

    def wanted(self, vehicle_class: str) -> Wanted:
        """The same as the services know it."""
        return Wanted(self.lot_id, self.plate, vehicle_class, self.since, self.until, self.note)


class CancellationIn(Input):
    """Why a reservation is given up."""

    reason: Annotated[str, Field(max_length=500, examples=["meeting moved"])] = ""


class ReservationOut(BaseModel):
    """A place that is reserved, and what became of it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    vehicle_class: str
    since: datetime
    until: datetime
    arrive_from: Annotated[datetime, Field(description="From then on the vehicle may come.")]
    arrive_until: Annotated[datetime, Field(description="A vehicle that has not come by then has lost its place.")]
    free_until: Annotated[datetime, Field(description="Cancelled by then it is cancelled in time.")]
    state: State
    session_id: Annotated[int | None, Field(description="The stay that it was for.")]
    person_id: int | None
    note: str
    created_at: datetime
    cancelled_at: datetime | None
    cancelled_in_time: bool | None

    @classmethod
    def of(cls, reservation: Reservation) -> "ReservationOut":
        """From our record."""
        return cls.model_validate(reservation)


class ReservationRuleIn(Input):
    """How many places of a lot may be reserved, and how. An empty class: for all classes without a rule."""

    vehicle_class: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,31})?$")] = ""
    places: Annotated[int, Field(ge=0, le=1_000_000, examples=[10])]
    hold_minutes: _Minutes = 15
    early_minutes: _Minutes = 15
    no_show_minutes: Annotated[int, Field(ge=1, le=10_080)] | None = None
    late_minutes: _Minutes = 15
    free_cancel_minutes: Annotated[int, Field(ge=0, le=10_080)] = 60
    longest_hours: Annotated[int, Field(ge=1, le=2_160)] = 24
    ahead_days: Annotated[int, Field(ge=1, le=400)] = 30
    of_person: Annotated[int, Field(ge=0, le=1_000, description="0: only staff reserve.")] = 2

    def rule(self, lot_id: int) -> ReservationRule:
        """The same as the services know it."""
        return ReservationRule(lot_id=lot_id, **self.model_dump())


class ReservationRuleOut(ReservationRuleIn):
    """A rule of a lot."""

    model_config = ConfigDict(from_attributes=True)

    lot_id: int


class ReservationRulesOut(BaseModel):
    """The rules of a lot, by class."""

    items: list[ReservationRuleOut]
