"""What the API of stays takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.fees.caps import StepKind
from cloud.parking.plates import PlateText, valid_plate
from cloud.parking.records import (
    Passage,
    Session,
    SessionDetail,
    SessionFilter,
    SessionPayment,
)

SessionState = Literal["open", "closed", "unmatched"]


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


class StepOut(BaseModel):
    """One step of a price. The amounts of all steps add up to the fee; those of caps and coupons are negative."""

    kind: StepKind
    start: datetime
    end: datetime
    units: int
    unit_minutes: int
    price: str
    amount: str
    label: Annotated[
        str, Field(description="Code of the coupon; or what covers the time, by names with spaces between.")
    ] = ""


class SessionOut(BaseModel):
    """A stay. `fee` is known once it is closed; until then ask for its quote."""

    id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    vehicle_class: str
    entered_at: Annotated[datetime | None, Field(description="With `entry_seen` false: when it stood at the exit.")]
    entry_seen: bool
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


class ClosingIn(Input):
    """Why a stay is ended by hand."""

    reason: Annotated[str, Field(min_length=1, max_length=500, examples=["towed away"])]


def _session_fields(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "project_id": session.project_id,
        "lot_id": session.lot_id,
        "lot_name": session.lot_name,
        "plate": session.plate,
        "vehicle_class": session.vehicle_class,
        "entered_at": session.entered_at,
        "entry_seen": session.entry_seen,
        "left_at": session.left_at,
        "state": session.state,
        "fee": None if session.fee is None else MoneyOut.of(session.fee, session.currency),
        "paid": MoneyOut.of(session.paid, session.currency),
    }
