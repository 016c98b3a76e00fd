"""Health of meters: which are silent, have gaps or estimates, ran backward, are due for verification or set aside."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.metering.records import Medium
from cloud.metering.supervision import meter_health_repository as repository
from cloud.metering.supervision.meter_health_repository import HealthTotals, MeterHealth

LOOKED_BACK: Final = timedelta(days=30)
SILENT_INTERVALS: Final = 3
"""A meter is silent when it was not heard of for so many of its intervals."""
DUE_AHEAD: Final = timedelta(days=30)
"""Verifications that fall due so soon are shown, so that somebody can plan them."""

Trouble = Literal["silent", "gaps", "estimates", "rollback", "due", "set-aside"]


@dataclass(frozen=True, slots=True)
class HealthFilter:
    """Which meters of the projects are wanted; None: any."""

    project_ids: tuple[int, ...]
    medium: Medium | None = None
    only: Trouble | None = None


async def totals(conn: Conn, wanted: HealthFilter, now: datetime) -> HealthTotals:
    """Counts over all meters of the projects (and medium), whatever `only` says."""
    return await repository.totals(conn, _query(wanted, now))


async def health(conn: Conn, page: PageRequest, wanted: HealthFilter, now: datetime) -> Page[MeterHealth]:
    """Meters by id: those in service, and those removed that are set aside."""
    query = {**_query(wanted, now), "only": wanted.only, "after": after_id(page), "limit": page.limit + 1}
    return cut(await repository.page(conn, query), page, lambda row: (row.id,))


def estimated_share(row: MeterHealth) -> tuple[int, int]:
    """Seconds of the last 30 days that are estimated, and all of them."""
    return row.estimated_s, int(LOOKED_BACK.total_seconds())


def _query(wanted: HealthFilter, now: datetime) -> dict[str, Any]:
    return {
        "projects": list(wanted.project_ids),
        "medium": wanted.medium,
        "now": now,
        "since": now - LOOKED_BACK,
        "ahead": DUE_AHEAD.days,
        "intervals": SILENT_INTERVALS,
    }
