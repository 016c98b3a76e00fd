"""Work of reservations: places of those who did not come are given up, and gateways know who is awaited."""

from datetime import UTC, datetime

from cloud.estate import service as estate
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking.reservations import service

SETTLE = "parking.settle-reservations"


async def settle(context: JobContext) -> dict[str, object]:
    """Looks at every project, each in a transaction of its own."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    missed = 0
    for project in projects:
        async with context.db.transaction(context.asker) as conn:
            missed += await service.settle(conn, project.id, datetime.now(UTC))
    return {"missed": missed}


HANDLERS: dict[str, Handler] = {SETTLE: settle}

SCHEDULE = (Scheduled(SETTLE, "* * * * *"),)
