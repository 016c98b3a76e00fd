"""Work of metering: deriving usage, claiming readings; what keeps the tables in shape is in `maintenance`."""

from cloud.devices.inbox import UnclaimedPlace
from cloud.devices.service import CLAIM_READINGS
from cloud.estate import service as estate
from cloud.kit.jobs import Handler, JobContext, Scheduled, enqueue
from cloud.metering import derivation, maintenance, service
from cloud.metering.service import DERIVE_USAGE

CLAIM_ALL = "metering.claim-all"

_METERS_AT_ONCE = 40
"""Thirteen months of hourly readings of so many meters fit well into memory."""
_CLAIM_AT_ONCE = 5_000


async def derive_usage(context: JobContext) -> dict[str, object]:
    """Derives usage of all meters whose readings changed, some meters per transaction."""
    done: dict[str, int] = {"meters": 0, "readings": 0, "added": 0, "changed": 0, "removed": 0, "refused": 0}
    async with context.db.transaction(context.asker) as conn:
        total = len(await derivation.dirty_meters(conn, 0, 2**31 - 1))
        grids = {project.id: derivation.grid_offset_ms(project.zone) for project in await estate.projects(conn)}
    after, seen = 0, 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            chunk = await derivation.dirty_meters(conn, after, _METERS_AT_ONCE)
            if not chunk:
                return dict(done)
            free = await derivation.lock_meters(conn, chunk)
            windows = await derivation.take_windows(conn, await service.meters_by_id(conn, free), grids)
            changes = await derivation.update(conn, windows)
        for name in done:
            done[name] += getattr(changes, name)
        after, seen = chunk[-1], seen + len(chunk)
        await context.progress(min(seen, total), total)


async def claim_readings(context: JobContext) -> dict[str, object]:
    """Tries the unclaimed readings of a project again."""
    project_id = int(context.payload["project_id"])
    place: UnclaimedPlace | None = UnclaimedPlace()
    rounds = 0
    while place is not None:
        async with context.db.transaction(context.asker) as conn:
            place = await service.claim_readings(conn, project_id, place, _CLAIM_AT_ONCE)
            await service.ask_for_usage(conn)
        rounds += 1
    return {"rounds": rounds}


async def claim_all(context: JobContext) -> dict[str, object]:
    """Asks for every project's unclaimed readings to be tried again."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
        for project in projects:
            await enqueue(
                conn, CLAIM_READINGS, {"project_id": project.id}, project_id=project.id, dedupe_key="scheduled"
            )
    return {"projects": len(projects)}


HANDLERS: dict[str, Handler] = {
    DERIVE_USAGE: derive_usage,
    CLAIM_READINGS: claim_readings,
    CLAIM_ALL: claim_all,
    **maintenance.HANDLERS,
}

SCHEDULE: tuple[Scheduled, ...] = (
    Scheduled(DERIVE_USAGE, "* * * * *"),
    Scheduled(CLAIM_ALL, "*/10 * * * *"),
    *maintenance.SCHEDULE,
)
