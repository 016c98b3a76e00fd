"""REST: usage of days beside that of other days, and which meters used most."""

from datetime import UTC, date, datetime
from typing import Annotated, Self

from fastapi import Query
from pydantic import BaseModel, Field

from cloud.identity.guards import Scope, allow
from cloud.kit.inputs import Listed, PageQuery
from cloud.kit.periods import local_day
from cloud.kit.routing import rest_router
from cloud.metering import service
from cloud.metering.consumption import comparison
from cloud.metering.consumption.comparison import RANK_KEY_LENGTH, Change, Total
from cloud.metering.consumption.selection import Quality
from cloud.metering.consumption.windows import LONGEST_DAYS, counterparts, window_of
from cloud.metering.models import QuantityOut
from cloud.metering.readings.place_query import PlaceQuery, place_of
from cloud.metering.supervision.models import hundredths
from gateway.contract.quantities import Quantity

router = rest_router("metering")

ReadingUsage = Annotated[Scope, allow("usage.read")]


class TotalOut(BaseModel):
    """Usage of local days [from, to); `quantity` is null where nothing is known."""

    from_: date = Field(serialization_alias="from")
    to: date
    quantity: str | None = Field(examples=["412.500"])
    quality: Quality
    complete: bool
    estimated_percent: str | None = Field(
        description="Of the time that is known, with two decimals.", examples=["1.25"]
    )

    @classmethod
    def of(cls, total: Total, quantity: Quantity) -> Self:
        """From the record."""
        bar = total.bar
        return cls(
            from_=total.period.start,
            to=total.period.end,
            quantity=None if bar.quantity is None else QuantityOut.of(bar.quantity, quantity).quantity,
            quality=bar.quality,
            complete=bar.complete,
            estimated_percent=hundredths(bar.estimated_s, bar.covered_s),
        )


class ChangeOut(TotalOut):
    """Other days, and how usage changed since them; null where one of both is not known."""

    change: str | None = Field(examples=["-12.250"])
    change_percent: str | None = Field(description="Of the other days', with two decimals.", examples=["-2.88"])

    @classmethod
    def since(cls, change: Change, quantity: Quantity) -> Self:
        """From the record."""
        difference = change.difference
        known = TotalOut.of(change.earlier, quantity)
        return cls(
            **{name: getattr(known, name) for name in TotalOut.model_fields},
            change=None if difference is None else QuantityOut.of(difference, quantity).quantity,
            change_percent=change_percent(change),
        )


class ComparisonOut(BaseModel):
    """The days asked for that are over, beside others; null when none of them is over."""

    channel: str
    unit: str
    time_zone: str
    meters: int
    now: TotalOut | None
    before: ChangeOut | None
    last_year: ChangeOut | None


class RankingQuery(PlaceQuery, PageQuery):
    """Meters of a place by what they used."""


class RankedOut(BaseModel):
    """What one meter used in the days asked for."""

    meter_id: int
    meter: str
    unit_id: int | None
    quantity: str = Field(examples=["412.500"])
    quality: Quality
    complete: bool


def change_percent(change: Change) -> str | None:
    """By how much of the earlier days usage changed, in percent with two decimals; None where it had none."""
    whole = change.earlier.bar.quantity
    return None if change.difference is None or whole is None or whole <= 0 else hundredths(change.difference, whole)


@router.get("/usage/comparison")
async def usage_comparison(scope: ReadingUsage, query: Annotated[PlaceQuery, Query()]) -> ComparisonOut:
    """The days that are over, beside the ones before them and those of the year before; whole months with whole months.

    Days that are not over are left out, and as many of the others.
    """
    place = await place_of(scope.conn, query)
    shown = window_of(query.days(LONGEST_DAYS, "a comparison"))
    zone, channel = place.project.zone, place.channel
    days = counterparts(shown, local_day(datetime.now(UTC), zone))
    found = None
    if days is not None:
        found = await comparison.compare(scope.conn, place.selector, channel.number, days, zone)
    return ComparisonOut(
        channel=channel.code,
        unit=channel.display_unit,
        time_zone=place.project.time_zone,
        meters=0 if found is None else found.now.meters,
        now=None if found is None else TotalOut.of(found.now, channel),
        before=None if found is None else ChangeOut.since(found.before, channel),
        last_year=None if found is None or found.last_year is None else ChangeOut.since(found.last_year, channel),
    )


@router.get("/usage/ranking")
async def usage_ranking(scope: ReadingUsage, query: Annotated[RankingQuery, Query()]) -> Listed[RankedOut]:
    """Meters of the place that used anything in the days, what used most first; sub-meters beside their masters."""
    place = await place_of(scope.conn, query)
    period = query.days(LONGEST_DAYS, "a ranking")
    found = await comparison.ranking(
        scope.conn, query.page(RANK_KEY_LENGTH), place.selector, place.channel.number, period, place.project.zone
    )
    meters = await service.meters_by_id(scope.conn, (one.meter_id for one in found.items))
    items = []
    for one in found.items:
        assert one.bar.quantity is not None
        items.append(
            RankedOut(
                meter_id=one.meter_id,
                meter=meters[one.meter_id].code,
                unit_id=meters[one.meter_id].unit_id,
                quantity=QuantityOut.of(one.bar.quantity, place.channel).quantity,
                quality=one.bar.quality,
                complete=one.bar.complete,
            )
        )
    return Listed(items=items, next_cursor=found.next_cursor)
