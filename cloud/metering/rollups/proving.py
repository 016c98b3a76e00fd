"""The proof that what is counted of usage is what its rows come to; whatever is not, is mended and told.

Whoever writes rows counts them. A count that was forgotten would show in no answer: so every night the days that ended
since, and some before them, are compared with their rows. A project that never was is compared from its beginning.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Asker, Database
from cloud.kit.errors import GatemeterError
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.kit.periods import Period, local_day
from cloud.kit.portions import past_deadlocks
from cloud.metering.derivation.update import wait_for_meters
from cloud.metering.rollups import sql

PROVE = "metering.prove-counts"

_log = structlog.get_logger(__name__)
_AGAIN: Final = timedelta(days=3)
"""Late readings change the days before."""
_AT_ONCE: Final = timedelta(days=31)
_METERS_AT_ONCE: Final = 100
"""Mended while they are held: a moment's work."""


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
    """How many counts were wrong. How far it came is kept."""
    until_on = local_day(datetime.now(UTC), project.zone)
    named = {"project_id": project.id, "zone": project.zone.key}
    async with db.transaction(asker) as conn:
        row = await (await conn.execute(sql.PROVED_FROM, named)).fetchone()
    from_on: date = min((row and row["from_on"]) or until_on, until_on) - _AGAIN
    wrong = 0
    async for days, found in prove_days(db, asker, project, Period(from_on, until_on)):
        async with db.transaction(asker) as conn:
            await conn.execute(sql.NOTE_PROVED, {"project_id": project.id, "until": days.end})
        if found:
            _log.error("metering.usage_was_miscounted", project=project.code, counts=found, since=str(days.start))
        wrong += found
    return wrong


async def prove_days(db: Database, asker: Asker, project: Project, asked: Period) -> AsyncIterator[tuple[Period, int]]:
    """Compares the counts of these local days with the rows and mends them, a month per transaction.

    Yields the days of each, and how many counts were wrong. What is archived or dropped is left as it is.
    """
    start = asked.start
    while start < asked.end:
        days = Period(start, min(start + _AT_ONCE, asked.end))
        yield days, await mend(db, asker, project, days)
        start = days.end


async def mend(db: Database, asker: Asker, project: Project, days: Period) -> int:
    """The same of all these days at once: how many counts were wrong.

    First the rows over an edge, which months are counted from. They are mended some meters per transaction, each held
    as its derivation holds it: no other meter waits, and these only for so long.
    """
    query: dict[str, object] = {"project_id": project.id, "from": days.start, "until": days.end}
    async with db.transaction(asker) as conn:
        row = await (await conn.execute(sql.MISCOUNTED_CROSSING, query)).fetchone()
    meters: list[int] = [] if row is None else row["meters"]
    wrong = 0
    for first in range(0, len(meters), _METERS_AT_ONCE):
        some = meters[first : first + _METERS_AT_ONCE]
        wrong += await past_deadlocks(partial(_mend_crossing, db, asker, some, query))
    return wrong + await past_deadlocks(partial(_mend_counts, db, asker, query))


async def _mend_crossing(db: Database, asker: Asker, meters: Sequence[int], query: Mapping[str, object]) -> int:
    async with db.transaction(asker) as conn:
        await wait_for_meters(conn, meters)
        row = await (await conn.execute(sql.MEND_CROSSING, {**query, "meters": list(meters)})).fetchone()
    return 0 if row is None else int(row["wrong"])


async def _mend_counts(db: Database, asker: Asker, query: Mapping[str, object]) -> int:
    async with db.transaction(asker) as conn:
        row = await (await conn.execute(sql.MEND, query)).fetchone()
    return 0 if row is None else int(row["wrong"])


HANDLERS: dict[str, Handler] = {PROVE: prove_counts}

SCHEDULE: tuple[Scheduled, ...] = (Scheduled(PROVE, "50 3 * * *"),)
