"""REST: readings by meter, unit, building and project, and files of readings and usage."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from cloud.identity.guards import Scope, allow
from cloud.kit.inputs import Listed, PageQuery
from cloud.kit.routing import rest_router
from cloud.metering.edits.service import Action
from cloud.metering.exports.answer import ReadingFileQuery, UsageFileQuery, readings_file, usage_file
from cloud.metering.exports.making import READING_DAYS
from cloud.metering.exports.table_files import MEDIA_TYPES
from cloud.metering.models import QuantityOut
from cloud.metering.readings.place_query import PlaceQuery, place_of
from cloud.metering.readings.placed import Order, PlacedReading, list_placed, wanted_of
from gateway.contract.quantities import Quantity

router = rest_router("metering")

_FILE: Final[Mapping[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file.",
        "content": {
            kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()
        },
    }
}


class PlacedReadingQuery(PlaceQuery, PageQuery):
    """Readings of one register of every meter of a place."""

    order: Order = "newest"


class EditInForceOut(BaseModel):
    """What staff decided about a reading; `value` is the one that counts instead, of `set` alone."""

    action: Action
    value: QuantityOut | None
    version: int


class PlacedReadingOut(BaseModel):
    """One reading of a register, before the multiplier. `flags`: what is known against it, in words."""

    meter_id: int
    meter: str = Field(examples=["E-101"])
    channel: str = Field(examples=["energy_import_total"])
    taken_at: datetime
    value: QuantityOut
    flags: list[str] = Field(examples=[["estimated-clock", "manual"]])
    edit: EditInForceOut | None

    @classmethod
    def of(cls, one: PlacedReading, channel: Quantity) -> Self:
        """From the record."""
        edit = None
        if one.action is not None and one.version is not None:
            value = None if one.edited is None else QuantityOut.of(one.edited, channel)
            edit = EditInForceOut(action=one.action, value=value, version=one.version)
        return cls(
            meter_id=one.meter_id, meter=one.meter, channel=channel.code, taken_at=one.taken_at,
            value=QuantityOut.of(one.value, channel), flags=one.flags, edit=edit,
        )  # fmt: skip


@router.get("/readings")
async def list_readings(
    scope: Annotated[Scope, allow("readings.read")], query: Annotated[PlacedReadingQuery, Query()]
) -> Listed[PlacedReadingOut]:
    """Readings of a project, building, unit or meter by time; sub-meters and their masters alike."""
    period = query.days(READING_DAYS, "readings")
    place = await place_of(scope.conn, query)
    start, end = period.instants(place.project.zone)
    wanted = await wanted_of(scope.conn, place.selector, place.channel.number, start, end)
    page = await list_placed(scope.conn, query.page(key_length=2), wanted, query.order)
    items = [PlacedReadingOut.of(one, place.channel) for one in page.items]
    return Listed(items=items, next_cursor=page.next_cursor)


@router.get("/readings/export", response_class=Response, responses=dict(_FILE))
async def export_readings(
    request: Request,
    scope: Annotated[Scope, allow("readings.read")],
    query: Annotated[ReadingFileQuery, Query()],
) -> Response:
    """All readings of a place as a file, by meter and time."""
    return await readings_file(request, scope, query)


@router.get("/usage/export", response_class=Response, responses=dict(_FILE))
async def export_usage(
    request: Request, scope: Annotated[Scope, allow("usage.read")], query: Annotated[UsageFileQuery, Query()]
) -> Response:
    """Usage of a place as a file, by group and time."""
    return await usage_file(request, scope, query)
