"""Work of reservations: places of those who did not come are given up, and gateways know who is awaited."""

from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking.every_project import in_every_project
from cloud.parking.reservations import service

SETTLE = "parking.settle-reservations"


async def settle(context: JobContext) -> dict[str, object]:
    """Looks at every project, each in a transaction of its own."""
    return await in_every_project(context, "missed", service.settle)


HANDLERS: dict[str, Handler] = {SETTLE: settle}

SCHEDULE = (Scheduled(SETTLE, "* * * * *"),)
