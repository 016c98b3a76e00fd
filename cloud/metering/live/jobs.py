"""Stored readings told to webhooks, and batches forgotten that everybody has read."""

from typing import Final, LiteralString

from cloud.kit.db import Conn
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.metering.live import batches as live_batches
from cloud.metering.live.models import shown_points
from cloud.webhooks import service as webhooks

TELL_STORED: Final = "metering.tell-stored"
KIND: Final = "reading.stored"
MOST_IN_EVENT: Final = 500

_POSITION: LiteralString = """
    SELECT seen::text AS position FROM webhook_reading_position
    WHERE project_id = %(project_id)s AND pg_snapshot_xmax(seen) <= pg_snapshot_xmax(pg_current_snapshot()) FOR UPDATE
"""
_MOVE: LiteralString = """
    INSERT INTO webhook_reading_position (project_id, seen) VALUES (%(project_id)s, %(position)s::pg_snapshot)
    ON CONFLICT (project_id) DO UPDATE SET seen = excluded.seen
"""
_FORGET_OTHERS: LiteralString = "DELETE FROM webhook_reading_position WHERE NOT project_id = ANY (%(projects)s)"


async def tell_stored(context: JobContext) -> dict[str, object]:
    """Tells what was stored since the last time, project by project, and forgets old batches."""
    told = 0
    async with context.db.transaction(context.asker) as conn:
        wanting = await webhooks.projects_wanting(conn, KIND)
        await conn.execute(_FORGET_OTHERS, {"projects": wanting})
    for project_id in wanting:
        async with context.db.transaction(context.asker) as conn:
            told += await tell_project(conn, project_id)
    async with context.db.transaction(context.asker) as conn:
        return {"projects": len(wanting), "readings": told, "forgotten": await live_batches.forget(conn)}


async def tell_project(conn: Conn, project_id: int) -> int:
    """Emits what was stored in a project since it was told last; the first time only remembers where that is."""
    row = await (await conn.execute(_POSITION, {"project_id": project_id})).fetchone()
    if row is None:
        await conn.execute(_MOVE, {"project_id": project_id, "position": await live_batches.position(conn)})
        return 0
    reached, told, waiting = row["position"], 0, list[dict[str, object]]()
    async for now, points in live_batches.each(conn, [project_id], row["position"]):
        reached = now
        waiting += [] if points is None else shown_points(points)
        while len(waiting) >= MOST_IN_EVENT:
            told += await _tell(conn, project_id, waiting[:MOST_IN_EVENT])
            del waiting[:MOST_IN_EVENT]
    if waiting:
        told += await _tell(conn, project_id, waiting)
    await conn.execute(_MOVE, {"project_id": project_id, "position": reached})
    return told


async def _tell(conn: Conn, project_id: int, readings: list[dict[str, object]]) -> int:
    await webhooks.emit(conn, project_id, KIND, {"readings": readings})
    return len(readings)


HANDLERS: dict[str, Handler] = {TELL_STORED: tell_stored}

SCHEDULE: tuple[Scheduled, ...] = (Scheduled(TELL_STORED, "* * * * *"),)
