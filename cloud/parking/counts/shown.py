"""Counts as the API, the stream and displays show them: the same words everywhere."""

from pydantic import BaseModel

from cloud.parking.counts.counting import LotCounts


class ClassCountOut(BaseModel):
    """Vehicles of one class; `free` is how many more of them find a place."""

    vehicle_class: str
    inside: int
    standing: int
    held: int
    free: int


class LotCountsOut(BaseModel):
    """How full a lot is: `free` = `capacity` - `standing` - `held`, at least 0.

    `inside` are open stays; `standing` those that are not in a lot inside this one, where they are counted as standing;
    `held` are places kept for vehicles that are awaited. `free_other` is what is left for a vehicle of a class that is
    not in `classes`: none of the places that are kept for a class. Each of these figures counts common places: they do
    not add up to `free`.
    """

    lot_id: int
    project_id: int
    code: str
    name: str
    parent_id: int | None
    capacity: int
    inside: int
    standing: int
    held: int
    free: int
    free_other: int
    classes: list[ClassCountOut]

    @classmethod
    def of(cls, counts: LotCounts) -> "LotCountsOut":
        """From our record."""
        return cls(
            lot_id=counts.lot_id,
            project_id=counts.project_id,
            code=counts.code,
            name=counts.name,
            parent_id=counts.parent_id,
            capacity=counts.capacity,
            inside=counts.inside,
            standing=counts.standing,
            held=counts.held,
            free=counts.free,
            free_other=counts.free_for(),
            classes=[
                ClassCountOut(
                    vehicle_class=one.vehicle_class,
                    inside=one.inside,
                    standing=one.standing,
                    held=one.held,
                    free=counts.free_for(one.vehicle_class),
                )
                for one in counts.classes
            ],
        )
