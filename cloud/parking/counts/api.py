"""REST: how full lots are, once and as a stream of server-sent events."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.identity.streams import MEDIA_TYPE, EventStream
from cloud.kit.errors import NotFound
from cloud.kit.inputs import Id, Input
from cloud.kit.routing import rest_router
from cloud.parking.counts.counting import counts
from cloud.parking.counts.hub import CountHub, CountStream
from cloud.parking.counts.shown import LotCountsOut
from cloud.parking.places.service import get_lot
from cloud.parking.snapshots import telling

router = rest_router("parking")

_PERMISSION: Final = "parking.counts"
_next_event: Final = telling("counts", LotCountsOut.of)
_EXAMPLE: Final = (
    "id: 6f3a1c0d9b7e4a5528c1d0ee\nevent: counts\n"
    'data: [{"lot_id": 1, "code": "garage", "capacity": 300, "standing": 180, "held": 2, "free": 118, '
    '"free_other": 108, "classes": [{"vehicle_class": "large", "inside": 0, "standing": 0, "held": 0, "free": 118}]}]'
    "\n\n"
)

Reader = Annotated[Scope, allow(_PERMISSION)]


class CountQuery(Input):
    """The lots of a project, or one of them."""

    project_id: Id
    lot_id: Id | None = None


class CountsOut(BaseModel):
    """Lots as they are at one moment."""

    at: datetime
    items: Annotated[list[LotCountsOut], Field(description="By code.")]


@router.get("/parking-counts")
async def lot_counts(scope: Reader, query: Annotated[CountQuery, Query()]) -> CountsOut:
    """How many vehicles are inside and how many places are left, counted from the stays."""
    await _must_be_here(scope, query)
    at = datetime.now(UTC)
    found = await counts(scope.conn, [query.project_id], at)
    return CountsOut(at=at, items=[LotCountsOut.of(one) for one in found if query.lot_id in (None, one.lot_id)])


@router.get(
    "/live/parking-counts",
    response_class=StreamingResponse,
    responses={200: {"description": "Events.", "content": {MEDIA_TYPE: {"example": _EXAMPLE}}}},
)
async def live_counts(
    request: Request,
    scope: Reader,
    query: Annotated[CountQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> Response:
    """The same as they change, at most once a second; first all, unless Last-Event-ID names exactly that."""
    await _must_be_here(scope, query)
    hub: CountHub = request.app.state.counts

    async def look_again(_: CountStream, now: Scope) -> None:
        await _must_be_here(now, query)

    opened = hub.stream(scope.caller.user_id, query.project_id, query.lot_id, last_event_id or None)
    return EventStream(request, _PERMISSION, opened, _next_event, look_again, hub.rules)


async def _must_be_here(scope: Scope, query: CountQuery) -> None:
    """Raises NotFound when the caller does not see the project or the lot."""
    await estate.get_project(scope.conn, query.project_id)
    if query.lot_id is not None and (await get_lot(scope.conn, query.lot_id)).project_id != query.project_id:
        raise NotFound("no-lot", f"there is no parking lot {query.lot_id}", field="lot_id")
