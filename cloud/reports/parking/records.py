"""What the reports of parking hand out."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

ReportName = Literal["turnover", "occupancy", "revenue", "openings", "unmatched"]
REPORTS: tuple[ReportName, ...] = ("turnover", "occupancy", "revenue", "openings", "unmatched")
TurnoverStep = Literal["day", "hour"]


@dataclass(frozen=True, slots=True)
class TurnoverRow:
    """Stays whose vehicle left on a local day, or in an hour of any day; how long they were, to the second.

    `step` is the day (2026-05-01) or the hour of the day (00 to 23).
    """

    step: str
    stays: int
    mean_s: int
    median_s: int

    @property
    def day(self) -> date:
        """The day; only where steps are days."""
        return date.fromisoformat(self.step)


@dataclass(frozen=True, slots=True)
class OccupancyRow:
    """One hour of the week: vehicles inside on average over the period, and the most at once.

    `weekday` is 1 for Monday to 7. `mean` has one decimal; `percent` is of the spaces, None where there are none.
    """

    weekday: int
    hour: int
    mean: Decimal
    most: int
    percent: Decimal | None


@dataclass(frozen=True, slots=True)
class RevenueRow:
    """Payments of a local day by one method for stays that left by one lane, empty for those inside.

    A payment for stays of several lanes is one in each of their rows, with the part of its amount that is theirs.
    """

    day: date
    lot: str
    lane: str
    method: str
    payments: int
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """Barriers opened by hand by one person for one reason; `confirmed` are those that the barrier confirmed.

    `reason` is in words, the code again where nothing more was said.
    """

    lot: str
    lane: str
    actor: str
    code: str
    reason: str
    openings: int
    confirmed: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class UnmatchedRow:
    """Stays of a local day whose entry or exit nobody saw, by what is missing."""

    day: date
    lot: str
    missing: Literal["entry", "exit", "closed-by-hand"]
    stays: int


Row = TurnoverRow | OccupancyRow | RevenueRow | OpeningRow | UnmatchedRow
