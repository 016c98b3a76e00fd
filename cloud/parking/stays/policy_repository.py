"""SQL of policies of lots, and of all that matching has to know of the lots of a project."""

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn

_LOTS: LiteralString = """
    SELECT l.id, l.parent_id, p.content,
           EXISTS (SELECT FROM parking_lane a WHERE a.lot_id = l.id) AS gated
    FROM parking_lot l LEFT JOIN parking_lot_policy p ON p.lot_id = l.id
    WHERE l.project_id = %s
"""
_KEEP: LiteralString = """
    INSERT INTO parking_lot_policy (project_id, lot_id, content, changed_by) VALUES (%s, %s, %s, %s)
    ON CONFLICT (lot_id) DO UPDATE SET content = excluded.content, changed_by = excluded.changed_by, changed_at = now()
"""


@dataclass(frozen=True, slots=True)
class LotRow:
    """A lot; `content` is None where nobody has set its policy, `gated` says that it has lanes of its own."""

    id: int
    parent_id: int | None
    content: dict[str, Any] | None
    gated: bool


async def lots(conn: Conn, project_id: int) -> list[LotRow]:
    """All lots of a project."""
    return [LotRow(**row) for row in await (await conn.execute(_LOTS, (project_id,))).fetchall()]


async def policy(conn: Conn, lot_id: int) -> dict[str, Any] | None:
    """The policy of a lot as it is stored."""
    query = "SELECT content FROM parking_lot_policy WHERE lot_id = %s"
    row = await (await conn.execute(query, (lot_id,))).fetchone()
    return None if row is None else dict(row["content"])


async def keep_policy(conn: Conn, project_id: int, lot_id: int, content: dict[str, Any], actor: str) -> None:
    """Puts a policy in force."""
    await conn.execute(_KEEP, (project_id, lot_id, Jsonb(content), actor))
