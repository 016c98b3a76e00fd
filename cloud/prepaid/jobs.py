"""Scheduled work of prepaid supply: balances every hour, cases in which minutes count every minute."""

from datetime import UTC, datetime

import psycopg
import structlog
from prometheus_client import Gauge

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.errors import GatemeterError
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.prepaid import service

VALUE_JOB = "prepaid.value"
SWITCH_JOB = "prepaid.switch"

_CHUNK = 200
_log = structlog.get_logger(__name__)
_ALARMS = Gauge("gatemeter_supplies_not_restored", "Supplies whose order to switch on no meter has confirmed.")


async def value(context: JobContext) -> dict[str, object]:
    """Values all prepaid accounts, warns, opens cases, and takes open ones as far as they go."""
    valued = opened = 0
    for project in await _projects(context):
        after = 0
        while True:
            async with context.db.transaction(context.asker) as conn:
                ids = await service.accounts(conn, project.id, after, _CHUNK)
                more = await service.value_accounts(conn, project, ids, datetime.now(UTC))
            valued, opened = valued + more[0], opened + more[1]
            if len(ids) < _CHUNK:
                break
            after = ids[-1]
    return {"accounts": valued, "opened": opened, **await _advance(context, all_open=True)}


async def switch(context: JobContext) -> dict[str, object]:
    """Takes the cases in which minutes count as far as they go."""
    return await _advance(context, all_open=False)


async def _advance(context: JobContext, *, all_open: bool) -> dict[str, object]:
    """Each case by itself: one that cannot be moved does not keep another home dark."""
    moved = failed = alarms = 0
    for project in await _projects(context):
        async with context.db.transaction(context.asker) as conn:
            ids = await service.in_hand(conn, project.id, all_open=all_open)
        for case_id in ids:
            try:
                async with context.db.transaction(context.asker) as conn:
                    case = await service.advance(conn, case_id, datetime.now(UTC))
            except (GatemeterError, psycopg.Error) as error:
                failed += 1
                _log.error("prepaid.case_failed", case=case_id, error=str(error).strip())
                continue
            moved += 1
            alarms += case.state == "reconnecting" and case.alarmed_at is not None
    _ALARMS.set(alarms)
    return {"cases": moved, "failed": failed, "not_restored": alarms}


async def _projects(context: JobContext) -> list[Project]:
    async with context.db.transaction(context.asker) as conn:
        return await estate.projects(conn)


URGENT = (SWITCH_JOB,)
"""A home whose bill is paid waits for no run of bills."""

HANDLERS: dict[str, Handler] = {VALUE_JOB: value, SWITCH_JOB: switch}

SCHEDULE = (Scheduled(VALUE_JOB, "7 * * * *"), Scheduled(SWITCH_JOB, "* * * * *"))
