"""What the API of the lists takes and gives."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.lists.records import Entry, EntryFilter, NewEntry
from cloud.parking.lists.records import Listed as OnList
from cloud.parking.plates import PlateText, valid_plate

Why = Annotated[str, Field(min_length=1, max_length=500, examples=["Blocked the fire lane"])]


class EntryIn(Input):
    """A plate on a list; without a lot it holds in all of the project, without an end for ever."""

    project_id: Id
    listing: OnList
    plate: PlateText
    reason: Why
    lot_id: Id | None = None
    valid_from: Annotated[Instant | None, Field(description="Now when left out.")] = None
    valid_until: Annotated[Instant | None, Field(description="The first moment at which it holds no more.")] = None

    def new(self, now: datetime) -> NewEntry:
        """As the service takes it. Raises InvalidInput for a bad plate."""
        plate = valid_plate(self.plate)
        return NewEntry(
            self.project_id, self.listing, plate, self.reason.strip(), self.lot_id, self.valid_from or now,
            self.valid_until,
        )  # fmt: skip


class EndIn(Input):
    """Why a plate is taken off its list."""

    reason: Why


class EntryQuery(ListQuery):
    """Which entries are wanted."""

    lot_id: Id | None = None
    listing: OnList | None = None
    plate: Annotated[str | None, Field(max_length=64, description="The beginning of a plate.")] = None
    current: Annotated[bool, Field(description="Only those that hold now or later.")] = False

    def wanted(self) -> EntryFilter:
        """As the service takes it."""
        current_at = datetime.now(UTC) if self.current else None
        return EntryFilter(self.project_id, self.lot_id, self.listing, self.plate, current_at)


class EntryOut(BaseModel):
    """A plate on a list, and who put it there and why."""

    id: int
    project_id: int
    lot_id: int | None
    listing: OnList
    plate: str
    valid_from: datetime
    valid_until: datetime | None
    state: Literal["coming", "in-force", "over", "ended"]
    reason: str
    added_by: str
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str | None

    @classmethod
    def of(cls, entry: Entry, now: datetime) -> "EntryOut":
        """From our record."""
        said = {name: getattr(entry, name) for name in cls.model_fields if name != "state"}
        return cls(**said, state=entry.state(now))
