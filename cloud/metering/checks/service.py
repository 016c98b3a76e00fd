"""Judging whole months of meters, as bill runs and the first of a month ask for it: before somebody relies on them.

A meter whose derivation, days or month cannot be worked on fails alone; the others are judged.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from cloud.estate.records import Project
from cloud.kit.db import Asker, Database
from cloud.kit.periods import Period, local_day, months
from cloud.kit.portions import by_halves
from cloud.metering.checks import apart, period_checks, settling
from cloud.metering.checks.apart import Judgement
from cloud.metering.derivation import apart as derivation
from cloud.metering.derivation.update import dirty_meters

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
) -> Judgement:
    """Judges these meters by V9 and V18 in the local months that touch the days of `asked` and are over at `now`.

    First everything that came of them before the call, and of their sub-meters, becomes usage and is settled. Some
    meters at a time, in transactions of their own; `progress` is told how many are done. It may be broken off and
    repeated at any point: the same usage has the same findings. Of the meters in `failed` nothing may be relied on.
    """
    today = local_day(now, project.zone)
    over = [month for month in months(asked.start, asked.end) if month.end <= today]
    ids = sorted(set(meter_ids))
    judging = _Judging(db, asker, project, now)
    found = Judgement()
    for start in range(0, len(ids), _METERS_AT_ONCE):
        some = ids[start : start + _METERS_AT_ONCE]
        found += await judging.bring_up(some)
        for month in over:
            found += await judging.judge(month, [one for one in some if one not in found.failed])
        if progress is not None:
            await progress(start + len(some), len(ids))
    wanted = set(ids)
    return replace(found, failed={one: reason for one, reason in found.failed.items() if one in wanted})


class _Judging:
    def __init__(self, db: Database, asker: Asker, project: Project, now: datetime) -> None:
        self._db = db
        self._asker = asker
        self._project = project
        self._now = now

    async def bring_up(self, meter_ids: Sequence[int]) -> Judgement:
        """Derives and settles what waits of meters and their sub-meters; what another worker is at is waited for."""
        async with self._db.transaction(self._asker) as conn:
            family = await period_checks.with_sub_meters(conn, self._project.id, meter_ids)
        derived = await self._derive(family)
        return derived + await self._settle([one for one in family if one not in derived.failed])

    async def judge(self, month: Period, meter_ids: Sequence[int]) -> Judgement:
        """Judges a month of these meters."""

        async def judged(some: Sequence[int]) -> Judgement:
            async with self._db.transaction(self._asker) as conn:
                return Judgement(len(some), await period_checks.judge(conn, self._project, month, some))

        return sum(await by_halves(meter_ids, judged, apart.fails), Judgement())

    async def _derive(self, family: Sequence[int]) -> Judgement:
        failed: dict[int, str] = {}
        after, zones = 0, {self._project.id: self._project.zone}
        while True:
            left = [one for one in family if one not in failed]
            async with self._db.transaction(self._asker) as conn:
                some = await dirty_meters(conn, after, left)
            if not some:
                return Judgement(failed=failed)
            done = await derivation.bring_up(self._db, self._asker, some, zones, wait=True)
            failed |= done.failed
            if not done.changes.again:
                after = some[-1]

    async def _settle(self, meter_ids: Sequence[int]) -> Judgement:
        done, after = Judgement(), 0
        while True:
            async with self._db.transaction(self._asker) as conn:
                some = await settling.changed_meters(conn, after, _SETTLED_AT_ONCE, meter_ids)
            if not some:
                return done
            done += await apart.settle(self._db, self._asker, some, self._now, wait=True)
            after = some[-1]
