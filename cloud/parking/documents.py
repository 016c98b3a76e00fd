"""What the API of parking takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.models import Amount, VehicleClass
from cloud.parking.plates import valid_plate
from cloud.parking.presentation import step_as_json
from cloud.parking.records import (
    Lane,
    Lot,
    LotOccupancy,
    Paid,
    Passage,
    Quote,
    Session,
    SessionDetail,
    SessionFilter,
    SessionPayment,
    Vehicle,
)

PlateText = Annotated[str, Field(min_length=1, max_length=64, examples=["京A·12345"])]
SessionState = Literal["open", "closed", "unmatched"]


class MoneyIn(Input):
    """An amount as a string, and its currency."""

    amount: Annotated[Amount, Field(examples=["8.00"])]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])]


class LaneQuery(ListQuery):
    """Which lanes are wanted."""

    lot_id: Id | None = None


class VehicleQuery(ListQuery):
    """Which vehicles are wanted."""

    plate: PlateText | None = None


class SessionQuery(ListQuery):
    """Which stays are wanted."""

    lot_id: Id | None = None
    state: SessionState | None = None
    plate: PlateText | None = None
    began_from: Annotated[Instant, Field(description="Entered then or later.")] | None = None
    began_before: Annotated[Instant, Field(description="Entered before.")] | None = None

    def wanted(self) -> SessionFilter:
        """The same as the services know it. Raises InvalidInput."""
        plate = None if self.plate is None else valid_plate(self.plate)
        return SessionFilter(self.project_id, self.lot_id, self.state, plate, self.began_from, self.began_before)


class LotOut(BaseModel):
    """A parking lot. `inside` and `free` are counted from the sessions; residents see neither."""

    id: int
    project_id: int
    code: str
    name: str
    parent_id: int | None
    capacity: int
    inside: int | None
    free: int | None

    @classmethod
    def of(cls, lot: Lot, counted: LotOccupancy | None) -> "LotOut":
        """From our records."""
        inside = counted.inside if counted else None
        return cls(
            id=lot.id,
            project_id=lot.project_id,
            code=lot.code,
            name=lot.name,
            parent_id=lot.parent_id,
            capacity=lot.capacity,
            inside=inside,
            free=None if inside is None else max(0, lot.capacity - inside),
        )


class LaneOut(BaseModel):
    """A lane of a lot: one barrier with its camera."""

    id: int
    project_id: int
    lot_id: int
    code: str
    name: str
    direction: Literal["entry", "exit"]
    device_id: int

    @classmethod
    def of(cls, lane: Lane) -> "LaneOut":
        """From our record."""
        return cls(
            id=lane.id,
            project_id=lane.project_id,
            lot_id=lane.lot_id,
            code=lane.code,
            name=lane.name,
            direction=lane.direction,
            device_id=lane.device_id,
        )


class StepOut(BaseModel):
    """One step of a price. The amounts of all steps add up to the fee; a cap's is negative."""

    kind: Literal["free", "first-block", "units", "cap-24-hours", "cap-calendar-day"]
    start: datetime
    end: datetime
    units: int
    unit_minutes: int
    price: str
    amount: str


class SessionOut(BaseModel):
    """A stay. `fee` is known once it is closed; until then ask for its quote."""

    id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None
    state: SessionState
    fee: MoneyOut | None
    paid: MoneyOut

    @classmethod
    def of(cls, session: Session) -> "SessionOut":
        """From our record."""
        return cls(**_session_fields(session))


class PassageOut(BaseModel):
    """A recognised vehicle at a lane."""

    id: UUID
    lane_id: int
    lane_name: str | None
    plate: str
    plate_read: str
    direction: Literal["entry", "exit"]
    taken_at: datetime
    outcome: Literal["arrived", "passed", "turned-back", "refused"]
    offline: bool
    decision: str
    incident: str | None

    @classmethod
    def of(cls, passage: Passage) -> "PassageOut":
        """From our record."""
        return cls(**{name: getattr(passage, name) for name in cls.model_fields})


