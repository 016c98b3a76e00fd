"""What the API of the reports of parking takes and gives."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input
from cloud.reports.parking.records import RevenueRow, TurnoverStep


class ReportQuery(Input):
    """Local days of a project, of all its lots or of one."""

    project_id: Id
    first: Annotated[Day, Field(alias="from")]
    last: Annotated[Day, Field(alias="to", description="The first day that is not wanted.", examples=["2026-02-01"])]
    lot_id: Id | None = None


class TurnoverQuery(ReportQuery):
    """Turnover by local day, or by hour of the day."""

    step: TurnoverStep = "day"


class ReportFileQuery(TurnoverQuery):
    """The same as a file; `step` is for the turnover."""

    form: Annotated[Literal["csv", "xlsx"], Field(alias="format")] = "csv"


class _Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class TurnoverOut(_Row):
    """Stays that ended in a step and how long they were."""

    step: Annotated[str, Field(examples=["2026-01-01"])]
    stays: int
    mean_s: int
    median_s: int


class OccupancyOut(_Row):
    """One hour of the week: 1 is Monday. `percent` is null where the lot has no spaces."""

    weekday: int
    hour: int
    mean: Annotated[str, Field(examples=["41.5"])]
    most: int
    percent: Annotated[str | None, Field(examples=["83.0"])]


class RevenueOut(_Row):
    """Payments of a day by one method for stays that left by one lane; without a lane they did not leave yet."""

    day: date
    lot: str
    lane: str
    method: str
    payments: int
    amount: MoneyOut

    @classmethod
    def of(cls, row: RevenueRow) -> "RevenueOut":
        """From our record."""
        return cls(
            day=row.day,
            lot=row.lot,
            lane=row.lane,
            method=row.method,
            payments=row.payments,
            amount=MoneyOut.of(row.amount, row.currency),
        )


class OpeningsOut(_Row):
    """Barriers opened by hand by one person for one reason."""

    lot: str
    lane: str
    actor: str
    code: str
    reason: Annotated[str, Field(description="In words; the code again where nothing more was said.")]
    openings: int
    confirmed: Annotated[int, Field(description="Those that the barrier confirmed.")]
    last_at: datetime


class UnmatchedOut(_Row):
    """Stays that nobody can match, by what is missing."""

    day: date
    lot: str
    missing: Literal["entry", "exit", "closed-by-hand"]
    stays: int


class TurnoverReport(BaseModel):
    """Turnover of a period; steps without stays are absent."""

    items: list[TurnoverOut]


class OccupancyReport(BaseModel):
    """Occupancy by hour of the week."""

    items: list[OccupancyOut]


class RevenueReport(BaseModel):
    """Revenue by day, lane and method."""

    items: list[RevenueOut]


class OpeningsReport(BaseModel):
    """Openings by hand by lane, person and reason, the most frequent first."""

    items: list[OpeningsOut]


class UnmatchedReport(BaseModel):
    """Unmatched stays by day and lot."""

    items: list[UnmatchedOut]
