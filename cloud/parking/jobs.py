"""Work of parking: nobody who owes nothing waits at an exit, be it that an order was lost or the cloud is away."""

from datetime import UTC, datetime

from cloud.estate import service as estate
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking import service
from cloud.parking.edge import telling as edge
from cloud.parking.lists import telling as lists
from cloud.parking.pictures import service as pictures
from cloud.parking.reservations import jobs as reservations

LET_OUT = "parking.let-out-waiting"
TELL = "parking.tell-gateways"
FORGET_PICTURES = "parking.forget-pictures"

_PICTURES_AT_ONCE = 200


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
    return {"told": told}


async def forget_pictures(context: JobContext) -> dict[str, object]:
    """Deletes pictures of vehicles that were kept for as long as their project says."""
    gone = 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            some = await pictures.forget(conn, datetime.now(UTC), _PICTURES_AT_ONCE)
        gone += some
        if some < _PICTURES_AT_ONCE:
            return {"gone": gone}


HANDLERS: dict[str, Handler] = {
    LET_OUT: let_out,
    TELL: tell_gateways,
    FORGET_PICTURES: forget_pictures,
    **reservations.HANDLERS,
}

SCHEDULE = (
    Scheduled(LET_OUT, "* * * * *"),
    Scheduled(TELL, "* * * * *"),
    Scheduled(FORGET_PICTURES, "40 19 * * *"),
    *reservations.SCHEDULE,
)
