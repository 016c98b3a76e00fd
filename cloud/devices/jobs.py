"""Work of devices: what gateways were told to be gone is forgotten in time."""

from cloud.devices import access
from cloud.kit.jobs import Handler, JobContext, Scheduled

FORGET_GONE = "devices.forget-gone"


async def forget_gone(context: JobContext) -> dict[str, object]:
    """Forgets what has been gone for 30 days, of all gateways."""
    async with context.db.transaction(context.asker) as conn:
        return {"forgotten": await access.forget_gone(conn)}


HANDLERS: dict[str, Handler] = {FORGET_GONE: forget_gone}

SCHEDULE = (Scheduled(FORGET_GONE, "41 3 * * *"),)
