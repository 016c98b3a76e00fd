"""Work of parking: nobody who owes nothing waits at an exit because an order to open was lost."""

from datetime import UTC, datetime

from cloud.estate import service as estate
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking import service

LET_OUT = "parking.let-out-waiting"


async def let_out(context: JobContext) -> dict[str, object]:
    """Orders again what expired or failed while the vehicle still stands at the exit, project by project."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    opened = 0
    for project in projects:
        async with context.db.transaction(context.asker) as conn:
            opened += await service.let_out_waiting(conn, project.id, datetime.now(UTC))
    return {"opened": opened}


HANDLERS: dict[str, Handler] = {LET_OUT: let_out}

SCHEDULE = (Scheduled(LET_OUT, "* * * * *"),)
