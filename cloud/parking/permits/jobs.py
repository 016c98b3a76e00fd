"""Work of permits: gateways with other lanes are told, cards renewed by themselves, holders reminded."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psycopg
import structlog

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking.permits import card_repository, telling
from cloud.parking.permits.cards import RENEWED_BEFORE, renew_by_itself
from cloud.parking.permits.reminding import remind

TELL = "parking.tell-permits"
TEND = "parking.tend-permits"
_log = structlog.get_logger(__name__)


async def tell_permits(context: JobContext) -> dict[str, object]:
    """Tells gateways whose lanes are of other lots than before all permits of these, in chunks."""
    return {"gateways": await _tell(context, all_gateways=False)}


async def tend_permits(context: JobContext) -> dict[str, object]:
    """Renews cards, reminds holders, and compares each gateway with what it was told."""
    renewed = await _each(context, _renewing, renews=True)
    reminded = await _each(context, _reminding, renews=False)
    return {
        **_named("renewed", renewed),
        **_named("reminded", reminded),
        "gateways": await _tell(context, all_gateways=True),
    }


async def _tell(context: JobContext, *, all_gateways: bool) -> int:
    told = 0
    for project_id in await _projects(context):
        async with context.db.transaction(context.asker) as conn:
            behind = await telling.behind(conn, project_id, all_gateways=all_gateways)
        for gateway_id, lot_ids in behind.items():
            after: int | None = 0
            while after is not None:
                async with context.db.transaction(context.asker) as conn:
                    now = datetime.now(UTC)
                    after = await telling.tell_chunk(conn, project_id, gateway_id, lot_ids, after, now)
            told += 1
    return told


async def _each(
    context: JobContext, work: Callable[[Conn, int, datetime], Awaitable[bool]], *, renews: bool
) -> tuple[int, int]:
    """Each card by itself: one that cannot be seen to does not keep the others. (done, failed)."""
    done = failed = 0
    for project_id in await _projects(context):
        after: int | None = 0
        while after is not None:
            now = datetime.now(UTC)
            async with context.db.transaction(context.asker) as conn:
                ids = await card_repository.ending(conn, project_id, now, RENEWED_BEFORE, after, renews=renews)
            for permit_id in ids:
                try:
                    async with context.db.transaction(context.asker) as conn:
                        done += await work(conn, permit_id, now)
                except (GatemeterError, psycopg.Error) as error:
                    failed += 1
                    _log.error("parking.permit_failed", permit=permit_id, error=str(error).strip())
            after = ids[-1] if ids else None
    return done, failed


async def _renewing(conn: Conn, permit_id: int, now: datetime) -> bool:
    return await renew_by_itself(conn, permit_id, now) is not None


async def _reminding(conn: Conn, permit_id: int, now: datetime) -> bool:
    return await remind(conn, permit_id, now)


async def _projects(context: JobContext) -> list[int]:
    async with context.db.transaction(context.asker) as conn:
        return [project.id for project in await estate.projects(conn)]


def _named(name: str, counts: tuple[int, int]) -> dict[str, object]:
    done, failed = counts
    return {name: done, f"not_{name}": failed}


HANDLERS: dict[str, Handler] = {TELL: tell_permits, TEND: tend_permits}

SCHEDULE = (Scheduled(TELL, "* * * * *"), Scheduled(TEND, "20 0 * * *"))
