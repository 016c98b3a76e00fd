"""REST: usage by meter, unit, building and project."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.inputs import Day, Id, PageQuery
from cloud.kit.periods import Period
from cloud.metering import service
from cloud.metering.models import QuantityOut
from cloud.metering.records import MAIN_CHANNEL, Medium, Step
from cloud.metering.selection import LONGEST, Bar, Grouping, Quality, Selector, UsageGroup, usage_of
from gateway.contract.quantities import BY_CODE, Quantity

router = APIRouter()


class SelectedUsageQuery(PageQuery):
    """One of project, building, unit or meter; local days [from, to) of the project in steps."""

    project_id: Id | None = None
    building_id: Id | None = None
    unit_id: Id | None = None
    meter_id: Id | None = None
    medium: Medium = "electricity"
    channel: Annotated[str, Field(max_length=64)] | None = None
    from_: Annotated[Day, Field(alias="from", examples=["2026-01-01"])]
    to: Annotated[Day, Field(examples=["2026-02-01"])]
    step: Step = "day"
    group: Grouping = "total"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(one is not None for one in (self.project_id, self.building_id, self.unit_id, self.meter_id)) != 1:
            raise ValueError("expected exactly one of project_id, building_id, unit_id, meter_id")
        return self

    def period(self) -> Period:
        """The same as the services know it. Raises InvalidInput."""
        longest = LONGEST[self.step]
        if not 1 <= (self.to - self.from_).days <= longest:
            raise InvalidInput("bad-period", f"expected 1 to {longest} days for step {self.step}", field="to")
        return Period(self.from_, self.to)


class SelectedBarOut(BaseModel):
    """`quantity` is null where nothing is known, never 0 for it; `complete`: every meter's rows cover the bar.

    `covered_s`: seconds that rows cover, of all meters together; `estimated_s`: those of estimated shape among them.
    """

    start: datetime
    end: datetime
    quantity: str | None = Field(examples=["12.345"])
    quality: Quality
    complete: bool
    covered_s: int = Field(examples=[86_400])
    estimated_s: int = Field(examples=[0])


class UsageGroupOut(BaseModel):
    """Bars of a meter, unit or building; `id` is null for the total."""

    id: int | None
    meters: int
    bars: list[SelectedBarOut]


class SelectedUsageOut(BaseModel):
    """A page of groups."""

    project_id: int
    medium: Medium
    channel: str
    unit: str
    step: Step
    time_zone: str
    items: list[UsageGroupOut]
    next_cursor: str | None


@router.get("/usage")
async def selected_usage(
    scope: Annotated[Scope, allow("usage.read")], query: Annotated[SelectedUsageQuery, Query()]
) -> SelectedUsageOut:
    """Usage of a project, building, unit or meter; a sub-meter is never added to its master."""
    period = query.period()
    selector = await _selector(scope, query)
    project = await estate.get_project(scope.conn, selector.project_id)
    quantity = _channel(query.channel, selector.medium)
    page = await usage_of(
        scope.conn, query.page(), selector, quantity.number, period, query.step, project.zone, query.group
    )
    return SelectedUsageOut(
        project_id=project.id, medium=selector.medium, channel=quantity.code, unit=quantity.display_unit,
        step=query.step, time_zone=project.time_zone, items=[_group(group, quantity) for group in page.items],
        next_cursor=page.next_cursor,
    )  # fmt: skip


async def _selector(scope: Scope, query: SelectedUsageQuery) -> Selector:
    """What the query names, with its project. Raises NotFound."""
    if query.meter_id is not None:
        meter = await service.get_meter(scope.conn, query.meter_id)
        return Selector(meter.project_id, meter.medium, meter_id=meter.id)
    if query.unit_id is not None:
        unit = (await estate.units_by_id(scope.conn, [query.unit_id])).get(query.unit_id)
        if unit is None:
            raise NotFound("no-such-unit", f"there is no unit {query.unit_id}", field="unit_id")
        return Selector(unit.project_id, query.medium, unit_id=unit.id)
    if query.building_id is not None:
        building = await estate.get_building(scope.conn, query.building_id)
        return Selector(building.project_id, query.medium, building_id=building.id)
    assert query.project_id is not None
    return Selector(query.project_id, query.medium)


def _channel(code: str | None, medium: Medium) -> Quantity:
    if code is None:
        return MAIN_CHANNEL[medium]
    if code not in BY_CODE:
        raise InvalidInput("unknown-channel", "expected the code of a channel", field="channel")
    return BY_CODE[code]


def _group(group: UsageGroup, quantity: Quantity) -> UsageGroupOut:
    return UsageGroupOut(id=group.id or None, meters=group.meters, bars=[_bar(bar, quantity) for bar in group.bars])


def _bar(bar: Bar, quantity: Quantity) -> SelectedBarOut:
    shown = None if bar.quantity is None else QuantityOut.of(bar.quantity, quantity).quantity
    return SelectedBarOut(
        start=bar.start, end=bar.end, quantity=shown, quality=bar.quality, complete=bar.complete,
        covered_s=bar.covered_s, estimated_s=bar.estimated_s,
    )  # fmt: skip
