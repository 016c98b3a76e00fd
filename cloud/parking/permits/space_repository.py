"""SQL of the numbered spaces of permits."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import psycopg

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict

# Another permit that has one of the spaces of this one while this one holds.
_IN_THE_WAY: LiteralString = """
    SELECT s.number, o.permit_id FROM permit_space m
    JOIN permit_space o ON o.space_id = m.space_id AND o.permit_id <> m.permit_id
                           AND o.valid && gm.permit_time(m.permit_id, m.since)
    JOIN parking_space s ON s.id = m.space_id
    WHERE m.permit_id = %s ORDER BY s.number, o.permit_id LIMIT 1
"""
_WRITE: LiteralString = """
    UPDATE permit_space SET valid = gm.permit_time(permit_id, since)
    WHERE permit_id = %s AND valid <> gm.permit_time(permit_id, since)
"""
# Spaces of lots that no other permit has from now on while this one holds (or ever, while there is no permit yet), that
# can be used, and that are nobody's or belong to who is asked for; his own first.
_OFFERED: LiteralString = """
    SELECT s.id FROM parking_space s
    JOIN project p ON p.id = s.project_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS held, coalesce(bool_or(h.person_id = %(person_id)s OR h.unit_id = %(unit_id)s), false) AS own
        FROM parking_space_holder h
        WHERE h.space_id = s.id AND h.valid @> (%(now)s::timestamptz AT TIME ZONE p.time_zone)::date) h
    WHERE s.lot_id = ANY (%(lots)s::bigint[]) AND s.state <> 'out-of-service' AND (h.held = 0 OR h.own)
      AND (%(number)s::text IS NULL OR starts_with(lower(s.number), lower(%(number)s)))
      AND NOT EXISTS (
        SELECT FROM permit_space o
        WHERE o.space_id = s.id
          AND (o.permit_id IS NOT DISTINCT FROM %(permit_id)s
               OR o.valid && CASE WHEN %(permit_id)s::bigint IS NULL THEN tstzmultirange(tstzrange(%(now)s, NULL))
                                  ELSE gm.permit_time(%(permit_id)s::bigint, %(now)s) END))
    ORDER BY h.own DESC, s.number, s.id LIMIT %(limit)s
"""


async def insert(conn: Conn, project_id: int, permit_id: int, space_ids: Sequence[int], since: datetime) -> None:
    """Spaces of a permit from a moment on, in no time yet; what it has already stays."""
    query = """INSERT INTO permit_space (project_id, permit_id, space_id, since)
               SELECT %s, %s, unnest(%s::bigint[]), %s ON CONFLICT (permit_id, space_id) DO NOTHING"""
    await conn.execute(query, (project_id, permit_id, list(space_ids), since))


async def delete(conn: Conn, permit_id: int, space_id: int) -> bool:
    """A space is not of the permit any more; whether it was. What is audited says that it was."""
    query = "DELETE FROM permit_space WHERE permit_id = %s AND space_id = %s"
    return (await conn.execute(query, (permit_id, space_id))).rowcount > 0


async def write_times(conn: Conn, permit_id: int) -> None:
    """Writes anew when the permit has its spaces. Raises Conflict when another permit has one of them then."""
    row = await (await conn.execute(_IN_THE_WAY, (permit_id,))).fetchone()
    if row is not None:
        detail = f"space {row['number']} is of permit {row['permit_id']} in this time"
        raise Conflict(
            "space-has-permit", detail, field="space_id", space=row["number"], permit=row["permit_id"]
        )  # fmt: skip
    try:
        async with conn.transaction():
            await conn.execute(_WRITE, (permit_id,))
    except psycopg.errors.ExclusionViolation as error:  # somebody was faster: his permit is not seen yet
        detail = "another permit is given one of these spaces now: try again"
        raise Conflict("space-has-permit", detail, field="space_id") from error


async def of_permit(conn: Conn, permit_id: int) -> list[int]:
    """Ids of the spaces of a permit."""
    rows = await conn.execute("SELECT space_id FROM permit_space WHERE permit_id = %s ORDER BY id", (permit_id,))
    return [row["space_id"] async for row in rows]


async def permits_of(conn: Conn, space_id: int) -> list[int]:
    """Permits that have a space or had it, the newest first."""
    rows = await conn.execute(
        "SELECT permit_id FROM permit_space WHERE space_id = %s ORDER BY permit_id DESC", (space_id,)
    )
    return [row["permit_id"] async for row in rows]


async def offered(
    conn: Conn,
    lot_ids: Sequence[int],
    limit: int,
    now: datetime,
    *,
    permit_id: int | None = None,
    person_id: int | None = None,
    unit_id: int | None = None,
    number: str | None = None,
) -> list[int]:
    """Ids of spaces that a permit may be given; `number` may be the beginning."""
    values = {"lots": list(lot_ids), "limit": limit, "now": now, "permit_id": permit_id, "person_id": person_id,
              "unit_id": unit_id, "number": number}  # fmt: skip
    return [row["id"] for row in await (await conn.execute(_OFFERED, values)).fetchall()]


async def match_written(conn: Conn, project_id: int) -> int:
    """Makes references of the numbers that permits have in writing, where they are clear; how many were found."""
    row = await (await conn.execute("SELECT gm.match_permit_spaces(%s) AS found", (project_id,))).fetchone()
    assert row is not None
    return int(row["found"])


async def set_written(conn: Conn, permit_id: int, text: str) -> None:
    """What is written of the spaces of a permit."""
    await conn.execute("UPDATE permit SET space = %s WHERE id = %s", (text, permit_id))
