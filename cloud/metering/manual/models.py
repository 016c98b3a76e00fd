"""What the API of typed readings, of readings that residents hand in, and of their photos takes and gives."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.metering.manual import photos
from cloud.metering.manual import service as manual
from cloud.metering.manual.service import Confirmation
from cloud.metering.manual.submissions import State, Submission, SubmissionFilter
from cloud.metering.models import QuantityOut
from gateway.contract.quantities import BY_NUMBER

Typed = Annotated[str, Field(min_length=1, max_length=28, examples=["1234.5"])]
PhotoIn = Annotated[
    Base64Bytes,
    Field(max_length=photos.MAX_BYTES, description=f"JPEG, PNG or WebP in base64, at most {photos.MAX_BYTES} bytes."),
]
Confirm = Annotated[
    bool, Field(description="Stores the value although it does not fit its neighbours; needs a reason.")
]
Why = Annotated[str, Field(max_length=500, examples=["read twice, see the photo"])]


class _TypedIn(Input):
    value: Typed
    unit: Annotated[str, Field(max_length=8, examples=["kWh"], description="Empty: the one people use.")] = ""
    taken_at: Instant
    channel: Annotated[str, Field(max_length=64, examples=["energy_import_total"])] | None = None
    note: Annotated[str, Field(max_length=500)] = ""
    photo: PhotoIn | None = None


class ManualReadingIn(_TypedIn):
    """A register value as somebody read it off the meter, before the multiplier."""

    confirm: Confirm = False
    reason: Why = ""

    def confirmed(self, actor: str) -> Confirmation | None:
        """Somebody's word for a doubtful value. Raises InvalidInput without a reason."""
        return manual.confirmation(self.reason, actor) if self.confirm else None


class ManualReadingOut(BaseModel):
    """The reading that is stored now."""

    meter_id: int
    channel: str
    taken_at: datetime
    value: QuantityOut


class SubmissionIn(_TypedIn):
    """A register value as a resident read it off his meter, before the multiplier."""


class SubmissionQuery(ListQuery):
    """Which submissions are wanted."""

    meter_id: Id | None = None
    state: State | None = None

    def wanted(self) -> SubmissionFilter:
        """The same as the service knows it."""
        return SubmissionFilter(self.project_id, self.meter_id, self.state)


class SubmissionOut(BaseModel):
    """A reading that was handed in. `accepted` is what was stored for it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    meter_id: int
    channel: str
    taken_at: datetime
    value: QuantityOut
    note: str
    photo_id: int | None
    state: State
    accepted: QuantityOut | None
    reason: str
    decided_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, found: Submission) -> Self:
        """From the record. Who decided stays with the staff."""
        quantity = BY_NUMBER[found.channel]
        same = {name: getattr(found, name) for name in cls.model_fields if name not in ("channel", "value", "accepted")}
        accepted = None if found.accepted is None else QuantityOut.of(found.accepted, quantity)
        return cls(**same, channel=quantity.code, value=QuantityOut.of(found.value, quantity), accepted=accepted)


class SubmissionDecisionIn(Input):
    """What is decided: `value`, where the reading is stored with another value than was handed in."""

    decision: Literal["accept", "reject"]
    value: Typed | None = None
    reason: Why = ""
    confirm: Confirm = False
