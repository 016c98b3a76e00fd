"""What the API of losses, leaks and the health of meters takes and gives. Quantities are decimal strings."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.errors import InvalidInput
from cloud.kit.inputs import Day, Id, Input, Listed
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import Period, previous_month
from cloud.metering.models import QuantityOut
from cloud.metering.records import MAIN_CHANNEL, Medium
from cloud.metering.set_aside_repository import SetAside, Work
from cloud.metering.supervision.leaks import Suspect
from cloud.metering.supervision.losses import Finding, Loss
from cloud.metering.supervision.meter_health import HealthFilter, Trouble, estimated_share
from cloud.metering.supervision.meter_health_repository import HealthTotals, MeterHealth
from gateway.contract.quantities import Quantity

_LONGEST_DAYS = 400
_WATER = MAIN_CHANNEL["water"]


class PeriodQuery(Input):
    """Local days [from, to)."""

    from_: Annotated[Day, Field(alias="from", examples=["2026-01-01"])]
    to: Annotated[Day, Field(examples=["2026-02-01"])]

    def period(self) -> Period:
        """The same as the services know it. Raises InvalidInput."""
        if not 1 <= (self.to - self.from_).days <= _LONGEST_DAYS:
            raise InvalidInput("bad-period", f"expected 1 to {_LONGEST_DAYS} days", field="to")
        return Period(self.from_, self.to)


class LossQuery(Input):
    """Masters of which project and medium, over local days [from, to); the last whole month unless both are given."""

    project_id: Id | None = None
    medium: Medium | None = None
    from_: Annotated[Day | None, Field(alias="from", examples=["2026-01-01"])] = None
    to: Annotated[Day | None, Field(examples=["2026-02-01"])] = None

    def media(self) -> list[Medium]:
        """Those that are wanted."""
        return list(MAIN_CHANNEL) if self.medium is None else [self.medium]

    def period(self, today: date) -> Period:
        """The same as the services know it. Raises InvalidInput."""
        if self.from_ is None or self.to is None:
            return previous_month(today)
        return PeriodQuery(**{"from": self.from_, "to": self.to}).period()


class LossOut(BaseModel):
    """A master meter against its direct sub-meters. `percent` of the master is null where it counted nothing."""

    meter_id: int
    code: str
    parent_id: int | None
    level: int
    master: QuantityOut
    sub_meters: QuantityOut
    loss: QuantityOut
    percent: Annotated[str | None, Field(examples=["4.25"])]
    finding: Finding
    count: Annotated[int, Field(description="How many direct sub-meters there are.")]
    incomplete: Annotated[int, Field(description="How many of these meters lack readings.")]
    completeness: Annotated[str, Field(examples=["99.87"], description="Percent of the time for which usage is known.")]
    estimated: QuantityOut

    @classmethod
    def of(cls, loss: Loss, channel: Quantity) -> Self:
        """From the record."""
        one = loss.balance
        return cls(
            meter_id=one.meter_id, code=one.code, parent_id=one.parent_id, level=loss.level,
            master=QuantityOut.of(one.master, channel), sub_meters=QuantityOut.of(one.subs, channel),
            loss=QuantityOut.of(loss.quantity, channel), percent=hundredths(loss.quantity, one.master),
            finding=loss.finding, count=one.sub_meters, incomplete=one.incomplete,
            completeness=hundredths(one.covered_s, one.expected_s) or "100.00",
            estimated=QuantityOut.of(one.estimated, channel),
        )  # fmt: skip


class LossMonth(BaseModel):
    """A month of a master's trend; null before it had sub-meters."""

    month: date
    loss: LossOut | None


class ProjectQuery(Input):
    """Of which project, and how many rows."""

    project_id: Id | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50


class SuspectOut(BaseModel):
    """A water meter that flowed in every measured hour of the last nights."""

    meter_id: int
    code: str
    unit_id: int | None
    night_flow: Annotated[QuantityOut, Field(description="The smallest hourly flow.")]
    nights: Annotated[int, Field(description="How many of the last 7 nights are measured.")]
    streak_h: Annotated[int, Field(description="Hours of flow without a still one.")]

    @classmethod
    def of(cls, suspect: Suspect) -> Self:
        """From the record."""
        one = suspect.meter
        flow = QuantityOut.of(one.flow, _WATER)
        return cls(
            meter_id=one.meter_id, code=one.code, unit_id=one.unit_id, nights=one.nights, streak_h=suspect.streak.hours,
            night_flow=flow,
        )  # fmt: skip


