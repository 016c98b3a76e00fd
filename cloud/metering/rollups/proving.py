"""The proof that what is counted of usage is what its rows come to; whatever is not, is mended and told.

Whoever writes rows counts them. A count that was forgotten would show in no answer: so every night the days that ended
since, and some before them, are compared with their rows. A project that never was is compared from its beginning.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Asker, Database
from cloud.kit.errors import GatemeterError
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.kit.periods import local_day
from cloud.metering.rollups import sql

PROVE = "metering.prove-counts"

_log = structlog.get_logger(__name__)
_AGAIN: Final = timedelta(days=3)
"""Late readings change the days before."""
_AT_ONCE: Final = timedelta(days=31)


class UsageWasMiscounted(GatemeterError):
    """Counts were not what rows come to. They are now; somebody has to find out who forgot to count."""

    title = "Usage was miscounted"


async def prove_counts(context: JobContext) -> dict[str, object]:
    """Compares the counts of days that are over with the rows and mends them. Raises UsageWasMiscounted."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    wrong = {project.code: await _prove_project(context.db, context.asker, project) for project in projects}
    mended = [f"{code}: {counts}" for code, counts in wrong.items() if counts]
    if mended:
        raise UsageWasMiscounted("usage-counts", f"counts that were wrong and are mended: {', '.join(mended)}")
    return {"projects": len(projects)}


async def _prove_project(db: Database, asker: Asker, project: Project) -> int:
    """How many counts were wrong. A month per transaction; how far it came is kept."""
    until_on = local_day(datetime.now(UTC), project.zone)
    named = {"project_id": project.id, "zone": project.zone.key}
    async with db.transaction(asker) as conn:
        row = await (await conn.execute(sql.PROVED_FROM, named)).fetchone()
    from_on: date = ((row and row["from_on"]) or until_on) - _AGAIN
    wrong = 0
    while from_on < until_on:
        end = min(from_on + _AT_ONCE, until_on)
        query = {"project_id": project.id, "from": from_on, "until": end}
        async with db.transaction(asker) as conn:
            row = await (await conn.execute(sql.MEND, query)).fetchone()
            await conn.execute(sql.NOTE_PROVED, query)
        found = int(row["wrong"]) if row is not None else 0
        if found:
            _log.error("metering.usage_was_miscounted", project=project.code, counts=found, since=str(from_on))
        wrong += found
        from_on = end
    return wrong


HANDLERS: dict[str, Handler] = {PROVE: prove_counts}

SCHEDULE: tuple[Scheduled, ...] = (Scheduled(PROVE, "50 3 * * *"),)
