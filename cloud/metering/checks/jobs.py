"""Work of validation: settling changed usage every minute, what stands each morning, whole periods at bill time."""

from datetime import UTC, date, datetime

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.jobs import Handler, JobContext, Scheduled, enqueue
from cloud.kit.periods import local_day, month_of, previous_month
from cloud.metering.checks import apart, lives, period_checks, service, settling, standing

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
    after, done = 0, await apart.settle_set_aside(context.db, context.asker, datetime.now(UTC))
    while True:
        async with context.db.transaction(context.asker) as conn:
            chunk = await settling.changed_meters(conn, after, _METERS_AT_ONCE)
        if not chunk:
            break
        done += await apart.settle(context.db, context.asker, chunk, datetime.now(UTC), wait=False)
        after = chunk[-1]
    return {"meters": done.meters, "findings": done.changed + await _judge_lives(context), **_failed(done)}


def _failed(done: apart.Judgement) -> dict[str, object]:
    return {"failed": len(done.failed)} if done.failed else {}


async def _judge_lives(context: JobContext) -> int:
    after, changed = 0, 0
    while True:
        async with context.db.transaction(context.asker) as conn:
            chunk = await lives.changed_meters(conn, after, _LIVES_AT_ONCE)
            if not chunk:
                return changed
            changed += await lives.judge(conn, chunk, datetime.now(UTC))
        after = chunk[-1]


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
    """Judges yesterday, and what stands since earlier, in the job's project."""
    assert context.project_id is not None
    after, meters, changed = 0, 0, 0
    now = datetime.now(UTC)
    while True:
        async with context.db.transaction(context.asker) as conn:
            project = await estate.get_project(conn, context.project_id)
            chunk = await standing.meters_of(conn, project, after, _METERS_AT_ONCE, now)
            if not chunk:
                return {"meters": meters, "findings": changed}
            changed += await standing.judge(conn, project, chunk, now)
        after, meters = chunk[-1], meters + len(chunk)


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
    return {"meters": len(meters), "findings": done.changed, **_failed(done)}


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
