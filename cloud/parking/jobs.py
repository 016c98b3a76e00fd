"""Work of parking: nobody who owes nothing waits at an exit, be it that an order was lost or the cloud is away."""

from datetime import UTC, datetime

from cloud.estate import service as estate
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking import service
from cloud.parking.charging import debts
from cloud.parking.edge import telling as edge
from cloud.parking.lists import telling as lists
from cloud.parking.permits import jobs as permits
from cloud.parking.pictures import jobs as pictures
from cloud.parking.reservations import jobs as reservations
from cloud.parking.visitors.telling import tell_passes

LET_OUT = "parking.let-out-waiting"
TELL = "parking.tell-gateways"
RELEASE = "parking.release-surplus"


async def let_out(context: JobContext) -> dict[str, object]:
    """Orders again what expired or failed while the vehicle still stands at the exit, project by project."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    opened = 0
    for project in projects:
        async with context.db.transaction(context.asker) as conn:
            opened += await service.let_out_waiting(conn, project.id, datetime.now(UTC))
    return {"opened": opened}


async def tell_gateways(context: JobContext) -> dict[str, object]:
    """Tells gateways what their lanes need to know to decide without the cloud, project by project."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    told = 0
    for project in projects:
        async with context.db.transaction(context.asker) as conn:
            now = datetime.now(UTC)
            told += await edge.tell_gateways(conn, project.id, now)
            told += await lists.tell_lists(conn, project.id, now)
            told += await debts.tell_owing(conn, project.id)
            told += await tell_passes(conn, project.id, now)
    return {"told": told}


async def release_surplus(context: JobContext) -> dict[str, object]:
    """Puts what was paid for stays that turned out cheaper into the refund queue, project by project."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    stays = 0
    for project in projects:
        async with context.db.transaction(context.asker) as conn:
            stays += await debts.release_surplus(conn, project.id, datetime.now(UTC))
    return {"stays": stays}


HANDLERS: dict[str, Handler] = {
    LET_OUT: let_out,
    TELL: tell_gateways,
    RELEASE: release_surplus,
    **reservations.HANDLERS,
    **permits.HANDLERS,
    **pictures.HANDLERS,
}

SCHEDULE = (
    Scheduled(LET_OUT, "* * * * *"),
    Scheduled(TELL, "* * * * *"),
    Scheduled(RELEASE, "20 * * * *"),
    *reservations.SCHEDULE,
    *permits.SCHEDULE,
    *pictures.SCHEDULE,
)
