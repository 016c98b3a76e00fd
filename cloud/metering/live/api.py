"""REST: readings as they are stored, as a stream of server-sent events (text/event-stream)."""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

import orjson
import psycopg
from fastapi import APIRouter, Header, Query, Request
from psycopg_pool import PoolTimeout
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as ConnectionScope

from cloud.identity.guards import Scope, again, allow
from cloud.kit.errors import Forbidden, NotFound, Unauthenticated
from cloud.metering.live.hub import Event, LiveHub, Stream, Watched
from cloud.metering.live.models import LiveQuery, shown_points
from cloud.metering.live.watching import Place, watched

router = APIRouter()

MEDIA_TYPE: Final = "text/event-stream"
_PERMISSION: Final = "readings.read"
_RECONNECT_MS: Final = 3000
_EXAMPLE: Final = (
    "id: 816:820:817\nevent: readings\n"
    'data: [{"meter_id": 1, "channel": "energy_import_total", "taken_at": "2026-01-01T00:00:00Z", '
    '"value": {"quantity": "1234.567", "unit": "kWh"}, "quality": 0}]\n\n'
)


class EventStream(Response):
    """An answer that goes on until the client goes, his right ends or the process does.

    It begins when it is called: the transaction of the request is over by then, and its connection is free.
    """

    def __init__(self, request: Request, caller_id: int, place: Place, seen: Watched, since: str | None) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._request = request
        self._caller_id = caller_id
        self._place = place
        self._seen = seen
        self._since = since

    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """Raises TooManyRequests and Unavailable before anything was sent."""
        hub: LiveHub = self._request.app.state.live
        async with hub.stream(self._caller_id, self._seen, self._since) as stream:
            body = self._body(hub, stream)
            # A proxy that collects answers would keep the events.
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            await StreamingResponse(body, media_type=MEDIA_TYPE, headers=headers)(scope, receive, send)

    async def _body(self, hub: LiveHub, stream: Stream) -> AsyncIterator[bytes]:
        yield f"retry: {_RECONNECT_MS}\n\n".encode()
        recheck_at = time.monotonic() + hub.rules.recheck_s
        heartbeat_at = time.monotonic() + hub.rules.heartbeat_s
        while True:
            wait_s = min(recheck_at, heartbeat_at) - time.monotonic()
            event = await stream.next(max(wait_s, 0))
            if stream.closed:
                yield _end("stopping")
                return
            if event is not None:
                yield _encoded(event)
                heartbeat_at = time.monotonic() + hub.rules.heartbeat_s
            elif time.monotonic() >= heartbeat_at:
                yield b": still here\n\n"
                heartbeat_at = time.monotonic() + hub.rules.heartbeat_s
            if time.monotonic() >= recheck_at:
                if (why := await self._ended(stream)) is not None:
                    yield _end(why)
                    return
                recheck_at = time.monotonic() + hub.rules.recheck_s

    async def _ended(self, stream: Stream) -> str | None:
        """Why the caller may not watch on, and None when he may; what he sees is looked up again."""
        try:
            async with again(self._request, _PERMISSION) as scope:
                stream.watched = await watched(scope.conn, self._place)
        except (Unauthenticated, Forbidden, NotFound) as error:
            return error.code
        except (psycopg.OperationalError, PoolTimeout):
            return "unavailable"
        return None


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
    seen = await watched(scope.conn, query.place())
    return EventStream(request, scope.caller.user_id, query.place(), seen, last_event_id or None)


def _encoded(event: Event) -> bytes:
    head = b"" if event.position is None else f"id: {event.position}\n".encode()
    if event.lost is not None:
        name = "gap" if event.lost == "slow" else "reset"
        return head + _named(name, {"reason": event.lost})
    if event.points is None:
        return head + _named("position", {})
    return head + _named("readings", shown_points(event.points))


def _end(why: str) -> bytes:
    return _named("end", {"reason": why})


def _named(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data, option=orjson.OPT_UTC_Z) + b"\n\n"
