"""All SQL of identity."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.identity.policy import Grant
from cloud.identity.records import AuditEntry, AuditFilter, Credentials, Login, Recognised, User
from cloud.kit.db import Conn

_RECOGNISE: LiteralString = """
    SELECT t.id AS token_id, u.id AS user_id, u.login, u.display_name, u.locale,
           coalesce(t.last_used_at < now() - interval '1 hour', true) AS stale,
           (SELECT coalesce(array_agg(g.role ORDER BY g.id), '{}') FROM role_grant g WHERE g.user_id = u.id) AS roles,
           (SELECT coalesce(array_agg(g.project_id ORDER BY g.id), '{}') FROM role_grant g WHERE g.user_id = u.id)
               AS role_projects,
           (SELECT coalesce(array_agg(l.project_id ORDER BY l.id), '{}') FROM resident_link l WHERE l.user_id = u.id)
               AS link_projects,
           (SELECT coalesce(array_agg(l.person_id ORDER BY l.id), '{}') FROM resident_link l WHERE l.user_id = u.id)
               AS link_persons,
           (SELECT coalesce(array_agg(m.project_id ORDER BY m.id), '{}') FROM merchant_link m WHERE m.user_id = u.id)
               AS merchant_projects,
           (SELECT coalesce(array_agg(m.merchant_id ORDER BY m.id), '{}') FROM merchant_link m WHERE m.user_id = u.id)
               AS merchants,
           (SELECT coalesce(array_agg(p.id), '{}') FROM project p) AS all_projects
    FROM access_token t JOIN app_user u ON u.id = t.user_id
    WHERE t.token_hash = %(token_hash)s AND t.kind = %(kind)s
      AND t.revoked_at IS NULL AND t.expires_at > now() AND u.active
"""
# Parallel requests of one page must not wait for each other here.
_USED: LiteralString = """
    UPDATE access_token SET last_used_at = now()
    WHERE id = (SELECT id FROM access_token WHERE id = %s FOR UPDATE SKIP LOCKED)
"""
_CREDENTIALS: LiteralString = """
    SELECT id, password_hash, active, coalesce(locked_until > now(), false) AS locked
    FROM app_user WHERE lower(login) = lower(%s)
"""
_COUNT_FAILURE: LiteralString = """
    UPDATE app_user SET failed_logins = failed_logins + 1,
           locked_until = CASE WHEN failed_logins + 1 >= %(limit)s
                               THEN now() + make_interval(secs => %(lock_s)s) ELSE locked_until END
    WHERE id = %(user_id)s
"""
_CLEAR_FAILURES: LiteralString = """
    UPDATE app_user SET failed_logins = 0, locked_until = NULL WHERE id = %s AND (failed_logins > 0)
"""
_NEW_HASH: LiteralString = "UPDATE app_user SET password_hash = %(password_hash)s WHERE id = %(user_id)s"
_INSERT_ACCESS: LiteralString = """
    INSERT INTO access_token (user_id, kind, name, token_hash, expires_at)
    VALUES (%(user_id)s, %(kind)s, %(name)s, %(token_hash)s, %(expires_at)s) RETURNING id
"""
_REVOKE: LiteralString = """
    UPDATE access_token SET revoked_at = now()
    WHERE id = %(token_id)s AND user_id = %(user_id)s AND revoked_at IS NULL RETURNING id
"""
_INSERT_USER: LiteralString = """
    INSERT INTO app_user (login, display_name, password_hash, locale)
    VALUES (%(login)s, %(display_name)s, %(password_hash)s, %(locale)s) RETURNING id, created_at
"""
_INSERT_GRANT: LiteralString = """
    INSERT INTO role_grant (user_id, project_id, role) VALUES (%(user_id)s, %(project_id)s, %(role)s)
    ON CONFLICT DO NOTHING
"""
_INSERT_LINK: LiteralString = """
    INSERT INTO resident_link (project_id, user_id, person_id) VALUES (%(project_id)s, %(user_id)s, %(person_id)s)
    ON CONFLICT DO NOTHING
"""
_INSERT_MERCHANT_LINK: LiteralString = """
    INSERT INTO merchant_link (project_id, merchant_id, user_id) VALUES (%(project_id)s, %(merchant_id)s, %(user_id)s)
"""
_MERCHANT_LOGINS: LiteralString = """
    SELECT u.id AS user_id, u.login, u.display_name, l.created_at
    FROM merchant_link l JOIN app_user u ON u.id = l.user_id WHERE l.merchant_id = %s ORDER BY l.id
"""
_END_TOKENS: LiteralString = "UPDATE access_token SET revoked_at = now() WHERE user_id = %s AND revoked_at IS NULL"
_REVOKE_SESSION: LiteralString = """
    UPDATE access_token SET revoked_at = now() WHERE token_hash = %s AND kind = 'session' AND revoked_at IS NULL
