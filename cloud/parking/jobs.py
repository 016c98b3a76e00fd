"""Work of parking: nobody who owes nothing waits at an exit, be it that an order was lost or the cloud is away."""

from datetime import datetime

from cloud.kit.db import Conn
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking import service
from cloud.parking.charging import debts
from cloud.parking.edge import telling as edge
from cloud.parking.every_project import in_every_project
from cloud.parking.lists import telling as lists
from cloud.parking.permits import jobs as permits
from cloud.parking.pictures import jobs as pictures
from cloud.parking.reservations import jobs as reservations
from cloud.parking.visitors import jobs as visitors
from cloud.parking.visitors.telling import tell_passes

LET_OUT = "parking.let-out-waiting"
TELL = "parking.tell-gateways"
RELEASE = "parking.release-surplus"


async def let_out(context: JobContext) -> dict[str, object]:
    """Orders again what expired or failed while the vehicle still stands at the exit."""
    return await in_every_project(context, "opened", service.let_out_waiting)


async def tell_gateways(context: JobContext) -> dict[str, object]:
    """Tells gateways what their lanes need to know to decide without the cloud."""

    async def tell_lots_and_stays(conn: Conn, project_id: int, now: datetime) -> int:
        return await edge.tell_in_turn(conn, context.db, context.asker, project_id, now)

    return await in_every_project(context, "told", tell_lots_and_stays, lists.tell_lists, _tell_owing, tell_passes)


async def release_surplus(context: JobContext) -> dict[str, object]:
    """Puts what was paid for stays that turned out cheaper into the refund queue."""
    return await in_every_project(context, "stays", debts.release_surplus)


async def _tell_owing(conn: Conn, project_id: int, _: datetime) -> int:
    return await debts.tell_owing(conn, project_id)


HANDLERS: dict[str, Handler] = {
    LET_OUT: let_out,
    TELL: tell_gateways,
    RELEASE: release_surplus,
    **reservations.HANDLERS,
    **permits.HANDLERS,
    **pictures.HANDLERS,
    **visitors.HANDLERS,
}

SCHEDULE = (
    Scheduled(LET_OUT, "* * * * *"),
    Scheduled(TELL, "* * * * *"),
    Scheduled(RELEASE, "20 * * * *"),
    *reservations.SCHEDULE,
    *permits.SCHEDULE,
    *pictures.SCHEDULE,
)
