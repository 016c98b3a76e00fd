"""What the API of spaces takes and gives."""

from dataclasses import replace
from datetime import date
from typing import Annotated

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.parking.fees.models import VehicleClass
from cloud.parking.spaces.importing import Outcome
from cloud.parking.spaces.records import (
    MAX_NUMBER,
    MAX_PLACE,
    NewHolder,
    NewSpace,
    Role,
    Space,
    SpaceFilter,
    SpaceState,
)
from cloud.parking.spaces.table import MAX_BYTES

Number = Annotated[str, Field(min_length=1, max_length=MAX_NUMBER, examples=["B1-001"])]
Place = Annotated[str, Field(max_length=MAX_PLACE, examples=["B1, zone A"])]
Class = Annotated[VehicleClass, Field(examples=["small"])]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class _Like(Input):
    """What several spaces may share."""

    lot_id: Id
    place: Place = ""
    vehicle_class: Class = "small"
    state: SpaceState = "free"

    def new(self, number: str) -> NewSpace:
        """As the service takes it."""
        return NewSpace(number, self.place.strip(), self.vehicle_class, self.state)


class SpaceIn(_Like):
    """A new space."""

    number: Number


class SpaceRangeIn(_Like):
    """Spaces from the first number to the last; they differ in their last digits."""

    first: Number
    last: Annotated[Number, Field(examples=["B1-250"])]


class SpacePatch(Input):
    """Changes of a space; what is absent stays."""

    number: Number | None = None
    place: Place | None = None
    vehicle_class: Class | None = None
    state: SpaceState | None = None
    note: Annotated[str, Field(max_length=500)] | None = None

    def changed(self, space: Space) -> Space:
        """The space as it is to be."""
        said = {name: value for name, value in self.model_dump().items() if value is not None and name != "state"}
        return replace(space, **said, stated=self.state or space.stated)


class SpaceQuery(ListQuery):
    """Which spaces are wanted; `number` and `place` may be the beginning, person and unit are those of today."""

    lot_id: Id | None = None
    state: SpaceState | None = None
    number: Annotated[str, Field(max_length=MAX_NUMBER)] | None = None
    place: Place | None = None
    vehicle_class: VehicleClass | None = None
    person_id: Id | None = None
    unit_id: Id | None = None

    def wanted(self) -> SpaceFilter:
        """As the service takes it."""
        return SpaceFilter(**self.model_dump(exclude={"limit", "cursor"}))


class HolderIn(Input):
    """Whose a space is, from the day `since` up to, not including, `until`."""

    role: Role
    person_id: Id | None = None
    unit_id: Id | None = None
    since: Day
    until: Day | None = None

    def new(self) -> NewHolder:
        """As the service takes it."""
        return NewHolder(**self.model_dump())


class HolderEndIn(Input):
    """The first day on which the space is no longer his."""

    until: Day


class SpaceOut(_Out):
    """A numbered place of a lot. `stated` is what staff said, `state` what holds today."""

    id: int
    project_id: int
    lot_id: int
    number: str
    place: str
    vehicle_class: str
    stated: SpaceState
    state: SpaceState
    note: str


class HolderOut(_Out):
    """Whose a space is or was."""

    id: int
    project_id: int
    space_id: int
    role: Role
    person_id: int | None
    unit_id: int | None
    since: date
    until: date | None
    added_by: str


class SpaceRangeOut(BaseModel):
    """The spaces that were made."""

    numbers: list[str]


class RowAnswer(_Out):
    """What became of a row of the file; `line` counts from 1, the header included."""

    line: int
    number: str
    outcome: Outcome
    code: str
    detail: str


class SpaceImportOut(BaseModel):
    """Every row of the file with its answer."""

    created: int
    owner_added: int
    exists: int
    refused: int
    rows: list[RowAnswer]


async def content_of(file: UploadFile) -> bytes:
    """The content of a file up to just beyond the limit, which the service refuses."""
    return await file.read(MAX_BYTES + 1)
