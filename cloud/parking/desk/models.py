"""What the API of the guard's desk takes and gives."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.inputs import Id, Input
from cloud.parking.desk.repository import LaneNow

ReasonCode = Literal[
    "emergency", "barrier-fault", "plate-unread", "resident", "paid-elsewhere", "delivery", "turning-round", "other"
]


class OpeningIn(Input):
    """Why a barrier is opened by hand; `other` needs a reason in words."""

    code: ReasonCode = "other"
    reason: Annotated[str, Field(max_length=500, examples=["ambulance"])] = ""


class OpeningOut(BaseModel):
    """The order to open."""

    command_id: UUID


class LanesQuery(Input):
    """The lanes of a project."""

    project_id: Id


class LastVehicleOut(BaseModel):
    """The vehicle that a lane saw last: `plate` as it counts, `plate_read` as the camera read it."""

    passage_id: UUID
    session_id: int | None
    plate: str
    plate_read: str
    vehicle_class: str
    taken_at: datetime
    outcome: str
    outcome_at: datetime
    decision: str
    offline: bool
    incident: str | None
    pictured: bool


class LaneNowOut(BaseModel):
    """A lane in use; `last` is null when no vehicle came within 12 hours."""

    lane_id: int
    project_id: int
    lane_name: str
    direction: str
    lot_name: str
    last: LastVehicleOut | None

    @classmethod
    def of(cls, lane: LaneNow) -> "LaneNowOut":
        """From our record."""
        last = lane.last
        shown = None
        if last is not None:
            shown = LastVehicleOut(**{name: getattr(last, name) for name in LastVehicleOut.model_fields})
        return cls(
            lane_id=lane.lane_id,
            project_id=lane.project_id,
            lane_name=lane.lane_name,
            direction=lane.direction,
            lot_name=lane.lot_name,
            last=shown,
        )


class LanesNow(BaseModel):
    """All lanes at one moment."""

    at: datetime
    items: list[LaneNowOut]
