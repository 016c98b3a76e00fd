"""What the API of moves in and out takes and gives."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.estate.occupancies.moves import MoveFilter, Show
from cloud.estate.records import OccupancyRole
from cloud.kit.inputs import Day, Id, ListQuery


class MoveQuery(ListQuery):
    """Which moves are wanted; `show` as the page of moves has it."""

    building_id: Id | None = None
    first: Annotated[Day | None, Field(alias="from")] = None
    last: Annotated[Day | None, Field(alias="to", description="The first day that is not wanted.")] = None
    show: Annotated[
        Show | None,
        Field(
            description="`living`: who lives there without an end; `account-open`: who left and whose account goes on; "
            "`account-ended`: who lives there though his account has ended."
        ),
    ] = None

    def wanted(self) -> MoveFilter:
        """The same as the services know it."""
        return MoveFilter(self.project_id, self.building_id, self.first, self.last, self.show)


class MoveOut(BaseModel):
    """Somebody moved in or out: `day` is his first or his last one, `id` that of his occupancy.

    `open_account_id` and `open_account` (its number): his account for the unit goes on after he left.
    """

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    kind: Literal["in", "out"]
    day: date
    unit_id: int
    unit_label: str
    person_id: int
    person_name: str
    role: OccupancyRole
    stays: Annotated[bool, Field(description="No end is entered.")]
    open_account_id: int | None
    open_account: str | None
