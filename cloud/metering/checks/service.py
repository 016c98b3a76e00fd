"""Judging whole months of meters, as bill runs and the first of a month ask for it: before somebody relies on them."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from cloud.estate.records import Project
from cloud.kit.db import Asker, Database
from cloud.kit.periods import Period, local_day, months
from cloud.metering.checks import period_checks, settling
from cloud.metering.derivation import update as derivation
from cloud.metering.rollups import reading as rollups

Progress = Callable[[int, int], Awaitable[None]]

_METERS_AT_ONCE: Final = 2_000
"""Of a transaction: it takes a fraction of a second."""
_SETTLED_AT_ONCE: Final = 1_000


async def judge_months(
    db: Database,
    asker: Asker,
    project: Project,
    asked: Period,
    meter_ids: Collection[int],
    now: datetime,
    progress: Progress | None = None,
) -> int:
    """Judges these meters by V9 and V18 in the local months that touch the days of `asked` and are over at `now`.

    First everything that came of them before the call, and of their sub-meters, becomes usage and is settled. Some
    meters at a time, in transactions of their own; `progress` is told how many are done. It may be broken off and
    repeated at any point: the same usage has the same findings. Returns how many findings changed.
    """
    today = local_day(now, project.zone)
    over = [month for month in months(asked.start, asked.end) if month.end <= today]
    ids = sorted(set(meter_ids))
    changed = 0
    for start in range(0, len(ids), _METERS_AT_ONCE):
        some = ids[start : start + _METERS_AT_ONCE]
        changed += await _bring_up(db, asker, project, some, now)
        for month in over:
            async with db.transaction(asker) as conn:
                changed += await period_checks.judge(conn, project, month, some)
        if progress is not None:
            await progress(start + len(some), len(ids))
    return changed


async def _bring_up(db: Database, asker: Asker, project: Project, meter_ids: Sequence[int], now: datetime) -> int:
    """Derives and settles what waits of these meters and their sub-meters; what another worker is at is waited for."""
    async with db.transaction(asker) as conn:
        family = await period_checks.with_sub_meters(conn, project.id, meter_ids)
    after = 0
    while True:
        async with db.transaction(asker) as conn:
            some = await derivation.dirty_meters(conn, after, family)
            if not some:
                break
            await derivation.wait_for_meters(conn, some)
            done = await derivation.bring_up(conn, some, {project.id: project.zone})
        if not done.again:
            after = some[-1]
    after, changed = 0, 0
    while True:
        async with db.transaction(asker) as conn:
            some = await settling.changed_meters(conn, after, _SETTLED_AT_ONCE, family)
            if not some:
                return changed
            await settling.wait_for_meters(conn, some)
            spans = await settling.take(conn, some)
            changed += await settling.settle(conn, spans, now)
            await rollups.refresh(conn, settling.of_usage(spans))
        after = some[-1]
