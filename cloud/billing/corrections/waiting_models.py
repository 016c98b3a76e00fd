"""What the API of what waits to be rated again takes and gives."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud.billing.corrections.waiting import WaitingFilter, WaitingKind, WaitingState
from cloud.kit.inputs import Id, Input, ListQuery


class WaitingQuery(ListQuery):
    """What is wanted."""

    kind: WaitingKind | None = None
    state: Annotated[WaitingState | None, Field(description="`new`: not tried yet.")] = None
    search: Annotated[
        str | None, Field(min_length=1, max_length=100, description="Part of the meter's code or of the unit.")
    ] = None

    def wanted(self) -> WaitingFilter:
        """The same as the services know it."""
        return WaitingFilter(self.project_id, self.kind, self.state, self.search)


class WaitingOut(BaseModel):
    """A meter whose usage, or a unit whose persons, became known otherwise after their days were charged."""

    model_config = ConfigDict(from_attributes=True)

    project_id: int
    kind: WaitingKind
    from_day: Annotated[date, Field(description="The first day that is otherwise.")]
    since: Annotated[datetime, Field(description="When that became known first.")]
    times: Annotated[int, Field(description="How often something came since then.")]
    code: Annotated[
        str | None, Field(description="Why it could not be rated again; null: not tried yet.", examples=["draft-waits"])
    ]
    detail: str
    meter_id: int | None
    meter: str | None
    unit_id: int | None
    unit: str


class TryAgainIn(Input):
    """All that waits in a project."""

    project_id: Id
