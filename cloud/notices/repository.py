"""SQL of notices as services and people see them: what was said, to whom, and what each wants."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.notices.records import Notice, NoticeFilter, Preference, Settings

# Who asks again for what was said gets nothing: the first text stands.
_INSERT: LiteralString = """
    INSERT INTO notice (project_id, person_id, account_id, kind, dedupe_key, language, subject, paragraphs, link, about,
                        about_id, batch, state, reason, ended_at)
    SELECT %(project_id)s, n.person_id, n.account_id, n.kind, n.dedupe_key, n.language, n.subject,
           ARRAY(SELECT jsonb_array_elements_text(n.paragraphs)), n.link, n.about, n.about_id, n.batch,
           n.state, n.reason,
           CASE WHEN n.state = 'suppressed' THEN now() END
    FROM jsonb_to_recordset(%(rows)s) AS n (person_id bigint, account_id bigint, kind text, dedupe_key text,
         language text, subject text, paragraphs jsonb, link text, about text, about_id bigint, batch text, state text,
         reason text)
    ON CONFLICT (project_id, dedupe_key) DO NOTHING
    RETURNING id, dedupe_key
"""
_SAID: LiteralString = """
    SELECT dedupe_key FROM notice WHERE project_id = %(project_id)s AND dedupe_key = ANY (%(keys)s)
"""
_NOTICE: LiteralString = """
    SELECT id, project_id, person_id, account_id, kind, dedupe_key, channel, language, subject, paragraphs, link, about,
           about_id, batch, state, reason, error, attempts, next_try_at, message_id, sent_to, created_at,
           queued_at, ended_at
    FROM notice
"""
_WANTED: LiteralString = """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
      AND (%(reason)s::text IS NULL OR reason = %(reason)s) AND (%(batch)s::text IS NULL OR batch = %(batch)s)
      AND (%(about)s::text IS NULL OR about = %(about)s) AND (%(about_id)s::bigint IS NULL OR about_id = %(about_id)s)
"""
_LISTED: LiteralString = _WANTED + " AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s"
_BY_ID: LiteralString = " WHERE id = %(id)s"
_LAST_ABOUT: LiteralString = """
    WHERE id IN (SELECT max(id) FROM notice
                 WHERE project_id = %(project_id)s AND about = %(about)s AND about_id = ANY (%(ids)s) GROUP BY about_id)
"""
_COUNTS: LiteralString = """
    SELECT state, count(*) AS found FROM notice
"""
_BY_STATE: LiteralString = " GROUP BY state"
# Under way or waiting: it goes out anyway.
_AGAIN: LiteralString = """
    UPDATE notice SET state = 'queued', attempts = 0, next_try_at = now(), queued_at = now(), ended_at = NULL,
                      reason = '', error = ''
    WHERE id = %(id)s AND state IN ('failed', 'given_up', 'suppressed')
