"""What the API of shifts takes and gives."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.metering.exports.table_files import Format
from cloud.parking.fees.models import Amount
from cloud.parking.shifts.records import Shift, ShiftDetail, ShiftFilter, ShiftOpening, ShiftState, Taking

DeskName = Annotated[str, Field(min_length=1, max_length=40, examples=["South gate"])]
Method = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9-]*$", examples=["cash"])]
Note = Annotated[str, Field(max_length=500, examples=["a coin of 1 yuan was short"])]


class ShiftQuery(ListQuery):
    """Which shifts are wanted."""

    desk: DeskName | None = None
    user_id: Id | None = None
    state: ShiftState | None = None
    since: Annotated[Instant, Field(description="Begun then or later.")] | None = None
    until: Annotated[Instant, Field(description="Begun before.")] | None = None

    def wanted(self) -> ShiftFilter:
        """The same as the services know it."""
        return ShiftFilter(self.project_id, self.desk, self.user_id, self.state, self.since, self.until)


class ShiftFileQuery(ShiftQuery):
    """Which shifts, and as what kind of file."""

    project_id: Id
    form: Annotated[Format, Field(alias="format")] = "csv"


class ShiftIn(Input):
    """Where the caller's shift begins."""

    project_id: Id
    desk: DeskName


class CountedIn(Input):
    """How much was counted of one method."""

    method: Method
    amount: Annotated[Amount, Field(examples=["120.00"])]


class HandoverIn(Input):
    """What was counted, cash at least; a difference needs a note."""

    counted: Annotated[list[CountedIn], Field(min_length=1, max_length=20)]
    note: Note = ""


class ConfirmationIn(Input):
    """What the next guard says of what he found."""

    note: Note = ""


class ShiftOut(BaseModel):
    """A shift. `state`: open until handed over, ended until the next guard confirms it."""

    id: int
    project_id: int
    desk: str
    user_id: int
    guard: str
    state: Literal["open", "ended", "confirmed"]
    began_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    note: str
    confirmed_at: datetime | None
    confirmed_name: str | None
    confirmed_note: str

    @classmethod
    def of(cls, shift: Shift) -> "ShiftOut":
        """From our record."""
        return cls(**{name: getattr(shift, name) for name in ShiftOut.model_fields})


class TakingOut(BaseModel):
    """Money of one method: what the system took, what was given back, what was counted.

    `difference` is what was counted less what should be there: below 0 something is missing.
    """

    method: str
    payments: int
    taken: MoneyOut
    returned: MoneyOut
    counted: MoneyOut | None
    difference: MoneyOut | None

    @classmethod
    def of(cls, taking: Taking, currency: str) -> "TakingOut":
        """From our record."""
        return cls(
            method=taking.method,
            payments=taking.payments,
            taken=MoneyOut.of(taking.taken, currency),
            returned=MoneyOut.of(taking.returned, currency),
            counted=None if taking.counted is None else MoneyOut.of(taking.counted, currency),
            difference=None if taking.difference is None else MoneyOut.of(taking.difference, currency),
        )


class ShiftOpeningOut(BaseModel):
    """A barrier opened by hand."""

    command_id: UUID
    lane_name: str
    code: str
    reason: Annotated[str, Field(description="In words; the code again where nothing more was said.")]
    opened_by: str
    opened_at: datetime
    passage_id: UUID | None
    plate: str | None
    pictured: bool

    @classmethod
    def of(cls, opening: ShiftOpening) -> "ShiftOpeningOut":
        """From our record."""
        return cls(**{name: getattr(opening, name) for name in cls.model_fields})


class ShiftDetailOut(ShiftOut):
    """A shift with what happened in it: until now while it is open, up to its end afterwards."""

    entries: int
    exits: int
    incidents: int
    openings: Annotated[dict[str, int], Field(description="Openings by hand of its guard, by reason.")]
    takings: list[TakingOut]

    @classmethod
    def of_detail(cls, found: ShiftDetail) -> "ShiftDetailOut":
        """From our record."""
        return cls(
            **ShiftOut.of(found.shift).model_dump(),
            entries=found.totals.entries,
            exits=found.totals.exits,
            incidents=found.totals.incidents,
            openings=dict(found.totals.openings),
            takings=[TakingOut.of(one, found.shift.currency) for one in found.takings],
        )


class ShiftOpenings(BaseModel):
    """Openings by hand of a shift, the latest first."""

    items: list[ShiftOpeningOut]
