"""REST: usage by meter, unit, building and project."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from cloud.identity.guards import Scope, allow
from cloud.kit.inputs import PageQuery
from cloud.kit.periods import Period
from cloud.kit.routing import rest_router
from cloud.metering.consumption.selection import LONGEST, Bar, Grouping, Quality, UsageGroup, usage_of
from cloud.metering.models import QuantityOut
from cloud.metering.readings.place_query import PlaceQuery, place_of
from cloud.metering.records import Medium, Step
from gateway.contract.quantities import Quantity

router = rest_router("metering")


class SelectedUsageQuery(PlaceQuery, PageQuery):
    """Usage of a place in steps."""

    step: Step = "day"
    group: Grouping = "total"

    def period(self) -> Period:
        """The same as the services know it. Raises InvalidInput."""
        return self.days(LONGEST[self.step], f"step {self.step}")


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
    place = await place_of(scope.conn, query)
    selector, project, quantity = place.selector, place.project, place.channel
    page = await usage_of(
        scope.conn, query.page(), selector, quantity.number, period, query.step, project.zone, query.group
    )
    return SelectedUsageOut(
        project_id=project.id, medium=selector.medium, channel=quantity.code, unit=quantity.display_unit,
        step=query.step, time_zone=project.time_zone, items=[_group(group, quantity) for group in page.items],
        next_cursor=page.next_cursor,
    )  # fmt: skip


def _group(group: UsageGroup, quantity: Quantity) -> UsageGroupOut:
    return UsageGroupOut(id=group.id or None, meters=group.meters, bars=[_bar(bar, quantity) for bar in group.bars])


def _bar(bar: Bar, quantity: Quantity) -> SelectedBarOut:
    shown = None if bar.quantity is None else QuantityOut.of(bar.quantity, quantity).quantity
    return SelectedBarOut(
        start=bar.start, end=bar.end, quantity=shown, quality=bar.quality, complete=bar.complete,
        covered_s=bar.covered_s, estimated_s=bar.estimated_s,
    )  # fmt: skip
