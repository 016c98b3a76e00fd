"""REST: tokens, the signed-in user, users, the audit trail."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query, Request

from cloud.identity import service
from cloud.identity.guards import Scope, allow, public
from cloud.identity.models import (
    AuditEntryOut,
    AuditQuery,
    MeOut,
    TokenIn,
    TokenOut,
    UserIn,
    UserOut,
)
from cloud.identity.records import AuditFilter
from cloud.identity.sign_in import Attempt, sign_in
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.routing import rest_router

router = rest_router("identity")


@router.post("/tokens", status_code=201, dependencies=[public()])
async def create_token(request: Request, body: TokenIn) -> TokenOut:
    """Signs in with login and password, for programs."""
    state = request.app.state
    client = request.client.host if request.client else ""
    attempt = Attempt(body.login, body.password, client, request.state.request_id)
    lifetime = timedelta(hours=body.valid_hours)
    token = await sign_in(state.db, state.throttle, attempt, "bearer", body.name, lifetime)
    return TokenOut(id=token.id, token=token.secret, expires_at=token.expires_at)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(token_id: Id, scope: Annotated[Scope, allow("self.read")]) -> None:
    """Ends one of your tokens or browser sessions."""
    await service.revoke_token(scope.conn, scope.caller.user_id, token_id)


@router.get("/me")
async def me(scope: Annotated[Scope, allow("self.read")]) -> MeOut:
    """Who you are and what you may do where."""
    return MeOut.of(scope.caller)


@router.get("/users")
async def list_users(
    scope: Annotated[Scope, allow("users.manage")], query: Annotated[ListQuery, Query()]
) -> Listed[UserOut]:
    """Users with a role in your projects."""
    page = await service.list_users(scope.conn, query.page(), query.project_id)
    return Listed(items=[UserOut.of(user) for user in page.items], next_cursor=page.next_cursor)


@router.post("/users", status_code=201)
async def create_user(body: UserIn, scope: Annotated[Scope, allow("users.manage")], once: Once) -> UserOut:
    """A new member of staff, with roles that you hold yourself."""

    async def make() -> UserOut:
        user = await service.create_user_as(
            scope.conn,
            scope.caller,
            scope.request_id,
            body.login,
            body.display_name,
            body.password,
            grants=[grant.grant() for grant in body.grants],
            locale=body.locale,
        )
        return UserOut.of(user)

    return await once.answer(scope.conn, UserOut, make)


@router.get("/audit-entries")
async def list_audit_entries(
    scope: Annotated[Scope, allow("audit.read")],
    wanted: Annotated[AuditQuery, Query()],
) -> Listed[AuditEntryOut]:
    """Who changed what and when, in your projects; newest first."""
    page = await service.list_audit_entries(
        scope.conn,
        wanted.page(),
        AuditFilter(wanted.project_id, wanted.table_name, wanted.row_id, wanted.user_id),
    )
    return Listed(items=[AuditEntryOut.of(entry) for entry in page.items], next_cursor=page.next_cursor)
