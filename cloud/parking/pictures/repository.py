"""SQL of pictures: which are wanted, requests to gateways, what came, for how long it is kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from cloud.parking.stays.incident_repository import KINDS

# One that waits for its picture at a time, and not for ever: `after` a request that brought nothing it is asked again.
_WANTED: LiteralString = """
    SELECT p.id AS passage_id, p.project_id, l.device_id,
           CASE WHEN p.outcome = 'arrived' THEN 'waiting'
                WHEN p.incident = ANY (%(kinds)s) OR p.follows IS NOT NULL THEN 'incident' ELSE 'opened' END AS why
    FROM passage p JOIN parking_lane l ON l.id = p.lane_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS asked, max(r.asked_at) AS last FROM picture_request r WHERE r.passage_id = p.id) AS before
    WHERE p.image <> '' AND p.taken_at >= %(since)s AND l.retired_at IS NULL
      AND (p.outcome = 'arrived' AND p.taken_at >= %(waiting_since)s
           OR p.incident = ANY (%(kinds)s) OR p.follows IS NOT NULL
           OR EXISTS (SELECT FROM manual_opening o WHERE o.passage_id = p.id))
      AND NOT EXISTS (SELECT FROM passage_picture c WHERE c.passage_id = p.id)
      AND before.asked < %(tries)s AND (before.last IS NULL OR before.last < %(after)s)
    ORDER BY p.taken_at DESC, p.id LIMIT %(limit)s
"""
_ONE: LiteralString = """
    SELECT p.id AS passage_id, p.project_id, l.device_id, 'asked' AS why
    FROM passage p JOIN parking_lane l ON l.id = p.lane_id
    WHERE p.id = %s AND p.image <> ''
"""
_REQUEST: LiteralString = """
    INSERT INTO picture_request (project_id, passage_id, why, asked_by, asked_at, expires_at)
    VALUES (%(project_id)s, %(passage_id)s, %(why)s, %(actor)s, %(at)s, %(expires_at)s) RETURNING id
"""
_USE: LiteralString = """
    UPDATE picture_request SET used_at = now()
    WHERE id = %(id)s AND project_id = %(project_id)s AND passage_id = %(passage_id)s AND used_at IS NULL
    RETURNING id
"""
_KEEP: LiteralString = """
    INSERT INTO passage_picture (passage_id, project_id, content, sha256)
    VALUES (%(passage_id)s, %(project_id)s, %(content)s, %(sha256)s) ON CONFLICT (passage_id) DO NOTHING
"""
# Pictures are large: some in one transaction.
_FORGET: LiteralString = """
    DELETE FROM passage_picture WHERE passage_id IN (
        SELECT c.passage_id FROM passage_picture c LEFT JOIN picture_policy y ON y.project_id = c.project_id
        WHERE c.stored_at < %(now)s - make_interval(days => coalesce(y.kept_days, %(usual)s))
        ORDER BY c.stored_at LIMIT %(limit)s)
"""
_SET_POLICY: LiteralString = """
    INSERT INTO picture_policy (project_id, kept_days) VALUES (%(project_id)s, %(days)s)
    ON CONFLICT (project_id) DO UPDATE SET kept_days = excluded.kept_days
"""


@dataclass(frozen=True, slots=True)
class WantedPicture:
    """A passage whose picture lies at its gateway, and why it is wanted."""

    passage_id: UUID
    project_id: int
    device_id: int
    why: str


async def wanted(
    conn: Conn, since: datetime, waiting_since: datetime, asked_before: datetime, tries: int, limit: int
) -> list[WantedPicture]:
    """Pictures of vehicles that wait at barriers, of incidents and of openings by hand, which are not here yet."""
    query = {
        "since": since,
        "waiting_since": waiting_since,
        "after": asked_before,
        "tries": tries,
        "limit": limit,
        "kinds": list(KINDS),
    }
    return [WantedPicture(**row) for row in await (await conn.execute(_WANTED, query)).fetchall()]


async def one(conn: Conn, passage_id: UUID) -> WantedPicture | None:
    """A passage whose gateway has a picture."""
    row = await (await conn.execute(_ONE, (passage_id,))).fetchone()
    return None if row is None else WantedPicture(**row)


async def insert_request(conn: Conn, picture: WantedPicture, actor: str, at: datetime, expires_at: datetime) -> int:
    """A new request; its id is part of the link."""
    query = {
        "project_id": picture.project_id,
        "passage_id": picture.passage_id,
        "why": picture.why,
        "actor": actor,
        "at": at,
        "expires_at": expires_at,
    }
    row = await (await conn.execute(_REQUEST, query)).fetchone()
    assert row is not None
    return int(row["id"])


async def note_order(conn: Conn, request_id: int, command_id: UUID) -> None:
    """The order that carries the link."""
    await conn.execute("UPDATE picture_request SET command_id = %s WHERE id = %s", (command_id, request_id))


async def pending(conn: Conn, passage_id: UUID, now: datetime) -> bool:
    """Whether a link for this picture is on its way."""
    query = """SELECT id FROM picture_request WHERE passage_id = %s AND used_at IS NULL AND command_id IS NOT NULL
               AND expires_at > %s LIMIT 1"""
    return await (await conn.execute(query, (passage_id, now))).fetchone() is not None


async def use(conn: Conn, project_id: int, passage_id: UUID, request_id: int) -> bool:
    """Uses up a request; False when it was used before or is none."""
    query = {"id": request_id, "project_id": project_id, "passage_id": passage_id}
    return await (await conn.execute(_USE, query)).fetchone() is not None


async def keep(conn: Conn, project_id: int, passage_id: UUID, content: bytes, sha256: bytes) -> None:
    """Keeps a picture; the first one of a passage stays."""
    query = {"project_id": project_id, "passage_id": passage_id, "content": content, "sha256": sha256}
    await conn.execute(_KEEP, query)


async def content(conn: Conn, passage_id: UUID) -> bytes | None:
    """A picture."""
    query = "SELECT content FROM passage_picture WHERE passage_id = %s"
    row = await (await conn.execute(query, (passage_id,))).fetchone()
    return None if row is None else bytes(row["content"])


async def is_here(conn: Conn, passage_id: UUID) -> bool:
    """Whether there is a picture, without reading it."""
    query = "SELECT passage_id FROM passage_picture WHERE passage_id = %s"
    return await (await conn.execute(query, (passage_id,))).fetchone() is not None


async def forget(conn: Conn, now: datetime, usual_days: int, limit: int) -> int:
    """Deletes pictures that were kept for long enough, the oldest first; answers how many."""
    return (await conn.execute(_FORGET, {"now": now, "usual": usual_days, "limit": limit})).rowcount


async def kept_days(conn: Conn, project_id: int) -> int | None:
    """What a project says, None when it says nothing."""
    row = await (
        await conn.execute("SELECT kept_days FROM picture_policy WHERE project_id = %s", (project_id,))
    ).fetchone()
    return None if row is None else int(row["kept_days"])


async def set_kept_days(conn: Conn, project_id: int, days: int) -> None:
    """For how many days pictures of a project are kept."""
    await conn.execute(_SET_POLICY, {"project_id": project_id, "days": days})
