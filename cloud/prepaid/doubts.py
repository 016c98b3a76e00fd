"""What speaks against switching a supply off, as it is known now."""

from datetime import datetime, timedelta
from typing import Final

from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import day_start, local_day
from cloud.metering import service as metering
from cloud.metering.exceptions.service import open_exceptions
from cloud.prepaid import switching
from cloud.prepaid.disconnection import Hold
from cloud.prepaid.records import PrepaidAgreement
from cloud.prepaid.valuing import Valued

_LOOKS_BACK: Final = timedelta(days=31)
"""Findings and estimates of so long count as doubt about what was used."""


async def against(
    conn: Conn, project: Project, agreement: PrepaidAgreement, valued: Valued, now: datetime
) -> tuple[Hold, ...]:
    """Every reason why this supply may not be switched off now, the weightiest first."""
    found: list[Hold] = []
    if valued.protected:
        found.append("protected")
    if valued.standing.disputed:
        found.append("disputed")
    if valued.standing.in_plan:
        found.append("in-plan")
    if not await _verified(conn, project, agreement, valued, now):
        found.append("unverified")
    if valued.standing.to_be_rated:
        found.append("to-be-rated")
    if await switching.relay_of(conn, agreement.meter_id, now) is None:
        found.append("no-relay")
    return tuple(found)


async def _verified(conn: Conn, project: Project, agreement: PrepaidAgreement, valued: Valued, now: datetime) -> bool:
    """Whether usage is known whole up to the start of today, measured, and without open findings."""
    today = local_day(now, project.zone)
    if valued.position.flaw or valued.position.through < today or agreement.meter_id is None:
        return False
    until = day_start(today, project.zone)
    since = day_start(today - _LOOKS_BACK, project.zone)
    if await open_exceptions(conn, project.id, [agreement.meter_id], since, now):
        return False
    meter = await metering.get_meter(conn, agreement.meter_id)
    usage = await metering.usage_between(conn, meter.id, meter.main_channel.number, since, until)
    return not (usage.estimated or usage.gaps)
