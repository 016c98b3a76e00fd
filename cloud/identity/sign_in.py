"""Signing in. Opens its own transactions: a wrong password must be counted although the request fails."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from cloud.identity import repository, service
from cloud.identity.passwords import verify_password
from cloud.identity.service import NewToken, TokenKind
from cloud.identity.throttle import Throttle
from cloud.kit.db import SIGN_IN, Database
from cloud.kit.errors import Unauthenticated

LOCK_AFTER = 5
LOCKED_FOR = timedelta(minutes=15)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who tries to sign in, and from where."""

    login: str
    password: str
    client: str
    request_id: str


async def sign_in(
    db: Database, throttle: Throttle, attempt: Attempt, kind: TokenKind, name: str, lifetime: timedelta
) -> NewToken:
    """Checks the password and issues a token.

    Raises TooManyRequests, and Unauthenticated alike for an unknown login, a wrong password, a locked and a closed
    user: the answer, and the time it takes, do not tell which logins exist.
    """
    throttle.count(attempt.client, attempt.login)
    asker = SIGN_IN.named(attempt.request_id)
    async with db.transaction(asker) as conn:
        user = await repository.credentials(conn, attempt.login)
    right, stronger = await verify_password(attempt.password, user.password_hash if user else None)
    if user is None or not right or user.locked or not user.active:
        if user is not None and not right and not user.locked:
            async with db.transaction(asker) as conn:
                await repository.count_failure(conn, user.id, LOCK_AFTER, int(LOCKED_FOR.total_seconds()))
        _log.info("identity.sign_in_refused", client=attempt.client, user=user.id if user else None)
        raise Unauthenticated(
            "bad-credentials", "login or password is wrong, or there were too many attempts: try again later"
        )
    async with db.transaction(asker) as conn:
        await repository.clear_failures(conn, user.id)
        if stronger is not None:
            await repository.set_password_hash(conn, user.id, stronger)
        return await service.issue_token(conn, user.id, kind, name, datetime.now(UTC) + lifetime)
