"""Days that are judged again because who lives there turned out otherwise: V11 and V12 of usage that did not change."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final, LiteralString

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.locks import try_lock
from cloud.kit.periods import local_day
from cloud.metering.checks import settling
from cloud.metering.checks.settling import DaySpan

_LONGEST: Final = timedelta(days=400)
"""Days longer ago stay as they were judged."""

_CHANGED: LiteralString = """
    SELECT DISTINCT meter_id FROM store.changed_life
    WHERE meter_id > %(after)s AND meter_id NOT IN (SELECT meter_id FROM store.set_aside WHERE work = 'settle')
    ORDER BY meter_id LIMIT %(limit)s
"""
# Ranges without an end have none in min and max either.
_TAKE: LiteralString = """
    WITH taken AS (DELETE FROM store.changed_life WHERE meter_id = ANY (%(ids)s) RETURNING project_id, meter_id, days)
    SELECT project_id, meter_id, min(coalesce(lower(days), '1990-01-01')) AS first,
           max(coalesce(upper(days), '9999-01-01')) AS until
    FROM taken GROUP BY project_id, meter_id ORDER BY project_id, meter_id
"""


async def changed_meters(conn: Conn, after: int, limit: int) -> list[int]:
    """Meters with such days, by id, but for those that are set aside."""
    rows = await (await conn.execute(_CHANGED, {"after": after, "limit": limit})).fetchall()
    return [row["meter_id"] for row in rows]


async def judge(conn: Conn, meter_ids: Sequence[int], now: datetime) -> int:
    """Takes the days of these meters and judges those that are over at `now`; returns how many findings changed.

    Meters that another worker settles now are left for the next time.
    """
    free = await try_lock(conn, settling.LOCK_SPACE, meter_ids)
    rows = await (await conn.execute(_TAKE, {"ids": free})).fetchall()
    changed = 0
    for project_id, mine in groupby(rows, key=lambda row: int(row["project_id"])):
        project = await estate.get_project(conn, project_id)
        changed += await settling.judge_days(conn, project, _over(list(mine), project, now), now)
    return changed


def _over(rows: Sequence[dict[str, Any]], project: Project, now: datetime) -> list[DaySpan]:
    yesterday = local_day(now, project.zone) - timedelta(days=1)
    spans = []
    for row in rows:
        first: date = max(row["first"], yesterday - _LONGEST)
        last = min(row["until"] - timedelta(days=1), yesterday)
        if first <= last:
            spans.append(DaySpan(row["meter_id"], first, last, registers=False))
    return spans
