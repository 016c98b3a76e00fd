"""What the API of incidents, plates, tickets and policies takes and gives."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.charging.public_address import Place
from cloud.parking.plates import PlateText, valid_plate
from cloud.parking.stays.corrections import Candidate
from cloud.parking.stays.incident_repository import Incident, IncidentFilter
from cloud.parking.stays.passage_repository import Correction, Opening, PassageRow, Ticket
from cloud.parking.stays.set_aside import told_at
from cloud.parking.stays.set_aside_repository import SetAside

Kind = Literal["second-entry", "exit-without-entry", "misread", "tailgating", "outer-entry-unseen", "inner-exit-unseen"]
State = Literal["open", "seen", "resolved"]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class IncidentQuery(ListQuery):
    """Which incidents are wanted."""

    lot_id: Id | None = None
    kind: Kind | None = None
    state: State | None = None
    plate: PlateText | None = None

    def wanted(self) -> IncidentFilter:
        """The same as the services know it. Raises InvalidInput."""
        plate = None if self.plate is None else valid_plate(self.plate)
        return IncidentFilter(self.project_id, self.lot_id, self.kind, self.state, plate)


class IncidentOut(BaseModel):
    """Something odd about a passage; `other_id` is the passage that it is about."""

    kind: Kind
    passage_id: UUID
    project_id: int
    lot_id: int
    lot_name: str
    lane_id: int
    lane_name: str
    session_id: int | None
    plate: str
    plate_read: str
    direction: Literal["entry", "exit"]
    taken_at: datetime
    offline: bool
    other_id: UUID | None
    other_plate: str | None
    other_taken_at: datetime | None
    other_session_id: int | None
    state: State
    note: str
    handled_by: str | None
    handled_at: datetime | None

    @classmethod
    def of(cls, incident: Incident) -> "IncidentOut":
        """From our record."""
        return cls.model_validate({name: getattr(incident, name) for name in cls.model_fields})


class HandlingIn(Input):
    """What was done about an incident; a resolved one needs a note."""

    kind: Annotated[Kind, Field(examples=["tailgating"])]
    state: Annotated[Literal["seen", "resolved"], Field(examples=["resolved"])]
    note: Annotated[str, Field(max_length=500, examples=["the second car is that of the caretaker"])] = ""


class CorrectionIn(Input):
    """The plate that the vehicle really has."""

    plate: PlateText
    reason: Annotated[Reason, Field(examples=["dirt on the plate, seen on the picture"])]


class UndoingIn(Input):
    """Why a correction is taken back."""

    reason: Annotated[Reason, Field(examples=["it was another vehicle"])]


class CorrectionOut(BaseModel):
    """What somebody said a passage's plate is."""

    id: int
    passage_id: UUID
    plate: str
    reason: str
    made_by: str
    made_at: datetime
    undone_by: str | None
    undone_reason: str | None
    undone_at: datetime | None

    @classmethod
    def of(cls, correction: Correction) -> "CorrectionOut":
        """From our record."""
        return cls(**{name: getattr(correction, name) for name in cls.model_fields})


class CandidateOut(BaseModel):
    """A vehicle inside whose plate may have been misread."""

    session_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    looks_alike: bool

    @classmethod
    def of(cls, candidate: Candidate) -> "CandidateOut":
        """From our record."""
        session = candidate.session
        return cls(
            session_id=session.id,
            plate=session.plate,
            vehicle_class=session.vehicle_class,
            entered_at=session.entered_at,
            looks_alike=candidate.looks_alike,
        )


class PassageDetailOut(BaseModel):
    """A passage: `plate` is what it is matched by, `plate_told` the gateway's, `plate_read` as the camera read it.

    `stay_plate` is that of its stay: another one where the plate was misread.
    """

    id: UUID
    lane_id: int
    lane_name: str
    session_id: int | None
    plate: str
    plate_told: str
    plate_read: str
    vehicle_class: str
    direction: Literal["entry", "exit"]
    taken_at: datetime
    outcome: Literal["arrived", "passed", "turned-back", "refused"]
    offline: bool
    decision: str
    incident: str | None
    follows: UUID | None
    stay_plate: str | None
    corrections: list[CorrectionOut]
    candidates: list[CandidateOut]

    @classmethod
    def of(cls, passage: PassageRow, said: list[Correction], candidates: list[Candidate]) -> "PassageDetailOut":
        """From our records."""
        own = {name: getattr(passage, name) for name in cls.model_fields if name not in ("corrections", "candidates")}
        return cls(
            **own,
            corrections=[CorrectionOut.of(one) for one in said],
            candidates=[CandidateOut.of(one) for one in candidates],
        )


class TicketIn(Input):
    """Whose ticket it is to be: the passage, or the vehicle without a plate that stands at the lane."""

    passage_id: UUID | None = None
    lane_id: Id | None = None


class TicketOut(BaseModel):
    """A ticket: `code` is printed as text, `picture` beside it; both are null where the project has no public page."""

    code: str
    passage_id: UUID
    issued_at: datetime
    pay_at: Annotated[str | None, Field(description="Page where one pays for the stay without signing in.")]
    picture: Annotated[str | None, Field(description="QR code of that page: a PNG in a data: address.")]

    @classmethod
    def of(cls, ticket: Ticket, place: Place | None) -> "TicketOut":
        """From our records."""
        return cls(
            code=ticket.code,
            passage_id=ticket.passage_id,
            issued_at=ticket.issued_at,
            pay_at=None if place is None else place.address,
            picture=None if place is None else place.picture,
        )


class ShowingIn(Input):
    """A ticket shown at an exit: by the vehicle of a passage, or by the one without a plate at the lane."""

    project_id: Id
    code: Annotated[str, Field(min_length=1, max_length=32, examples=["K7PX-34RA"])]
    passage_id: UUID | None = None
    lane_id: Id | None = None


class ShowingOut(BaseModel):
    """The stay that the ticket is for."""

    session_id: int


class SetAsideOut(BaseModel):
    """A passage that waits for somebody: of a device that is no lane, or with a time that cannot be (`clock`)."""

    id: UUID
    project_id: int
    gateway_code: str
    device_code: str
    reason: Literal["unknown-lane", "clock"]
    plate: str
    direction: str
    told_at: datetime
    received_at: datetime

    @classmethod
    def of(cls, one: SetAside) -> "SetAsideOut":
        """From our record."""
        return cls.model_validate(
            {
                "id": one.id,
                "project_id": one.project_id,
                "gateway_code": one.gateway_code,
                "device_code": one.passage.device,
                "reason": one.reason,
                "plate": one.passage.plate,
                "direction": one.passage.direction,
                "told_at": told_at(one),
                "received_at": one.received_at,
            }
        )


class TimeRepairIn(Input):
    """When the passage really was."""

    taken_at: Instant
    reason: Annotated[Reason, Field(examples=["the camera's clock was in 1970 after a power cut"])]


class TimeRepairOut(BaseModel):
    """Whether the passage was taken in; it waits on when its device is no lane."""

    stored: bool


class OpeningQuery(ListQuery):
    """Openings of a time, which a shift is."""

    since: Instant | None = None
    until: Instant | None = None
    lane_id: Id | None = None


class OpeningRowOut(BaseModel):
    """A barrier opened by hand, and the vehicle that went through, if one was seen."""

    id: int
    lane_id: int
    lane_name: str
    opened_by: str
    reason: str
    opened_at: datetime
    passage_id: UUID | None
    plate: str | None

    @classmethod
    def of(cls, opening: Opening) -> "OpeningRowOut":
        """From our record."""
        return cls(**{name: getattr(opening, name) for name in cls.model_fields})
