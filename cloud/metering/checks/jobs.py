"""Work of validation: settling changed usage every minute, what stands each morning, whole periods at bill time."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.jobs import Handler, JobContext, Scheduled, enqueue
from cloud.kit.periods import local_day, month_of, previous_month
from cloud.kit.portions import by_halves
from cloud.metering.checks import apart, lives, period_checks, service, settling, standing
from cloud.metering.checks.apart import Judgement

SETTLE = "metering.settle"
"""Job kind: roll-ups and rules follow usage that changed."""

VALIDATE_DAYS = "metering.validate-days"
"""Job kind: asks for the judgement of yesterday where it is morning."""
VALIDATE_STANDING = "metering.validate-standing"
"""Job kind: judges yesterday in one project."""
VALIDATE_PERIOD = "metering.validate-period"
"""Job kind: judges one month of one project; payload `month`, a local day in it (missing: the month before)."""

_METERS_AT_ONCE = 1_000
_LIVES_AT_ONCE = 100
"""Of each a year or more may have to be judged."""
_MORNINGS = (5, 11, 17)
"""Local hours: the later ones catch up where the worker slept in the morning."""


async def ask_to_settle(conn: Conn) -> None:
    """Asks for changed usage to be settled soon, unless that is asked already."""
    await enqueue(conn, SETTLE, {}, dedupe_key="all")


async def settle(context: JobContext) -> dict[str, object]:
    """Settles what usage changed, and what is seen otherwise since somebody moved, some meters per transaction.

    A meter that cannot be settled is set aside and tried again later, alone; the log says why.
    """
    now = datetime.now(UTC)
    done = await apart.settle_set_aside(context.db, context.asker, now)
    done += await _in_chunks(
        context,
        lambda conn, after: settling.changed_meters(conn, after, _METERS_AT_ONCE),
        lambda some: apart.settle(context.db, context.asker, some, now, wait=False),
    )
    done += await _in_chunks(
        context,
        lambda conn, after: lives.changed_meters(conn, after, _LIVES_AT_ONCE),
        lambda some: apart.judge_lives(context.db, context.asker, some, now),
    )
    return _told(done)


async def _in_chunks(
    context: JobContext,
    chunk_after: Callable[[Conn, int], Awaitable[list[int]]],
    work: Callable[[Sequence[int]], Awaitable[Judgement]],
) -> Judgement:
    """What `work` comes to for chunks of meters, each being what `chunk_after` finds after the one before."""
    done, after = Judgement(), 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            chunk = await chunk_after(conn, after)
        if not chunk:
            return done
        done += await work(chunk)
        after = chunk[-1]


def _told(done: Judgement) -> dict[str, object]:
    failed = {"failed": len(done.failed)} if done.failed else {}
    return {"meters": done.meters, "findings": done.changed, **failed}


async def validate_days(context: JobContext) -> dict[str, object]:
    """Asks for the judgement of yesterday in the projects where it is morning."""
    asked = 0
    now = datetime.now(UTC)
    async with context.db.transaction(context.asker) as conn:
        for project in await estate.projects(conn):
            if now.astimezone(project.zone).hour in _MORNINGS:
                await enqueue(conn, VALIDATE_STANDING, {}, project_id=project.id, dedupe_key="yesterday")
                asked += 1
                if now.astimezone(project.zone).day == 1:
                    await enqueue(conn, VALIDATE_PERIOD, {}, project_id=project.id, dedupe_key="last month")
    return {"projects": asked}


async def validate_standing(context: JobContext) -> dict[str, object]:
    """Judges yesterday, and what stands since earlier, in the job's project; who cannot be judged fails alone."""
    assert context.project_id is not None
    now = datetime.now(UTC)
    async with context.db.transaction(context.asker) as conn:
        project = await estate.get_project(conn, context.project_id)

    async def judged(some: Sequence[int]) -> Judgement:
        async with context.db.transaction(context.asker) as conn:
            return Judgement(len(some), await standing.judge(conn, project, some, now))

    async def work(chunk: Sequence[int]) -> Judgement:
        return sum(await by_halves(chunk, judged, apart.fails), Judgement())

    return _told(
        await _in_chunks(
            context, lambda conn, after: standing.meters_of(conn, project, after, _METERS_AT_ONCE, now), work
        )
    )


async def validate_period(context: JobContext) -> dict[str, object]:
    """Judges one month of the job's project."""
    assert context.project_id is not None
    now = datetime.now(UTC)
    async with context.db.transaction(context.asker) as conn:
        project = await estate.get_project(conn, context.project_id)
        named = context.payload.get("month")
        month = month_of(date.fromisoformat(str(named))) if named else previous_month(local_day(now, project.zone))
        meters = await period_checks.meters_in(conn, project.id, month)
    done = await service.judge_months(context.db, context.asker, project, month, meters, now, context.progress)
    return _told(replace(done, meters=len(meters)))


HANDLERS: dict[str, Handler] = {
    SETTLE: settle,
    VALIDATE_DAYS: validate_days,
    VALIDATE_STANDING: validate_standing,
    VALIDATE_PERIOD: validate_period,
}

SCHEDULE: tuple[Scheduled, ...] = (
    Scheduled(SETTLE, "* * * * *"),
    Scheduled(VALIDATE_DAYS, "10 * * * *"),
)
