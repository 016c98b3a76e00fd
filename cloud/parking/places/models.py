"""What the API of lots and lanes takes and gives."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.inputs import Id, Input, ListQuery
from cloud.parking.fees.models import VehicleClass
from cloud.parking.records import (
    Lane,
    Lot,
    LotClass,
    LotOccupancy,
)
from cloud.parking.stays.matching import Direction

Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["b1"])]
"""As gateways name it; it never changes."""
Name = Annotated[str, Field(min_length=1, max_length=200, examples=["Basement 1"])]
Spaces = Annotated[int, Field(ge=0, le=1_000_000, examples=[250])]


class LotClassIn(Input):
    """What a lot has for one class of vehicles: spaces kept for it alone, and how many find room at most."""

    vehicle_class: Annotated[VehicleClass, Field(examples=["large"])]
    kept: Spaces = 0
    at_most: Spaces | None = None

    def record(self) -> LotClass:
        """As the service takes it."""
        return LotClass(self.vehicle_class, self.kept, self.at_most)


class LotIn(Input):
    """A new lot; `parent_id` is the lot around it."""

    project_id: Id
    code: Code
    name: Name
    capacity: Spaces
    parent_id: Id | None = None


class LotPatch(Input):
    """Changes of a lot; what is absent stays, and null is no lot around."""

    name: Name | None = None
    capacity: Spaces | None = None
    parent_id: Id | None = None
    open: Annotated[bool | None, Field(description="Whether vehicles may enter.")] = None
    classes: Annotated[
        list[LotClassIn] | None, Field(max_length=50, description="All of them; a class that is not named has none.")
    ] = None

    def changed(self, lot: Lot) -> Lot:
        """The lot as it is to be."""
        said = self.model_dump(exclude_unset=True, exclude={"classes"})
        return replace(lot, **{name: value for name, value in said.items() if value is not None or name == "parent_id"})

    def wanted_classes(self) -> list[LotClass] | None:
        """What is to be for classes of vehicles, None for what there is."""
        return None if self.classes is None else [one.record() for one in self.classes]


class LaneIn(Input):
    """A new lane: a barrier, of one lot, in one direction."""

    lot_id: Id
    code: Code
    name: Name
    direction: Direction
    device_id: Annotated[Id, Field(description="A device of kind barrier that no other lane has.")]
    replaces_id: Annotated[
        Id | None,
        Field(
            description="A lane of the lot in this direction whose place it takes: that one is out of use then, and "
            "permits and cards that name it name the new one."
        ),
    ] = None


class LanePatch(Input):
    """Another name of a lane."""

    name: Name


class LaneQuery(ListQuery):
    """Which lanes are wanted."""

    lot_id: Id | None = None
    retired: Annotated[bool, Field(description="Also those that are no longer in use.")] = False


class LotClassOut(BaseModel):
    """What a lot has for one class of vehicles."""

    vehicle_class: str
    kept: int
    at_most: int | None


class LotOut(BaseModel):
    """A parking lot. `inside` and `free` are counted as `/parking-counts` does; residents see neither."""

    id: int
    project_id: int
    code: str
    name: str
    parent_id: int | None
    capacity: int
    open: bool
    classes: list[LotClassOut]
    inside: int | None
    free: int | None

    @classmethod
    def of(cls, lot: Lot, counted: LotOccupancy | None, classes: Sequence[LotClass] = ()) -> "LotOut":
        """From our records."""
        return cls(
            id=lot.id,
            project_id=lot.project_id,
            code=lot.code,
            name=lot.name,
            parent_id=lot.parent_id,
            capacity=lot.capacity,
            open=lot.open,
            classes=[
                LotClassOut(vehicle_class=one.vehicle_class, kept=one.kept, at_most=one.at_most) for one in classes
            ],
            inside=counted.inside if counted else None,
            free=counted.free if counted else None,
        )


class LaneOut(BaseModel):
    """A lane of a lot: one barrier with its camera. `replaces_id`: the lane whose place it took."""

    id: int
    project_id: int
    lot_id: int
    code: str
    name: str
    direction: Direction
    device_id: int
    retired_at: datetime | None
    replaces_id: int | None

    @classmethod
    def of(cls, lane: Lane) -> "LaneOut":
        """From our record."""
        return cls(**{name: getattr(lane, name) for name in cls.model_fields})
