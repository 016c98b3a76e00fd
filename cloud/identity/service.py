"""Rules of users, grants and tokens. Callers own the transaction."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from cloud.identity import repository
from cloud.identity.caller import Caller
from cloud.identity.passwords import hash_password
from cloud.identity.policy import ROLES, Grant, access_of, may_grant
from cloud.identity.records import AuditEntry, AuditFilter, User
from cloud.kit.db import SIGN_IN, Asker, Conn, state_asker
from cloud.kit.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.security import new_token, token_hash

TokenKind = Literal["session", "bearer"]

_LOGIN = re.compile(r"[A-Za-z0-9@+][A-Za-z0-9@._+-]{1,99}")
MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 200


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made: the only moment its secret is known."""

    id: int
    secret: str
    expires_at: datetime


async def recognise(conn: Conn, secret: str, kind: TokenKind, permission: str) -> Caller:
    """Who holds this token, for a request that needs `permission`. The connection must say SIGN_IN.

    Raises Unauthenticated when the token is not valid (any more), Forbidden when the permission is missing.
    """
    found = await repository.recognise(conn, token_hash(secret), kind)
    access = None if found is None else access_of(found.grants, found.links, found.all_projects, found.merchants)
    if found is None or access is None:
        raise Unauthenticated("not-signed-in", "sign in first: the token is unknown, expired or revoked")
    if not access.may(permission):
        raise Forbidden("no-permission", f"this needs the permission {permission}", permission=permission)
    if found.stale:
        await repository.mark_used(conn, found.token_id)
    projects = access.projects(permission)
    return Caller(found.user_id, found.login, found.display_name, found.locale, access, projects, found.token_id)


async def issue_token(conn: Conn, user_id: int, kind: TokenKind, name: str, expires_at: datetime) -> NewToken:
    """A new session or bearer token of the user."""
    secret = new_token()
    token_id = await repository.insert_token(conn, user_id, kind, name, token_hash(secret), expires_at)
    return NewToken(token_id, secret, expires_at)


async def revoke_token(conn: Conn, user_id: int, token_id: int) -> None:
    """Ends one of the user's own tokens. Raises NotFound."""
    if not await repository.revoke(conn, user_id, token_id):
        raise NotFound("no-such-token", f"you have no valid token {token_id}")


async def create_user(
    conn: Conn,
    login: str,
    display_name: str,
    password: str,
    *,
    grants: Sequence[Grant] = (),
    locale: str = "zh-CN",
) -> int:
    """A new user with roles; returns the id. For administration: the connection's owner may grant anything.

    Raises InvalidInput (login, password, role) and Conflict (login taken).
    """
    _check_new_user(login, password, grants)
    password_hash = await hash_password(password)
    if await repository.credentials(conn, login) is not None:
        raise Conflict("login-taken", f"there is a user {login} already", field="login")
    user_id, _ = await repository.insert_user(conn, login, display_name, password_hash, locale)
    await repository.insert_grants(conn, user_id, grants)
    return user_id


async def create_user_as(
    conn: Conn,
    caller: Caller,
    request_id: str,
    login: str,
    display_name: str,
    password: str,
    *,
    grants: Sequence[Grant],
    locale: str,
) -> User:
    """A new user in the name of a signed-in one, who can only give what he holds. Raises also Forbidden."""
    _check_new_user(login, password, grants)
    for index, grant in enumerate(grants):
        if grant.project_id is None or not may_grant(caller.access, grant.role, grant.project_id):
            detail = f"you cannot give the role {grant.role} in project {grant.project_id}"
            raise Forbidden("cannot-grant", detail, field=f"grants.{index}")
    password_hash = await hash_password(password)
    # Logins are unique over all projects and a user without grants belongs to none: for both the identity tables
    # must be seen whole, for these statements only.
    await state_asker(conn, _signing_in(caller, request_id))
    if await repository.credentials(conn, login) is not None:
        raise Conflict("login-taken", f"there is a user {login} already", field="login")
    user_id, created_at = await repository.insert_user(conn, login, display_name, password_hash, locale)
    await state_asker(conn, caller.asker(request_id))
    await repository.insert_grants(conn, user_id, grants)
    return User(user_id, login, display_name, locale, True, created_at, tuple(grants))


def _signing_in(caller: Caller, request_id: str) -> Asker:
    """Sees the identity tables whole; the audit trail still names the caller."""
    return replace(SIGN_IN, user_id=caller.user_id, request_id=request_id)


def check_login(login: str, password: str) -> None:
    """Raises InvalidInput for what can be no login, and for a password that is too easily guessed."""
    if _LOGIN.fullmatch(login) is None:
        raise InvalidInput("bad-login", "expected 2 to 100 letters, digits or @ . _ + -", field="login")
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise InvalidInput(
            "bad-password", f"expected {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters", field="password"
        )
    if login.lower() in password.lower():
        raise InvalidInput("bad-password", "the password must not contain the login", field="password")


def _check_new_user(login: str, password: str, grants: Sequence[Grant]) -> None:
    check_login(login, password)
    for index, grant in enumerate(grants):
        if grant.role not in ROLES:
            raise InvalidInput("unknown-role", f"expected one of {', '.join(ROLES)}", field=f"grants.{index}.role")


async def link_resident(conn: Conn, user_id: int, project_id: int, person_id: int) -> None:
    """Lets the user see what belongs to this person record."""
    await repository.insert_link(conn, user_id, project_id, person_id)


async def end_session(conn: Conn, session_hash: bytes) -> None:
    """Signs out. The connection must say SIGN_IN."""
    await repository.revoke_session(conn, session_hash)


async def set_locale_of_session(conn: Conn, session_hash: bytes, locale: str) -> None:
    """Keeps the language that the user of a valid session chose. The connection must say SIGN_IN."""
    await repository.set_locale_of_session(conn, session_hash, locale)


async def list_users(conn: Conn, request: PageRequest, project_id: int | None = None) -> Page[User]:
    """Users with a role in the asker's projects."""
    after = after_id(request)
    rows = await repository.users(conn, after, request.limit + 1, project_id)
    return cut(rows, request, lambda user: (user.id,))


async def list_audit_entries(conn: Conn, request: PageRequest, wanted: AuditFilter) -> Page[AuditEntry]:
    """Changes of rows of the asker's projects, newest first."""
    before = after_id(request, MAX_ID)
    rows = await repository.audit_entries(conn, before, request.limit + 1, wanted)
    return cut(rows, request, lambda entry: (entry.id,))


async def user_names(conn: Conn, ids: Collection[int]) -> dict[int, str]:
    """Display names by id of himself and of the users with a role in the asker's projects."""
    return await repository.user_names(conn, list(ids))


async def project_id(conn: Conn, code: str) -> int:
    """Id of the project with this code. Raises NotFound."""
    found = await repository.project_id(conn, code)
    if found is None:
        raise NotFound("no-such-project", f"there is no project {code}")
    return found


async def link_person(conn: Conn, user_id: int, person_id: int) -> None:
    """Like `link_resident`, in the person's own project. Raises NotFound."""
    found = await repository.project_of_person(conn, person_id)
    if found is None:
        raise NotFound("no-such-person", f"there is no person {person_id}")
    await repository.insert_link(conn, user_id, found, person_id)


async def forget(conn: Conn) -> tuple[int, int]:
    """Deletes kept answers of creating requests after a week, finished jobs after 90 days; how many of each."""
    return await repository.forget_answers(conn, 7), await repository.forget_jobs(conn, 90)
