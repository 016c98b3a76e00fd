"""Work of webhooks beside sending: deliveries that ended long ago are forgotten."""

from typing import Final

from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.webhooks import delivery_repository

FORGET: Final = "webhooks.forget"
KEPT_DAYS: Final = 30


async def forget(context: JobContext) -> dict[str, object]:
    """Deletes deliveries and events that are too old."""
    async with context.db.transaction(context.asker) as conn:
        deliveries, events = await delivery_repository.forget(conn, KEPT_DAYS)
    return {"deliveries": deliveries, "events": events}


HANDLERS: dict[str, Handler] = {FORGET: forget}

SCHEDULE: tuple[Scheduled, ...] = (Scheduled(FORGET, "50 3 * * *"),)
