"""REST: readings as they are stored, as a stream of server-sent events (text/event-stream)."""

from typing import Annotated, Final

from fastapi import Header, Query, Request
from starlette.responses import Response, StreamingResponse

from cloud.identity.guards import Scope, allow
from cloud.identity.streams import MEDIA_TYPE, EventStream, named
from cloud.kit.routing import rest_router
from cloud.metering.live.hub import Event, LiveHub, Stream
from cloud.metering.live.models import LiveQuery, shown_points
from cloud.metering.live.watching import watched

router = rest_router("metering")

_PERMISSION: Final = "readings.read"
_EXAMPLE: Final = (
    "id: 816:820:817\nevent: readings\n"
    'data: [{"meter_id": 1, "channel": "energy_import_total", "taken_at": "2026-01-01T00:00:00Z", '
    '"value": {"quantity": "1234.567", "unit": "kWh"}, "quality": 0}]\n\n'
)


@router.get(
    "/live/readings",
    response_class=StreamingResponse,
    responses={200: {"description": "Events.", "content": {MEDIA_TYPE: {"example": _EXAMPLE}}}},
)
async def live_readings(
    request: Request,
    scope: Annotated[Scope, allow(_PERMISSION)],
    query: Annotated[LiveQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=4000)] = None,
) -> Response:
    """Readings as they are stored, in that order: late ones come late. docs/api.md says what the events are."""
    hub: LiveHub = request.app.state.live
    place = query.place()
    seen = await watched(scope.conn, place)

    async def look_again(stream: Stream, now: Scope) -> None:
        stream.watched = await watched(now.conn, place)

    opened = hub.stream(scope.caller.user_id, seen, last_event_id or None)
    return EventStream(request, _PERMISSION, opened, _next, look_again, hub.rules)


async def _next(stream: Stream, timeout_s: float) -> bytes | None:
    event = await stream.next(timeout_s)
    return None if event is None else _encoded(event)


def _encoded(event: Event) -> bytes:
    if event.lost is not None:
        return named("gap" if event.lost == "slow" else "reset", {"reason": event.lost}, event.position)
    if event.points is None:
        return named("position", {}, event.position)
    return named("readings", shown_points(event.points), event.position)
