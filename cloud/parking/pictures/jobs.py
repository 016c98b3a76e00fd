"""Work of pictures: forgetting those that were kept for long enough."""

from datetime import UTC, datetime

from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.parking.pictures import service

FORGET = "parking.forget-pictures"

_AT_ONCE = 200


async def forget(context: JobContext) -> dict[str, object]:
    """Deletes pictures of vehicles that were kept for as long as their project says."""
    gone = 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            some = await service.forget(conn, datetime.now(UTC), _AT_ONCE)
        gone += some
        if some < _AT_ONCE:
            return {"gone": gone}


HANDLERS: dict[str, Handler] = {FORGET: forget}

SCHEDULE = (Scheduled(FORGET, "40 19 * * *"),)