class SessionPaymentOut(BaseModel):
    """A payment for the stay, which was priced until `paid_until`."""

    payment_id: int
    amount: MoneyOut
    paid_until: datetime

    @classmethod
    def of(cls, payment: SessionPayment, currency: str) -> "SessionPaymentOut":
        """From our record."""
        money = MoneyOut.of(payment.amount, currency)
        return cls(payment_id=payment.payment_id, amount=money, paid_until=payment.paid_until)


class SessionDetailOut(SessionOut):
    """A stay with the steps of its fee, its passages and its payments."""

    fee_until: datetime | None
    steps: list[StepOut]
    passages: list[PassageOut]
    payments: list[SessionPaymentOut]

    @classmethod
    def of_detail(cls, detail: SessionDetail) -> "SessionDetailOut":
        """From our records."""
        session = detail.session
        return cls(
            **_session_fields(session),
            fee_until=session.fee_until,
            steps=[StepOut.model_validate(step) for step in session.fee_steps],
            passages=[PassageOut.of(passage) for passage in detail.passages],
            payments=[SessionPaymentOut.of(payment, session.currency) for payment in detail.payments],
        )


class QuoteOut(BaseModel):
    """What a stay costs when it ends at `until`: `due` is `fee` less `paid`."""

    session_id: int
    until: datetime
    fee: MoneyOut
    paid: MoneyOut
    due: MoneyOut
    leave_by: datetime | None
    steps: list[StepOut]

    @classmethod
    def of(cls, quote: Quote) -> "QuoteOut":
        """From our record."""
        return cls(
            session_id=quote.session_id,
            until=quote.until,
            fee=MoneyOut.of(quote.fee, quote.currency),
            paid=MoneyOut.of(quote.paid, quote.currency),
            due=MoneyOut.of(quote.due, quote.currency),
            leave_by=quote.leave_by,
            steps=[StepOut.model_validate(step_as_json(step)) for step in quote.steps],
        )


class ParkingPaymentIn(Input):
    """A payment of exactly what the session's quote says is due."""

    session_id: Id
    amount: MoneyIn
    method: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9-]*$", examples=["cash"])]
    reference: Annotated[str, Field(max_length=100, description="Number at the payment provider.")] = ""


class ParkingPaymentOut(BaseModel):
    """A payment taken. `command_id`: the order that lets the waiting vehicle out."""

    id: int
    session_id: int
    amount: MoneyOut
    paid_until: datetime
    command_id: UUID | None

    @classmethod
    def of(cls, paid: Paid) -> "ParkingPaymentOut":
        """From our record."""
        return cls(
            id=paid.payment_id,
            session_id=paid.session_id,
            amount=MoneyOut.of(paid.amount, paid.currency),
            paid_until=paid.paid_until,
            command_id=paid.command_id,
        )


class OpeningIn(Input):
    """Why a barrier is opened by hand."""

    reason: Annotated[str, Field(min_length=1, max_length=500, examples=["ambulance"])]


class ClosingIn(Input):
    """Why a stay is ended by hand."""

    reason: Annotated[str, Field(min_length=1, max_length=500, examples=["towed away"])]


class OpeningOut(BaseModel):
    """The order to open."""

    command_id: UUID


class VehicleIn(Input):
    """A person's vehicle."""

    project_id: Id
    plate: PlateText
    person_id: Id
    vehicle_class: VehicleClass = "small"
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class VehicleOut(BaseModel):
    """A plate and the person whose it is."""

    id: int
    project_id: int
    plate: str
    vehicle_class: str
    person_id: int
    valid_from: datetime
    valid_until: datetime | None

    @classmethod
    def of(cls, vehicle: Vehicle) -> "VehicleOut":
        """From our record."""
        return cls(**{name: getattr(vehicle, name) for name in cls.model_fields})


def _session_fields(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "project_id": session.project_id,
        "lot_id": session.lot_id,
        "lot_name": session.lot_name,
        "plate": session.plate,
        "vehicle_class": session.vehicle_class,
        "entered_at": session.entered_at,
        "left_at": session.left_at,
        "state": session.state,
        "fee": None if session.fee is None else MoneyOut.of(session.fee, session.currency),
        "paid": MoneyOut.of(session.paid, session.currency),
    }
