"""Forgetting what is no longer needed: answers kept for repetitions, and finished jobs."""

from cloud.identity import service
from cloud.kit.jobs import Handler, JobContext, Scheduled


async def forget(context: JobContext) -> dict[str, object]:
    """Deletes kept answers after a week and finished jobs after three months."""
    async with context.db.transaction(context.asker) as conn:
        answers, jobs = await service.forget(conn)
    return {"answers": answers, "jobs": jobs}


HANDLERS: dict[str, Handler] = {"identity.forget": forget}
SCHEDULE = (Scheduled("identity.forget", "17 3 * * *"),)
