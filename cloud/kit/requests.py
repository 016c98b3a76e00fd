"""Around every HTTP request: its id, its size limit, its metrics, and the security headers of the answer."""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 2 * 1024 * 1024
REQUEST_ID_HEADER = "X-Request-ID"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_SECONDS = Histogram(
    "gatemeter_http_request_seconds", "Time to answer, by route and status.", ["method", "route", "status"]
)

# Scripts and styles are files of our own. Charts and menus place their elements through style attributes.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_ONE_YEAR = "public, max-age=31536000, immutable"


class RequestFrame:
    """ASGI middleware; the outermost one. Sets `request.state.request_id`.

    What nobody inside handles is answered here by `crashed`, so that this answer too carries id and headers.
    `max_upload_bytes`: by path, of those that take files.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        crashed: Callable[[Request, Exception], Response],
        tls: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_upload_bytes: Mapping[str, int] | None = None,
    ) -> None:
        self._app = app
        self._crashed = crashed
        self._headers = dict(SECURITY_HEADERS)
        if tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = dict(max_upload_bytes or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status, started_answer = 500, False

        async def answering(message: Message) -> None:
            nonlocal status, started_answer
            if message["type"] == "http.response.start":
                status, started_answer = message["status"], True
                self._complete(scope, request_id, MutableHeaders(scope=message))
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                try:
                    await self._app(scope, self._limited(scope, receive), answering)
                except Exception as error:
                    answer = self._crashed(Request(scope), error)
                    if started_answer:
                        raise
                    await answer(scope, receive, answering)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            _SECONDS.labels(scope["method"], route, status).observe(time.perf_counter() - started)

    def _complete(self, scope: Scope, request_id: str, headers: MutableHeaders) -> None:
        headers[REQUEST_ID_HEADER] = request_id
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        if scope["path"].startswith("/static/") and b"v=" in scope["query_string"]:
            headers["Cache-Control"] = _ONE_YEAR
        elif scope["path"].startswith("/api/"):
            headers.setdefault("Cache-Control", "no-store")

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        announced = Headers(scope=scope).get("Content-Length", "0")
        most = left = self._max_upload_bytes.get(scope["path"], self._max_body_bytes)
        too_long = announced.isdecimal() and int(announced) > left

        async def receiving() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if too_long or left < 0:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {most} bytes")
            return message

        return receiving


def _request_id(given: str | None) -> str:
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_hex(8)
