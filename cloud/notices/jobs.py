"""Work of notices beside sending: those that ended long ago are forgotten."""

from typing import Final

from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.notices import repository

FORGET: Final = "notices.forget"
KEPT_DAYS: Final = 730
"""Two years: for so long staff can show whom they told what."""


async def forget(context: JobContext) -> dict[str, object]:
    """Deletes notices that are too old."""
    async with context.db.transaction(context.asker) as conn:
        return {"notices": await repository.forget(conn, KEPT_DAYS)}


HANDLERS: dict[str, Handler] = {FORGET: forget}

SCHEDULE: tuple[Scheduled, ...] = (Scheduled(FORGET, "55 3 * * *"),)
