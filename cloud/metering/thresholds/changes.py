"""Usage after a change of thresholds it is derived by: gaps get their new shape, values below 0 are looked at again."""

from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.jobs import Handler, JobContext, enqueue
from cloud.metering import service
from cloud.metering.validation.thresholds import Thresholds, class_of

DERIVE_AGAIN = "metering.derive-again"
"""Job kind: thresholds changed; payload `meter_class` or `meter_id`, and `signed`: values below 0 are meant too."""

_METERS: LiteralString = "SELECT id, medium, class FROM meter WHERE project_id = %s ORDER BY id"
_GAPS: LiteralString = """
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
    SELECT g.meter_id, g.channel, %(project_id)s, g.from_at, g.until_at FROM store.estimated_gap g
    WHERE g.meter_id = ANY (%(meters)s)
"""
_BELOW_ZERO: LiteralString = """
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
    SELECT r.meter_id, r.channel, %(project_id)s, min(r.taken_at), max(r.taken_at)
    FROM store.reading r JOIN channel c ON c.id = r.channel AND c.kind = 'cumulative'
    WHERE r.meter_id = ANY (%(meters)s) AND r.value < 0
    GROUP BY r.meter_id, r.channel
"""


async def note(
    conn: Conn, project_id: int, before: Thresholds, after: Thresholds, *, meter_class: str = "", meter_id: int = 0
) -> None:
    """Asks for usage of a class or a meter to be derived again where it hangs on what changed, if anything did."""
    signed = before.bidirectional != after.bidirectional
    if signed or before.day() != after.day():
        payload = {"meter_class": meter_class, "meter_id": meter_id, "signed": signed}
        await enqueue(conn, DERIVE_AGAIN, payload, project_id=project_id)


async def derive_again(context: JobContext) -> dict[str, object]:
    """Marks what has to be derived again."""
    assert context.project_id is not None
    named = context.payload
    async with context.db.transaction(context.asker) as conn:
        rows = await (await conn.execute(_METERS, (context.project_id,))).fetchall()
        meters = [
            row["id"]
            for row in rows
            if row["id"] == named["meter_id"] or class_of(row["medium"], row["class"]) == named["meter_class"]
        ]
        query = {"project_id": context.project_id, "meters": meters}
        marked = (await conn.execute(_GAPS, query)).rowcount
        if named["signed"]:
            marked += (await conn.execute(_BELOW_ZERO, query)).rowcount
        if marked:
            await service.ask_for_usage(conn)
    return {"meters": len(meters), "marked": marked}


HANDLERS: dict[str, Handler] = {DERIVE_AGAIN: derive_again}
