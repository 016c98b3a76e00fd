"""What the API of lots and lanes takes and gives."""

from typing import Literal

from pydantic import BaseModel

from cloud.kit.inputs import Id, ListQuery
from cloud.parking.records import (
    Lane,
    Lot,
    LotOccupancy,
)


class LaneQuery(ListQuery):
    """Which lanes are wanted."""

    lot_id: Id | None = None


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