"""
_SET_LOCALE_OF_SESSION: LiteralString = """
    UPDATE app_user u SET locale = %(locale)s FROM access_token t
    WHERE t.token_hash = %(session_hash)s AND t.user_id = u.id AND t.kind = 'session'
      AND t.revoked_at IS NULL AND t.expires_at > now() AND u.active
"""
_USERS: LiteralString = """
    SELECT u.id, u.login, u.display_name, u.locale, u.active, u.created_at,
           array_agg(g.role ORDER BY g.id) AS roles, array_agg(g.project_id ORDER BY g.id) AS role_projects
    FROM app_user u JOIN role_grant g ON g.user_id = u.id
    WHERE u.id > %(after)s AND (%(project_id)s::bigint IS NULL OR g.project_id = %(project_id)s)
    GROUP BY u.id ORDER BY u.id LIMIT %(limit)s
"""
_USER_NAMES: LiteralString = "SELECT id, display_name FROM app_user WHERE id = ANY (%s)"
_AUDIT: LiteralString = """
    SELECT id, at, project_id, actor_kind, user_id, request_id, table_name, row_id, action, before, after
    FROM audit_entry
    WHERE id < %(before)s
      AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(table_name)s::text IS NULL OR table_name = %(table_name)s)
      AND (%(row_id)s::text IS NULL OR row_id = %(row_id)s)
      AND (%(made_with)s::jsonb IS NULL OR row_id IN (
           SELECT made.row_id FROM audit_entry made
           WHERE made.table_name = %(table_name)s AND made.action = 'insert' AND made.after @> %(made_with)s))
      AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
      AND (%(start)s::timestamptz IS NULL OR at >= %(start)s)
      AND (%(end)s::timestamptz IS NULL OR at < %(end)s)
    ORDER BY id DESC LIMIT %(limit)s
"""


_FORGET_ANSWERS: LiteralString = """
    DELETE FROM idempotency_key WHERE created_at < now() - make_interval(days => %s)
"""
_FORGET_JOBS: LiteralString = """
    DELETE FROM job WHERE state IN ('done', 'failed', 'cancelled') AND finished_at < now() - make_interval(days => %s)
"""
_PROJECT_ID: LiteralString = "SELECT id FROM project WHERE code = %s"
_PROJECT_OF_PERSON: LiteralString = "SELECT project_id AS id FROM person WHERE id = %s"


async def recognise(conn: Conn, token_hash: bytes, kind: str) -> Recognised | None:
    """The active user whose unexpired, unrevoked token this is."""
    row = await (await conn.execute(_RECOGNISE, {"token_hash": token_hash, "kind": kind})).fetchone()
    if row is None:
        return None
    return Recognised(
        row["token_id"],
        row["user_id"],
        row["login"],
        row["display_name"],
        row["locale"],
        row["stale"],
        _grants(row),
        tuple(zip(row["link_projects"], row["link_persons"], strict=True)),
        tuple(row["all_projects"]),
        tuple(zip(row["merchant_projects"], row["merchants"], strict=True)),
    )


def _grants(row: dict[str, Any]) -> tuple[Grant, ...]:
    return tuple(Grant(*pair) for pair in zip(row["roles"], row["role_projects"], strict=True))


async def mark_used(conn: Conn, token_id: int) -> None:
    """Notes that the token was used."""
    await conn.execute(_USED, (token_id,))


async def credentials(conn: Conn, login: str) -> Credentials | None:
    """The user of this login, whatever its case."""
    row = await (await conn.execute(_CREDENTIALS, (login,))).fetchone()
    return None if row is None else Credentials(**row)


async def count_failure(conn: Conn, user_id: int, limit: int, lock_s: int) -> None:
    """One more wrong password; from the `limit`-th on the user is locked for `lock_s` seconds."""
    await conn.execute(_COUNT_FAILURE, {"user_id": user_id, "limit": limit, "lock_s": lock_s})


async def clear_failures(conn: Conn, user_id: int) -> None:
    """After a right password."""
    await conn.execute(_CLEAR_FAILURES, (user_id,))


async def set_password_hash(conn: Conn, user_id: int, password_hash: str) -> None:
    """Replaces the hash, for instance by one of stronger parameters."""
    await conn.execute(_NEW_HASH, {"user_id": user_id, "password_hash": password_hash})


async def insert_token(conn: Conn, user_id: int, kind: str, name: str, token_hash: bytes, expires_at: datetime) -> int:
    """Keeps the hash of a new token and returns its id."""
    values = {"user_id": user_id, "kind": kind, "name": name, "token_hash": token_hash, "expires_at": expires_at}
    return int(_one(await (await conn.execute(_INSERT_ACCESS, values)).fetchone())["id"])


async def revoke(conn: Conn, user_id: int, token_id: int) -> bool:
    """Ends a token of the user; False when there is no such valid one."""
    row = await (await conn.execute(_REVOKE, {"token_id": token_id, "user_id": user_id})).fetchone()
    return row is not None


async def insert_user(
    conn: Conn, login: str, display_name: str, password_hash: str, locale: str
) -> tuple[int, datetime]:
    """A new user: id and time. Raises UniqueViolation when the login is taken."""
    values = {"login": login, "display_name": display_name, "password_hash": password_hash, "locale": locale}
    row = _one(await (await conn.execute(_INSERT_USER, values)).fetchone())
    return row["id"], row["created_at"]


async def insert_grants(conn: Conn, user_id: int, grants: Sequence[Grant]) -> None:
    """Gives the user the roles."""
    for grant in grants:
        await conn.execute(_INSERT_GRANT, {"user_id": user_id, "project_id": grant.project_id, "role": grant.role})


async def insert_link(conn: Conn, user_id: int, project_id: int, person_id: int) -> None:
    """Makes the user the resident that this person record is."""
    await conn.execute(_INSERT_LINK, {"user_id": user_id, "project_id": project_id, "person_id": person_id})


async def insert_merchant_link(conn: Conn, user_id: int, project_id: int, merchant_id: int) -> None:
    """Makes the user one of the merchant."""
    values = {"user_id": user_id, "project_id": project_id, "merchant_id": merchant_id}
    await conn.execute(_INSERT_MERCHANT_LINK, values)


async def delete_merchant_link(conn: Conn, merchant_id: int, user_id: int) -> bool:
    """From now on the user is none of the merchant; False when he was not."""
    query = "DELETE FROM merchant_link WHERE merchant_id = %s AND user_id = %s"
    return (await conn.execute(query, (merchant_id, user_id))).rowcount == 1


async def merchant_logins(conn: Conn, merchant_id: int) -> list[Login]:
    """Who may give out the coupons of a merchant."""
    return [Login(**row) for row in await (await conn.execute(_MERCHANT_LOGINS, (merchant_id,))).fetchall()]


async def end_tokens(conn: Conn, user_id: int) -> None:
    """Signs a user out everywhere."""
    await conn.execute(_END_TOKENS, (user_id,))


async def revoke_session(conn: Conn, session_hash: bytes) -> None:
    """Ends the browser session with this secret."""
    await conn.execute(_REVOKE_SESSION, (session_hash,))


async def set_locale_of_session(conn: Conn, session_hash: bytes, locale: str) -> None:
    """Keeps the language of the session's user."""
    await conn.execute(_SET_LOCALE_OF_SESSION, {"session_hash": session_hash, "locale": locale})


