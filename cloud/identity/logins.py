"""Logins that staff make for others than staff: the users of merchants. Passwords are made here and shown once."""

import secrets
from dataclasses import dataclass, replace

from cloud.identity import repository
from cloud.identity.caller import Caller
from cloud.identity.passwords import hash_password
from cloud.identity.records import Login
from cloud.identity.service import check_login
from cloud.kit.db import SIGN_IN, Conn, state_asker
from cloud.kit.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class MadeLogin:
    """A login with its password: the only moment that it is known."""

    user_id: int
    login: str
    password: str


async def make_merchant_login(
    conn: Conn, caller: Caller, request_id: str, merchant: tuple[int, int], login: str, display_name: str
) -> MadeLogin:
    """A login for a merchant (project id, merchant id), who gives out coupons with it and sees nothing of others.

    The caller has checked that the merchant is one of his projects. Raises InvalidInput for a bad login, Conflict when
    it is taken.
    """
    password = _password(login)
    check_login(login, password)
    password_hash = await hash_password(password)
    # Logins are unique over all projects: the identity tables must be seen whole, for these statements only.
    await state_asker(conn, replace(SIGN_IN, user_id=caller.user_id, request_id=request_id))
    if await repository.credentials(conn, login) is not None:
        raise Conflict("login-taken", f"there is a user {login} already", field="login")
    user_id, _ = await repository.insert_user(conn, login, display_name.strip() or login, password_hash, caller.locale)
    await state_asker(conn, caller.asker(request_id))
    await repository.insert_merchant_link(conn, user_id, *merchant)
    return MadeLogin(user_id, login, password)


async def link_merchant(conn: Conn, user_id: int, project_id: int, merchant_id: int) -> None:
    """Makes a user one of a merchant. For administration: whoever calls has checked that they belong together."""
    await repository.insert_merchant_link(conn, user_id, project_id, merchant_id)


async def user_id(conn: Conn, login: str) -> int:
    """Id of the user of a login. Raises NotFound."""
    found = await repository.credentials(conn, login)
    if found is None:
        raise NotFound("no-login", f"there is no user {login}")
    return found.id


async def merchant_logins(conn: Conn, merchant_id: int) -> list[Login]:
    """Who may give out the coupons of a merchant."""
    return await repository.merchant_logins(conn, merchant_id)


async def renew_merchant_password(
    conn: Conn, caller: Caller, request_id: str, merchant_id: int, user_id: int
) -> MadeLogin:
    """A new password for a login; whoever is signed in with it is signed out. Raises NotFound."""
    known = next((one for one in await merchant_logins(conn, merchant_id) if one.user_id == user_id), None)
    if known is None:
        raise NotFound("no-login", f"merchant {merchant_id} has no user {user_id}", field="user_id")
    password = _password(known.login)
    password_hash = await hash_password(password)
    await state_asker(conn, replace(SIGN_IN, user_id=caller.user_id, request_id=request_id))
    await repository.set_password_hash(conn, user_id, password_hash)
    await repository.end_tokens(conn, user_id)
    await state_asker(conn, caller.asker(request_id))
    return MadeLogin(user_id, known.login, password)


async def end_merchant_login(conn: Conn, caller: Caller, request_id: str, merchant_id: int, user_id: int) -> None:
    """The login opens nothing any more, at once and everywhere. Raises NotFound."""
    if not await repository.delete_merchant_link(conn, merchant_id, user_id):
        raise NotFound("no-login", f"merchant {merchant_id} has no user {user_id}", field="user_id")
    await state_asker(conn, replace(SIGN_IN, user_id=caller.user_id, request_id=request_id))
    await repository.end_tokens(conn, user_id)
    await state_asker(conn, caller.asker(request_id))


def _password(login: str) -> str:
    while True:
        password = secrets.token_urlsafe(12)
        if login.lower() not in password.lower():  # a short login is in one of many
            return password
