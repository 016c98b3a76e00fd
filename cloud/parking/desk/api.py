"""REST: lanes as they are now, once and as a stream of server-sent events; barriers opened by hand."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Header, Query, Request
from starlette.responses import Response, StreamingResponse

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.identity.streams import MEDIA_TYPE, EventStream
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id
from cloud.kit.routing import rest_router
from cloud.parking.desk.hub import DeskHub, DeskStream
from cloud.parking.desk.models import LaneNowOut, LanesNow, LanesQuery, OpeningIn, OpeningOut
from cloud.parking.desk.openings import open_lane
from cloud.parking.desk.repository import lanes_now
from cloud.parking.desk.watching import SHOWN_AT_MOST
from cloud.parking.snapshots import telling

router = rest_router("parking")

_PERMISSION: Final = "parking.operate"
_next_event: Final = telling("lanes", LaneNowOut.of)
_EXAMPLE: Final = (
    "id: 6f3a1c0d9b7e4a5528c1d0ee\nevent: lanes\n"
    'data: [{"lane_id": 3, "lane_name": "South exit", "direction": "exit", "last": {"plate": "京A12345"}}]\n\n'
)

Operator = Annotated[Scope, allow(_PERMISSION)]


@router.post("/parking-lanes/{lane_id}/openings", status_code=201)
async def open_by_hand(lane_id: Id, body: OpeningIn, scope: Operator, once: Once) -> OpeningOut:
    """Opens a barrier by hand; actor, reason, the vehicle that stood there and the shift are kept."""

    async def make() -> OpeningOut:
        return OpeningOut(command_id=await open_lane(scope.conn, lane_id, body.reason, scope.caller.actor, body.code))

    return await once.answer(scope.conn, OpeningOut, make)


@router.get("/parking-lanes-now")
async def list_lanes_now(scope: Operator, query: Annotated[LanesQuery, Query()]) -> LanesNow:
    """Every lane in use with the vehicle that it saw last."""
    await estate.get_project(scope.conn, query.project_id)
    at = datetime.now(UTC)
    found = await lanes_now(scope.conn, [query.project_id], at - SHOWN_AT_MOST)
    return LanesNow(at=at, items=[LaneNowOut.of(one) for one in found])


@router.get(
    "/live/parking-lanes",
    response_class=StreamingResponse,
    responses={200: {"description": "Events.", "content": {MEDIA_TYPE: {"example": _EXAMPLE}}}},
)
async def live_lanes(
    request: Request,
    scope: Operator,
    query: Annotated[LanesQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> Response:
    """The same as they change, at most once a second; first all, unless Last-Event-ID names exactly that."""
    await estate.get_project(scope.conn, query.project_id)
    hub: DeskHub = request.app.state.desks

    async def look_again(_: DeskStream, now: Scope) -> None:
        await estate.get_project(now.conn, query.project_id)

    opened = hub.stream(scope.caller.user_id, query.project_id, None, last_event_id or None)
    return EventStream(request, _PERMISSION, opened, _next_event, look_again, hub.rules)
