"""Work of validation: settling changed usage every minute, what stands each morning, whole periods at bill time."""

from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.jobs import Handler, JobContext, Scheduled, enqueue
from cloud.metering import rollups, settling

SETTLE = "metering.settle"
"""Job kind: roll-ups and rules follow usage that changed."""

_METERS_AT_ONCE = 2_000


async def ask_to_settle(conn: Conn) -> None:
    """Asks for changed usage to be settled soon, unless that is asked already."""
    await enqueue(conn, SETTLE, {}, dedupe_key="all")


async def settle(context: JobContext) -> dict[str, object]:
    """Settles what usage changed, some meters per transaction."""
    after, meters, changed = 0, 0, 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            chunk = await settling.changed_meters(conn, after, _METERS_AT_ONCE)
            if not chunk:
                return {"meters": meters, "findings": changed}
            spans = await settling.take(conn, chunk)
            changed += await settling.settle(conn, spans, datetime.now(UTC))
            await rollups.refresh(conn, spans)
        after, meters = chunk[-1], meters + len({span.meter_id for span in spans})


HANDLERS: dict[str, Handler] = {SETTLE: settle}

SCHEDULE: tuple[Scheduled, ...] = (Scheduled(SETTLE, "* * * * *"),)