async def users(conn: Conn, after: int, limit: int, project_id: int | None) -> list[User]:
    """Users with a role in the asker's projects, by id."""
    query = {"after": after, "limit": limit, "project_id": project_id}
    rows = await (await conn.execute(_USERS, query)).fetchall()
    return [
        User(
            row["id"],
            row["login"],
            row["display_name"],
            row["locale"],
            row["active"],
            row["created_at"],
            _grants(row),
        )
        for row in rows
    ]


async def audit_entries(conn: Conn, before: int, limit: int, wanted: AuditFilter) -> list[AuditEntry]:
    """Entries older than the one with id `before`, newest first."""
    query = {
        "before": before,
        "limit": limit,
        "project_id": wanted.project_id,
        "table_name": wanted.table_name,
        "row_id": wanted.row_id,
        "made_with": None if wanted.made_with is None else Jsonb(wanted.made_with),
        "user_id": wanted.user_id,
        "start": wanted.start,
        "end": wanted.end,
    }
    return [AuditEntry(**row) for row in await (await conn.execute(_AUDIT, query)).fetchall()]


async def user_names(conn: Conn, ids: Sequence[int]) -> dict[int, str]:
    """Display names of the users among `ids` that the asker may see."""
    rows = await (await conn.execute(_USER_NAMES, (list(ids),))).fetchall()
    return {row["id"]: row["display_name"] for row in rows}


async def project_id(conn: Conn, code: str) -> int | None:
    """Id of the project with this code."""
    row = await (await conn.execute(_PROJECT_ID, (code,))).fetchone()
    return None if row is None else int(row["id"])


async def project_of_person(conn: Conn, person_id: int) -> int | None:
    """Id of the project that the person belongs to."""
    row = await (await conn.execute(_PROJECT_OF_PERSON, (person_id,))).fetchone()
    return None if row is None else int(row["id"])


async def forget_answers(conn: Conn, days: int) -> int:
    """Deletes kept answers older than `days`."""
    return (await conn.execute(_FORGET_ANSWERS, (days,))).rowcount


async def forget_jobs(conn: Conn, days: int) -> int:
    """Deletes jobs that ended more than `days` ago."""
    return (await conn.execute(_FORGET_JOBS, (days,))).rowcount


def _one(row: dict[str, Any] | None) -> dict[str, Any]:
    assert row is not None, "INSERT … RETURNING gives a row"
    return row
