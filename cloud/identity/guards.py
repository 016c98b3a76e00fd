"""What a route states about who may use it; the one place where requests are authenticated.

    @router.get("/bills")
    async def list_bills(scope: Annotated[Scope, allow("bills.read")]) -> BillPage: ...

The transaction of the request is opened here, in the name of the caller, and committed before the answer is sent.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg.pq import TransactionStatus

from cloud.identity import service
from cloud.identity.caller import Caller
from cloud.identity.policy import PERMISSIONS
from cloud.identity.service import TokenKind
from cloud.kit.db import SIGN_IN, Asker, Conn, Database, state_asker
from cloud.kit.errors import NotFound, Unauthenticated
from cloud.kit.pages import check_csrf, cookie_name

SESSION_COOKIE = "gm_session"

_bearer = HTTPBearer(auto_error=False, description="A token of POST /api/v1/tokens.")
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True, slots=True)
class Scope:
    """The transaction of a request and who asks in it."""

    conn: Conn
    caller: Caller
    request_id: str


def allow(permission: str) -> Any:
    """A dependency that lets signed-in holders of `permission` in and yields their Scope.

    A bearer token, or the session cookie (changes then need the CSRF header or form field). The scope holds the
    projects in which the permission is held. Raises Unauthenticated and Forbidden.
    """
    if permission not in PERMISSIONS:
        raise ValueError(f"there is no permission {permission}")

    async def guard(request: Request, bearer: _Bearer) -> AsyncIterator[Scope]:
        async with _scope(request, permission, bearer.credentials if bearer else None) as scope:
            yield scope

    guard.permission = permission  # type: ignore[attr-defined]  # read by `stated_access`
    return Depends(guard, scope="function")


def allow_page(permission: str) -> Any:
    """Like `allow` for pages: by session cookie only; who is not signed in is led to the sign-in page."""
    if permission not in PERMISSIONS:
        raise ValueError(f"there is no permission {permission}")

    async def guard(request: Request) -> AsyncIterator[Scope]:
        async with _scope(request, permission, None) as scope:
            yield scope

    guard.permission = permission  # type: ignore[attr-defined]  # read by `stated_access`
    return Depends(guard, scope="function")


def public() -> Any:
    """States that a route is open to everybody: `dependencies=[public()]`."""
    return Depends(_public)


async def _public() -> None:
    """Lets everybody in."""


def stated_access(call: Callable[..., Any] | None) -> str | None:
    """What a dependency states: a permission, `public`, or None when it is no guard."""
    if call is _public:
        return "public"
    permission: str | None = getattr(call, "permission", None)
    return permission


@asynccontextmanager
async def again(request: Request, permission: str) -> AsyncIterator[Scope]:
    """A new scope of a request whose answer still goes on: whether its session, token and permission still hold.

    Raises Unauthenticated and Forbidden.
    """
    bearer = await _bearer(request)
    async with _scope(request, permission, bearer.credentials if bearer else None) as scope:
        yield scope


@asynccontextmanager
async def for_the_project(scope: Scope, project_id: int) -> AsyncIterator[Conn]:
    """Within it the statements of the scope see and change all rows of one project, still in the name of the caller.

    For what a resident may ask for although its rules look at what others have: a place that is left. Whoever uses it
    has checked before that what is asked for is his to ask.
    """
    if project_id not in scope.caller.projects:
        raise NotFound("no-such-project", "there is no such project", field="project_id")
    asker = Asker("staff", (project_id,), user_id=scope.caller.user_id, request_id=scope.request_id)
    await state_asker(scope.conn, asker)
    try:
        yield scope.conn
    finally:
        # A transaction that failed ends with its settings, and takes no statement any more.
        if scope.conn.info.transaction_status == TransactionStatus.INTRANS:
            await state_asker(scope.conn, scope.caller.asker(scope.request_id))


@asynccontextmanager
async def _scope(request: Request, permission: str, bearer: str | None) -> AsyncIterator[Scope]:
    kind: TokenKind = "bearer"
    secret = bearer
    if secret is None:
        kind = "session"
        secret = request.cookies.get(cookie_name(request, SESSION_COOKIE))
    if secret is None:
        raise Unauthenticated("not-signed-in", "sign in first: a bearer token or a session is needed")
    if kind == "session":
        await check_csrf(request)
    request_id: str = request.state.request_id
    db: Database = request.app.state.db
    async with db.transaction(SIGN_IN.named(request_id)) as conn:
        caller = await service.recognise(conn, secret, kind, permission)
        await state_asker(conn, caller.asker(request_id))
        yield Scope(conn, caller, request_id)
