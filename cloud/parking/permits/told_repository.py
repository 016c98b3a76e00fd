"""SQL of what gateways were told of permits."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

from cloud.kit.db import Conn

_LOTS: LiteralString = "SELECT permit_id, lot_id FROM permit_lot WHERE permit_id = ANY (%s::bigint[])"
_TOLD: LiteralString = "SELECT permit_id, entries FROM permit_told WHERE permit_id = ANY (%s::bigint[])"
_NOTE: LiteralString = """
    INSERT INTO permit_told AS t (permit_id, project_id, entries)
    SELECT n.permit_id, %(project_id)s, n.entries
    FROM unnest(%(permits)s::bigint[], %(entries)s::int[]) AS n (permit_id, entries)
    ON CONFLICT (permit_id) DO UPDATE SET entries = excluded.entries WHERE t.entries <> excluded.entries
"""
# Permits of lots in chunks by id, locked: nobody changes one between the reading of it and the telling.
_OF_LOTS: LiteralString = """
    SELECT p.id FROM permit p
    WHERE p.project_id = %(project_id)s AND p.id > %(after)s
      AND EXISTS (SELECT FROM permit_lot l WHERE l.permit_id = p.id AND l.lot_id = ANY (%(lots)s::bigint[]))
    ORDER BY p.id LIMIT %(limit)s FOR SHARE OF p
"""
_SERVED: LiteralString = "SELECT gateway_id, lot_ids FROM permit_gateway WHERE project_id = %s"
_SERVES: LiteralString = """
    INSERT INTO permit_gateway (gateway_id, project_id, lot_ids) VALUES (%(gateway_id)s, %(project_id)s, %(lots)s)
    ON CONFLICT (gateway_id) DO UPDATE SET lot_ids = excluded.lot_ids
"""


async def lots_of(conn: Conn, permit_ids: Sequence[int]) -> dict[int, set[int]]:
    """The lots of permits."""
    found: dict[int, set[int]] = {}
    for row in await (await conn.execute(_LOTS, (list(permit_ids),))).fetchall():
        found.setdefault(row["permit_id"], set()).add(row["lot_id"])
    return found


async def entries_told(conn: Conn, permit_ids: Sequence[int]) -> dict[int, int]:
    """How many entries gateways hold of permits; those that were never told are missing."""
    rows = await (await conn.execute(_TOLD, (list(permit_ids),))).fetchall()
    return {row["permit_id"]: row["entries"] for row in rows}


async def note_told(conn: Conn, project_id: int, entries: Mapping[int, int]) -> None:
    """Keeps how many entries gateways hold of permits."""
    values = {"project_id": project_id, "permits": list(entries), "entries": list(entries.values())}
    await conn.execute(_NOTE, values)


async def permits_of_lots(conn: Conn, project_id: int, lot_ids: Sequence[int], after: int, limit: int) -> list[int]:
    """Ids of permits of any of these lots, by id, above `after`; they cannot change before this transaction ends."""
    values = {"project_id": project_id, "lots": list(lot_ids), "after": after, "limit": limit}
    return [row["id"] for row in await (await conn.execute(_OF_LOTS, values)).fetchall()]


async def served(conn: Conn, project_id: int) -> dict[int, set[int]]:
    """The lots of whose permits each gateway was told."""
    rows = await (await conn.execute(_SERVED, (project_id,))).fetchall()
    return {row["gateway_id"]: set(row["lot_ids"]) for row in rows}


async def note_served(conn: Conn, project_id: int, gateway_id: int, lot_ids: Sequence[int]) -> None:
    """A gateway was told all permits of these lots, and of no others."""
    await conn.execute(_SERVES, {"gateway_id": gateway_id, "project_id": project_id, "lots": list(lot_ids)})
