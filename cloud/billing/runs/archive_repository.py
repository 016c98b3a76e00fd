"""SQL of the archives of bill runs: what was asked for, and the file in parts."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.billing.documents.model import Language
from cloud.kit.db import Conn


@dataclass(frozen=True, slots=True)
class Archive:
    """All bills of a run as one ZIP; `finished_at` is None while it is written, `done` of `of` bills so far."""

    id: int
    project_id: int
    run_id: int
    language: Language
    public_url: str | None
    job_id: int | None
    bills: int
    bytes: int
    created_at: datetime
    finished_at: datetime | None
    job_state: str | None
    done: int
    of: int


_ARCHIVE: LiteralString = """
    SELECT a.id, a.project_id, a.run_id, a.language, a.public_url, a.job_id, a.bills, a.bytes, a.created_at,
           a.finished_at, j.state AS job_state, coalesce(j.progress, 0) AS done, coalesce(j.total, 0) AS of
    FROM bill_archive a LEFT JOIN job j ON j.id = a.job_id
"""
# Asked for again, it is written again: the bills may have changed since.
_ASK: LiteralString = """
    INSERT INTO bill_archive (project_id, run_id, language, public_url, created_by)
    VALUES (%(project_id)s, %(run_id)s, %(language)s, %(public_url)s, %(created_by)s)
    ON CONFLICT (run_id, language) DO UPDATE
    SET public_url = excluded.public_url, created_by = excluded.created_by, created_at = now(), finished_at = NULL
    RETURNING id
"""
_FINISH: LiteralString = """
    UPDATE bill_archive SET bills = %(bills)s, finished_at = now(),
           bytes = (SELECT coalesce(sum(length(content)), 0) FROM bill_archive_part WHERE archive_id = %(id)s)
    WHERE id = %(id)s
"""
_ADD_PART: LiteralString = """
    INSERT INTO bill_archive_part (project_id, archive_id, position, content)
    VALUES (%(project_id)s, %(archive_id)s, %(position)s, %(content)s)
"""
_PART: LiteralString = "SELECT content FROM bill_archive_part WHERE archive_id = %s AND position = %s"
_BILLS: LiteralString = "SELECT id FROM bill WHERE run_id = %s ORDER BY number, id"
_FORGET: LiteralString = "DELETE FROM bill_archive WHERE created_at < %s"


async def ask(
    conn: Conn, project_id: int, run_id: int, language: Language, public_url: str | None, created_by: int | None
) -> int:
    """The archive of a run in a language, to be written or written again."""
    values = {
        "project_id": project_id,
        "run_id": run_id,
        "language": language,
        "public_url": public_url,
        "created_by": created_by,
    }
    row = await (await conn.execute(_ASK, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def set_job(conn: Conn, archive_id: int, job_id: int) -> None:
    """Which job writes it."""
    await conn.execute("UPDATE bill_archive SET job_id = %s WHERE id = %s", (job_id, archive_id))


async def archive(conn: Conn, archive_id: int) -> Archive | None:
    """One archive."""
    row = await (await conn.execute(_ARCHIVE + "WHERE a.id = %s", (archive_id,))).fetchone()
    return None if row is None else Archive(**row)


async def archives(conn: Conn, run_id: int) -> list[Archive]:
    """The archives of a run, one per language at most."""
    rows = await (await conn.execute(_ARCHIVE + "WHERE a.run_id = %s ORDER BY a.language", (run_id,))).fetchall()
    return [Archive(**row) for row in rows]


async def bill_ids(conn: Conn, run_id: int) -> list[int]:
    """The bills of a run by number, drafts last."""
    return [row["id"] for row in await (await conn.execute(_BILLS, (run_id,))).fetchall()]


async def clear_parts(conn: Conn, archive_id: int) -> None:
    """Deletes what an earlier attempt wrote."""
    await conn.execute("DELETE FROM bill_archive_part WHERE archive_id = %s", (archive_id,))


async def add_part(conn: Conn, found: Archive, position: int, content: bytes) -> None:
    """The next part of the file."""
    values = {"project_id": found.project_id, "archive_id": found.id, "position": position, "content": content}
    await conn.execute(_ADD_PART, values)


async def part(conn: Conn, archive_id: int, position: int) -> bytes | None:
    """A part of the file; None behind its end."""
    row = await (await conn.execute(_PART, (archive_id, position))).fetchone()
    return None if row is None else bytes(row["content"])


async def finish(conn: Conn, archive_id: int, bills: int) -> None:
    """Marks it as whole."""
    await conn.execute(_FINISH, {"id": archive_id, "bills": bills})


async def forget(conn: Conn, before: datetime) -> int:
    """Deletes archives that were asked for before an instant; returns how many."""
    return (await conn.execute(_FORGET, (before,))).rowcount
