"""Errors as the web answers them: problem documents (RFC 9457) for programs, a page for people."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
import psycopg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from cloud.kit.constraints import meaning_of
from cloud.kit.errors import GatemeterError, TooManyRequests, Unauthenticated, Unavailable
from cloud.kit.pages import is_page, render

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger(__name__)

_RETRY_AFTER_S = 5
_CODES = {404: "no-such-address", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:gatemeter:problem:overlap"]},
        "title": {"type": "string", "examples": ["Conflict"]},
        "status": {"type": "integer", "examples": [409]},
        "code": {"type": "string", "examples": ["overlap"]},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
"""JSON Schema of a problem document, for OpenAPI."""


def install(app: FastAPI) -> None:
    """Makes `app` answer every error in this form."""
    app.add_exception_handler(GatemeterError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(psycopg.Error, _database)
    app.add_exception_handler(PoolTimeout, _database)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    title: str | None = None,
    errors: Sequence[dict[str, str]] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer to a failed request: a problem document under /api, an HTML page elsewhere."""
    title = title or HTTPStatus(status).phrase
    request_id = getattr(request.state, "request_id", "")
    if is_page(request):
        answer: Response = render(
            request,
            "error.html",
            status=status,
            title=title,
            code=code,
            detail=detail,
            errors=list(errors),
            request_id=request_id,
        )
        answer.headers.update(headers or {})
        return answer
    document: dict[str, object] = {
        "type": f"urn:gatemeter:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors:
        document["errors"] = list(errors)
    return Response(orjson.dumps(document), status, headers, MEDIA_TYPE)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatemeterError)
    if isinstance(error, Unauthenticated) and is_page(request) and request.url.path != "/login":
        return _to_sign_in(request)
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.params.get("retry_after_s", 60))
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    errors = [{"field": field, "detail": detail} for field, detail in error.fields]
    return problem(request, error.status, error.code, error.detail, title=error.title, errors=errors, headers=headers)


def _to_sign_in(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    address = f"/login?next={quote(wanted, safe='')}" if request.method == "GET" else "/login"
    if request.headers.get("HX-Request"):
        # A fragment must not swallow the sign-in page: htmx moves the whole window instead.
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found_errors = error.errors()
    if request.headers.get("Content-Length", "0") != "0" and not _says_json(request) and _of_whole_body(found_errors):
        return problem(request, 415, _CODES[415], "expected Content-Type: application/json")
    errors = [{"field": _field(_place(found)), "detail": str(found["msg"])} for found in found_errors]
    detail = "; ".join(f"{found['field']}: {found['detail']}" for found in errors[:3])
    return problem(request, 422, "invalid-input", detail, title="Invalid input", errors=errors)


def _says_json(request: Request) -> bool:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _of_whole_body(errors: Sequence[Any]) -> bool:
    return any(tuple(found["loc"]) == ("body",) for found in errors)


def _place(error: Any) -> Sequence[str | int]:
    """Where the error is; malformed JSON has a position in the text instead of a path."""
    return ("body",) if error["type"] == "json_invalid" else error["loc"]


def _field(location: Sequence[str | int]) -> str:
    """Dotted path of the input: `body.items.0.amount` → `items.0.amount`; other places keep their name."""
    parts = list(location)
    if parts[:1] in (["body"], ["query"], ["path"]) and len(parts) > 1:
        parts = parts[1:]
    return ".".join(map(str, parts))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "-"))
    headers = dict(error.headers) if error.headers else None
    return problem(request, error.status_code, code, str(error.detail), headers=headers)


async def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, psycopg.Error)
    meaning = meaning_of(error)
    if meaning is None:
        return unexpected(request, error)
    _log.info("web.database_refused", code=meaning.code, sqlstate=error.sqlstate)
    return await _ours(request, meaning)


def unexpected(request: Request, error: Exception) -> Response:
    """The answer to a fault of ours: a reference, and nothing of the error itself."""
    request_id = getattr(request.state, "request_id", "")
    _log.error("web.crashed", request_id=request_id, path=request.url.path, exc_info=error)
    return problem(request, 500, "internal", f"Something went wrong here; it is noted as {request_id}.")