"""
_AGAIN_ALL: LiteralString = """
    UPDATE notice SET state = 'queued', attempts = 0, next_try_at = now(), queued_at = now(), ended_at = NULL,
                      reason = '', error = ''
    WHERE id IN (SELECT id FROM notice WHERE project_id = %(project_id)s AND state = 'given_up'
                   AND (%(kind)s::text IS NULL OR kind = %(kind)s) ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
_PREFERENCES: LiteralString = """
    SELECT project_id, person_id, language, declined FROM notice_preference WHERE person_id = ANY (%s)
"""
_SET_PREFERENCE: LiteralString = """
    INSERT INTO notice_preference (project_id, person_id, language, declined)
    VALUES (%(project_id)s, %(person_id)s, %(language)s, %(declined)s)
    ON CONFLICT (person_id) DO UPDATE SET language = excluded.language, declined = excluded.declined, changed_at = now()
"""
_SETTINGS: LiteralString = """
    SELECT project_id, by_email, bills_on_issue, language, sender_name, reply_to
    FROM notice_setting WHERE project_id = %(project_id)s
"""
_SET_SETTINGS: LiteralString = """
    INSERT INTO notice_setting (project_id, by_email, bills_on_issue, language, sender_name, reply_to)
    VALUES (%(project_id)s, %(by_email)s, %(bills_on_issue)s, %(language)s, %(sender_name)s, %(reply_to)s)
    ON CONFLICT (project_id) DO UPDATE SET by_email = excluded.by_email, bills_on_issue = excluded.bills_on_issue,
        language = excluded.language, sender_name = excluded.sender_name, reply_to = excluded.reply_to
"""
_FORGET: LiteralString = """
    DELETE FROM notice WHERE created_at < now() - make_interval(days => %(days)s) AND ended_at IS NOT NULL
"""


async def insert(conn: Conn, project_id: int, rows: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """Writes notices and returns the ids of the new ones by key."""
    query = {"project_id": project_id, "rows": Jsonb(list(rows))}
    found = await (await conn.execute(_INSERT, query)).fetchall()
    return {row["dedupe_key"]: row["id"] for row in found}


async def said(conn: Conn, project_id: int, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that have been said."""
    found = await (await conn.execute(_SAID, {"project_id": project_id, "keys": list(keys)})).fetchall()
    return {row["dedupe_key"] for row in found}


async def notices(conn: Conn, page: PageRequest, wanted: NoticeFilter) -> Page[Notice]:
    """Notices, newest first."""
    return await newest_first(conn, _NOTICE + _LISTED, asdict(wanted), page, of_row)


async def notice(conn: Conn, notice_id: int) -> Notice | None:
    """One notice."""
    row = await (await conn.execute(_NOTICE + _BY_ID, {"id": notice_id})).fetchone()
    return None if row is None else of_row(row)


async def last_about(conn: Conn, project_id: int, about: str, ids: Sequence[int]) -> dict[int, Notice]:
    """The newest notice about each of `ids`."""
    query = {"project_id": project_id, "about": about, "ids": list(ids)}
    rows = await (await conn.execute(_NOTICE + _LAST_ABOUT, query)).fetchall()
    return {row["about_id"]: of_row(row) for row in rows}


async def counts(conn: Conn, wanted: NoticeFilter) -> dict[str, int]:
    """How many there are, by state."""
    rows = await (await conn.execute(_COUNTS + _WANTED + _BY_STATE, asdict(wanted))).fetchall()
    return {row["state"]: row["found"] for row in rows}


async def again(conn: Conn, notice_id: int) -> bool:
    """Makes a notice wait again; False when it does so already or was sent."""
    return (await conn.execute(_AGAIN, {"id": notice_id})).rowcount == 1


async def again_all(conn: Conn, project_id: int, kind: str | None, limit: int) -> int:
    """Makes those that were given up wait again; how many."""
    query = {"project_id": project_id, "kind": kind, "limit": limit}
    return (await conn.execute(_AGAIN_ALL, query)).rowcount


async def preferences(conn: Conn, person_ids: Sequence[int]) -> dict[int, Preference]:
    """What people want, of those who said so."""
    rows = await (await conn.execute(_PREFERENCES, (list(person_ids),))).fetchall()
    return {row["person_id"]: Preference(**{**row, "declined": tuple(row["declined"])}) for row in rows}


async def set_preference(conn: Conn, wanted: Preference) -> None:
    """Writes what a person wants."""
    await conn.execute(_SET_PREFERENCE, {**asdict(wanted), "declined": list(wanted.declined)})


async def settings(conn: Conn, project_id: int) -> Settings | None:
    """How a project writes, where somebody has set it."""
    row = await (await conn.execute(_SETTINGS, {"project_id": project_id})).fetchone()
    return None if row is None else Settings(**row)


async def set_settings(conn: Conn, wanted: Settings) -> None:
    """Writes how a project writes."""
    await conn.execute(_SET_SETTINGS, asdict(wanted))


async def forget(conn: Conn, days: int) -> int:
    """Deletes ended notices that are so old."""
    return (await conn.execute(_FORGET, {"days": days})).rowcount


def of_row(row: Mapping[str, Any]) -> Notice:
    """The record of a row."""
    return Notice(**{**row, "paragraphs": tuple(row["paragraphs"])})
