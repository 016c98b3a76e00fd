"""Answers that go on: server-sent events to one client until he goes, his right ends or the process does."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic, Protocol, TypeVar

import orjson
import psycopg
from fastapi import Request
from psycopg_pool import PoolTimeout
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as ConnectionScope

from cloud.identity.guards import Scope, again
from cloud.kit.errors import Forbidden, NotFound, TooManyRequests, Unauthenticated, Unavailable

MEDIA_TYPE: Final = "text/event-stream"
_RECONNECT_MS: Final = 3000

Event = TypeVar("Event", covariant=True)
Told = TypeVar("Told", bound="Source[object]")
NextEvent = Callable[[Told, float], Awaitable[bytes | None]]
"""Waits so many seconds for what a source tells next, as it is sent; None when there was nothing."""


class Source(Protocol[Event]):
    """What waits for one client."""

    @property
    def closed(self) -> bool:
        """Whether the process ends the stream."""

    async def next(self, timeout_s: float) -> Event | None:
        """The next event, None when there was none for so long or the stream is closed."""


class Pace(Protocol):
    """How often something is sent although nothing happens, and how long a stream may outlive the right to it."""

    @property
    def heartbeat_s(self) -> float:
        """Seconds."""

    @property
    def recheck_s(self) -> float:
        """Seconds."""


class EventStream(Response, Generic[Told]):
    """The answer with the events of one source.

    It begins when it is called: the transaction of the request is over by then, and its connection is free.
    `look_again` is asked with a new scope of the caller whether he may still see what he watches, and raises when not.
    """

    def __init__(
        self,
        request: Request,
        permission: str,
        opened: AbstractAsyncContextManager[Told],
        next_event: NextEvent[Told],
        look_again: Callable[[Told, Scope], Awaitable[None]],
        pace: Pace,
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._request = request
        self._permission = permission
        self._opened = opened
        self._next_event = next_event
        self._look_again = look_again
        self._pace = pace

    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """Raises what opening the source raises, before anything was sent."""
        async with self._opened as source:
            # A proxy that collects answers would keep the events.
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            body = self._body(source)
            await StreamingResponse(body, media_type=MEDIA_TYPE, headers=headers)(scope, receive, send)

    async def _body(self, source: Told) -> AsyncIterator[bytes]:
        yield f"retry: {_RECONNECT_MS}\n\n".encode()
        recheck_at = time.monotonic() + self._pace.recheck_s
        heartbeat_at = time.monotonic() + self._pace.heartbeat_s
        while True:
            wait_s = min(recheck_at, heartbeat_at) - time.monotonic()
            event = await self._next_event(source, max(wait_s, 0))
            if source.closed:
                yield named("end", {"reason": "stopping"})
                return
            if event is not None:
                yield event
                heartbeat_at = time.monotonic() + self._pace.heartbeat_s
            elif time.monotonic() >= heartbeat_at:
                yield b": still here\n\n"
                heartbeat_at = time.monotonic() + self._pace.heartbeat_s
            if time.monotonic() >= recheck_at:
                if (why := await self._ended(source)) is not None:
                    yield named("end", {"reason": why})
                    return
                recheck_at = time.monotonic() + self._pace.recheck_s

    async def _ended(self, source: Told) -> str | None:
        """Why the caller may not watch on, and None when he may."""
        try:
            async with again(self._request, self._permission) as scope:
                await self._look_again(source, scope)
        except (Unauthenticated, Forbidden, NotFound) as error:
            return error.code
        except (psycopg.OperationalError, PoolTimeout):
            return "unavailable"
        return None


def named(name: str, data: object, position: str | None = None) -> bytes:
    """One event with its data as JSON; `position` is what the client sends as Last-Event-ID when it comes back."""
    head = b"" if position is None else f"id: {position}\n".encode()
    return head + b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data, option=orjson.OPT_UTC_Z) + b"\n\n"


def admit(user_id: int, users: Collection[int], most: int, most_of_user: int) -> None:
    """Lets one more stream in beside those of `users`. Raises Unavailable and TooManyRequests."""
    if len(users) >= most:
        raise Unavailable("too-many-streams", "this process holds as many streams as it may")
    if sum(one == user_id for one in users) >= most_of_user:
        raise TooManyRequests("too-many-streams", "close one of your other streams first", retry_after_s=60)
