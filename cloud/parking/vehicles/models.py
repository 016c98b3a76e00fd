"""What the API of vehicles takes and gives."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.fees.models import VehicleClass
from cloud.parking.plates import PlateText
from cloud.parking.records import (
    Vehicle,
)


class VehicleQuery(ListQuery):
    """Which vehicles are wanted."""

    plate: Annotated[str | None, Field(max_length=64, description="The beginning of a plate.")] = None
    current: Annotated[bool, Field(description="Only those that are not over.")] = False


class VehicleEndIn(Input):
    """The first moment at which a vehicle is no longer that person's; now when left out."""

    at: Instant | None = None


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
