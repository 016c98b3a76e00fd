"""What the API of visitor passes and of vehicles that residents ask for takes and gives."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.fees.models import VehicleClass
from cloud.parking.plates import PlateText
from cloud.parking.records import Vehicle
from cloud.parking.visitors.records import RequestState, VehicleRequest, VisitorPass
from cloud.parking.visitors.service import WantedPass


class PassQuery(ListQuery):
    """Which passes are wanted."""

    plate: PlateText | None = None
    holding: Annotated[bool, Field(description="Only those that can still be used.")] = False


class PassIn(Input):
    """A plate that may come in for a time. `lot_ids` empty: at all lots of the project."""

    project_id: Id
    plate: PlateText
    since: Instant
    until: Instant
    free: Annotated[bool, Field(description="The stay costs nothing in that time.")] = True
    lot_ids: Annotated[list[Id], Field(max_length=50)] = Field(default_factory=list)
    note: Annotated[str, Field(max_length=200)] = ""

    def wanted(self) -> WantedPass:
        """The same as the services know it."""
        return WantedPass(self.plate, self.since, self.until, self.free, tuple(self.lot_ids), self.note)


class PassOut(BaseModel):
    """A visitor pass. `person_id`: the resident who gave it; null: staff did."""

    id: int
    project_id: int
    person_id: int | None
    plate: str
    since: datetime
    until: datetime
    free: bool
    note: str
    lot_ids: list[int]
    created_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, one: VisitorPass) -> "PassOut":
        """From our record."""
        names = cls.model_fields.keys() - {"lot_ids"}
        return cls(lot_ids=list(one.lots), **{name: getattr(one, name) for name in names})


class VehicleRequestQuery(ListQuery):
    """Which requests are wanted."""

    state: RequestState | None = None


class VehicleRequestIn(Input):
    """A vehicle that a resident says is his."""

    project_id: Id
    plate: PlateText
    vehicle_class: VehicleClass = "small"


class VehicleDecisionIn(Input):
    """What staff say to it; a refusal needs a reason."""

    approve: bool
    note: Annotated[str, Field(max_length=1000)] = ""


class VehicleRequestOut(BaseModel):
    """A vehicle that was asked for; `id` null where it was registered at once."""

    id: int | None
    project_id: int
    person_id: int
    plate: str
    vehicle_class: str
    state: RequestState
    note: str
    asked_at: datetime
    decided_at: datetime | None

    @classmethod
    def of(cls, one: VehicleRequest | Vehicle) -> "VehicleRequestOut":
        """From our records."""
        if isinstance(one, VehicleRequest):
            return cls(**{name: getattr(one, name) for name in cls.model_fields})
        same = {name: getattr(one, name) for name in ("project_id", "person_id", "plate", "vehicle_class")}
        return cls(id=None, state="approved", note="", asked_at=one.valid_from, decided_at=one.valid_from, **same)
