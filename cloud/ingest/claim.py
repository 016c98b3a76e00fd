"""Unclaimed readings of all projects tried again, by hand."""

from collections.abc import Callable

from cloud.devices.inbox import UnclaimedPlace
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.metering import service as metering

_AT_ONCE = 5_000
_ASKER = SYSTEM.named("claim")


async def claim_everything(db: Database, progress: Callable[[int, int], None]) -> int:
    """Stores every unclaimed reading that has a place now; returns the number of projects looked at."""
    async with db.transaction(_ASKER) as conn:
        projects = await estate.projects(conn)
    for done, project in enumerate(projects, start=1):
        place: UnclaimedPlace | None = UnclaimedPlace()
        while place is not None:
            async with db.transaction(_ASKER) as conn:
                place = await metering.claim_readings(conn, project.id, place, _AT_ONCE)
                await metering.ask_for_usage(conn)
        progress(done, len(projects))
    return len(projects)
