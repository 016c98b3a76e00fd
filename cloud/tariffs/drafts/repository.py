"""All SQL of drafts of tariff versions."""

from datetime import date
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.tariffs.drafts.records import Draft, DraftState, NewDraft

_DRAFT: LiteralString = """
    SELECT draft.id, project_id, code, name, valid_from, content, draft.state, revision, copied_from, author, authors,
           app_user.display_name AS author_name, decided_by, decided_at, reason, version_id, draft.created_at,
           changed_at
    FROM tariff_draft draft LEFT JOIN app_user ON app_user.id = draft.author
"""
_INSERT: LiteralString = """
    INSERT INTO tariff_draft (project_id, code, name, valid_from, content, copied_from, author, authors)
    VALUES (%(project_id)s, %(code)s, %(name)s, %(valid_from)s, %(content)s, %(copied_from)s, %(author)s,
            array_remove(ARRAY[%(author)s::bigint], NULL))
    RETURNING id
"""
# The revision that was read must still be the one that stands: of two who save, the second is told.
_CHANGE: LiteralString = """
    UPDATE tariff_draft SET code = %(code)s, name = %(name)s, valid_from = %(valid_from)s, content = %(content)s,
           author = %(author)s,
           authors = array_remove(array_append(array_remove(authors, %(author)s), %(author)s), NULL),
           state = 'draft', revision = revision + 1, changed_at = now()
    WHERE id = %(id)s AND revision = %(revision)s
    RETURNING id
"""
_DECIDE: LiteralString = """
    UPDATE tariff_draft SET state = %(state)s, decided_by = %(by)s, decided_at = now(), reason = %(reason)s,
           version_id = %(version_id)s, revision = revision + 1, changed_at = now()
    WHERE id = %(id)s
"""
_OWN_APPROVED: LiteralString = "SELECT own_tariffs_approved AS allowed FROM project WHERE id = %s"
_SET_OWN_APPROVED: LiteralString = "UPDATE project SET own_tariffs_approved = %s WHERE id = %s RETURNING id"
_CHARGED_UNTIL: LiteralString = """
    SELECT gm.tariff_charged_until(tariff.id) AS day FROM tariff WHERE project_id = %s AND code = %s
"""


async def insert(conn: Conn, new: NewDraft, author: int | None) -> int:
    """Keeps a new draft; its id."""
    values = {
        "project_id": new.project_id,
        "code": new.code,
        "name": new.name,
        "valid_from": new.valid_from,
        "content": Jsonb(new.content),
        "copied_from": new.copied_from,
        "author": author,
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def change(conn: Conn, draft_id: int, new: NewDraft, author: int | None, revision: int) -> bool:
    """Writes the draft anew; False when it was changed since that revision."""
    values = {
        "id": draft_id,
        "code": new.code,
        "name": new.name,
        "valid_from": new.valid_from,
        "content": Jsonb(new.content),
        "author": author,
        "revision": revision,
    }
    return await (await conn.execute(_CHANGE, values)).fetchone() is not None


async def decide(
    conn: Conn, draft_id: int, state: DraftState, by: int | None, reason: str = "", version_id: int | None = None
) -> None:
    """Sets the state, and who did that and why."""
    values = {"id": draft_id, "state": state, "by": by, "reason": reason, "version_id": version_id}
    await conn.execute(_DECIDE, values)


async def draft(conn: Conn, draft_id: int, *, lock: bool = False) -> Draft | None:
    """One draft; locked, decisions about it take turns."""
    query = _DRAFT + ("WHERE draft.id = %s FOR UPDATE OF draft" if lock else "WHERE draft.id = %s")
    row = await (await conn.execute(query, (draft_id,))).fetchone()
    return None if row is None else _draft(row)


async def drafts(conn: Conn, project_id: int | None, state: str | None, *, before: int, limit: int) -> list[Draft]:
    """Drafts, newest first."""
    query = (
        _DRAFT
        + """
        WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
          AND (%(state)s::text IS NULL OR draft.state = %(state)s) AND draft.id < %(before)s
        ORDER BY draft.id DESC LIMIT %(limit)s
        """
    )
    values = {"project_id": project_id, "state": state, "before": before, "limit": limit}
    return [_draft(row) for row in await (await conn.execute(query, values)).fetchall()]


async def own_approved(conn: Conn, project_id: int) -> bool:
    """Whether authors may approve what they wrote."""
    row = await (await conn.execute(_OWN_APPROVED, (project_id,))).fetchone()
    return row is not None and bool(row["allowed"])


async def set_own_approved(conn: Conn, project_id: int, allowed: bool) -> bool:
    """Says so; False when there is no such project."""
    return await (await conn.execute(_SET_OWN_APPROVED, (allowed, project_id))).fetchone() is not None


async def charged_until(conn: Conn, project_id: int, code: str) -> date | None:
    """The last day that bills charge by the tariff of this code; None where there is none."""
    row = await (await conn.execute(_CHARGED_UNTIL, (project_id, code))).fetchone()
    return None if row is None else row["day"]


def _draft(row: dict[str, Any]) -> Draft:
    return Draft(**{**row, "authors": frozenset(row["authors"])})