class NightOut(BaseModel):
    """The smallest hourly flow of a night; null where an hour of it is not measured."""

    night: date
    flow: QuantityOut | None

    @classmethod
    def of(cls, night: date, flow: int | None) -> Self:
        """From the record."""
        return cls(night=night, flow=None if flow is None else QuantityOut.of(flow, _WATER))


class NightsOut(BaseModel):
    """The last 30 nights of a water meter, the oldest first."""

    meter_id: int
    streak_h: int
    items: list[NightOut]


class HealthQuery(ProjectQuery):
    """Which meters are wanted."""

    medium: Medium | None = None
    only: Trouble | None = None
    cursor: Annotated[str | None, Field(max_length=200)] = None

    def page(self) -> PageRequest:
        """Which page. Raises InvalidInput."""
        return page_request(self.limit, self.cursor)

    def wanted(self, project_ids: Sequence[int]) -> HealthFilter:
        """The same as the services know it."""
        return HealthFilter(tuple(project_ids), self.medium, self.only)


class SetAsideOut(BaseModel):
    """Why a meter cannot be worked on: it is tried again after 1, 2, 4 … minutes, at most an hour."""

    model_config = ConfigDict(from_attributes=True)

    work: Annotated[Work, Field(description="`derive`: no usage comes of its readings. `settle`: no rule judges it.")]
    since: datetime
    attempts: int
    next_at: datetime
    reason: Annotated[str, Field(examples=["ZeroDivisionError: division by zero"])]


class SetAsideMeterOut(BaseModel):
    """What cannot be done with a meter, if anything."""

    meter_id: int
    set_aside: list[SetAsideOut]

    @classmethod
    def of(cls, meter_id: int, found: Sequence[SetAside]) -> Self:
        """From the records."""
        return cls(meter_id=meter_id, set_aside=[SetAsideOut.model_validate(one) for one in found])


class HealthOut(BaseModel):
    """A meter as its readings of the last 30 days show it."""

    meter_id: int
    code: str
    medium: Medium
    unit_id: int | None
    last_seen: datetime | None
    interval_s: int
    silent: bool
    gaps: int
    estimated_percent: str
    rollovers: int
    refused_readings: int
    ran_backward: bool
    open_exceptions: int
    battery: QuantityOut | None
    verification_due: date | None
    due: bool
    set_aside: Annotated[list[SetAsideOut], Field(description="What cannot be done with it, and is tried again.")]

    @classmethod
    def of(cls, row: MeterHealth, aside: Sequence[SetAside]) -> Self:
        """From the record, and what is set aside of it."""
        volts = None if row.battery_mv is None else QuantityOut(quantity=thousandths(row.battery_mv), unit="V")
        return cls(
            meter_id=row.id, code=row.code, medium=row.medium, unit_id=row.unit_id, last_seen=row.seen_at,
            interval_s=row.interval_s, silent=row.silent, gaps=row.gap_count,
            estimated_percent=hundredths(*estimated_share(row)) or "0.00", rollovers=row.rollovers,
            refused_readings=row.refused_count, ran_backward=row.rollback, open_exceptions=row.open_count,
            battery=volts, verification_due=row.verification_due, due=row.due,
            set_aside=[SetAsideOut.model_validate(one) for one in aside],
        )  # fmt: skip


class HealthTotalsOut(BaseModel):
    """How many meters there are, and how many each filter finds."""

    meters: int
    silent: int
    gaps: int
    estimates: int
    rollback: int
    due: int
    set_aside: int

    @classmethod
    def of(cls, totals: HealthTotals) -> Self:
        """From the record."""
        return cls(**{name: getattr(totals, name) for name in cls.model_fields})


class HealthPage(Listed[HealthOut]):
    """A page of meters, and the totals of the project."""

    totals: HealthTotalsOut


def hundredths(part: int, whole: int) -> str | None:
    """`part` of `whole` in percent with two decimals, halves up; None when there is no whole."""
    if not whole:
        return None
    number = (20_000 * abs(part) + whole) // (2 * whole)
    return f"{'-' if part < 0 and number else ''}{number // 100}.{number % 100:02d}"


def thousandths(value: int) -> str:
    """An integer in thousandths as a decimal."""
    return f"{value // 1000}.{value % 1000:03d}"
