"""Work of metering: deriving usage, claiming readings; what keeps the tables in shape is in `maintenance`."""

from cloud.devices.records import InboxFilter
from cloud.devices.service import CLAIM_READINGS
from cloud.estate import service as estate
from cloud.kit.jobs import Handler, JobContext, Scheduled, enqueue
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.derivation import apart
from cloud.metering.derivation import update as derivation
from cloud.metering.imports.run import run_import
from cloud.metering.imports.service import IMPORT_READINGS
from cloud.metering.live import jobs as live_jobs
from cloud.metering.readings.claiming import claim_project
from cloud.metering.rollups import maintenance, proving
from cloud.metering.service import DERIVE_USAGE
from cloud.metering.thresholds import changes as threshold_changes

CLAIM_ALL = "metering.claim-all"


async def derive_usage(context: JobContext) -> dict[str, object]:
    """Derives usage of all meters whose readings changed, some meters per transaction.

    A meter that cannot be derived is set aside and tried again later, alone; the log says why.
    """
    async with context.db.transaction(context.asker) as conn:
        total = await derivation.count_dirty(conn)
        zones = {project.id: project.zone for project in await estate.projects(conn)}
    done = await apart.bring_up_set_aside(context.db, context.asker, zones)
    after, seen = 0, 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            chunk = await derivation.dirty_meters(conn, after)
        if not chunk:
            break
        part = await apart.bring_up(context.db, context.asker, chunk, zones, wait=False)
        async with context.db.transaction(context.asker) as conn:
            await validation_jobs.ask_to_settle(conn)
        done += part
        if part.changes.again:
            continue
        after, seen = chunk[-1], seen + len(chunk)
        await context.progress(min(seen, total), total)
    counted = ("meters", "readings", "added", "changed", "removed", "refused")
    failed = {"failed": len(done.failed)} if done.failed else {}
    return {name: getattr(done.changes, name) for name in counted} | failed


async def claim_readings(context: JobContext) -> dict[str, object]:
    """Tries the unclaimed readings of a project again."""
    wanted = InboxFilter(int(context.payload["project_id"]), state=None)
    done = await claim_project(context.db, context.asker, wanted)
    return {"tried": done.tried, "placed": done.placed}


async def claim_all(context: JobContext) -> dict[str, object]:
    """Asks for every project's unclaimed readings to be tried again."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
        for project in projects:
            await enqueue(
                conn, CLAIM_READINGS, {"project_id": project.id}, project_id=project.id, dedupe_key="scheduled"
            )
    return {"projects": len(projects)}


async def import_readings(context: JobContext) -> dict[str, object]:
    """Does an import of readings, or what a run that was broken off left of it."""
    done = await run_import(context.db, context.asker, int(context.payload["import_id"]), context.progress)
    return {"import_id": done.id, "state": done.state, "rows": dict(done.counts)}


HANDLERS: dict[str, Handler] = {
    IMPORT_READINGS: import_readings,
    DERIVE_USAGE: derive_usage,
    CLAIM_READINGS: claim_readings,
    CLAIM_ALL: claim_all,
    **threshold_changes.HANDLERS,
    **validation_jobs.HANDLERS,
    **maintenance.HANDLERS,
    **proving.HANDLERS,
    **live_jobs.HANDLERS,
}

SCHEDULE: tuple[Scheduled, ...] = (
    Scheduled(DERIVE_USAGE, "* * * * *"),
    Scheduled(CLAIM_ALL, "*/10 * * * *"),
    *validation_jobs.SCHEDULE,
    *maintenance.SCHEDULE,
    *proving.SCHEDULE,
    *live_jobs.SCHEDULE,
)
