"""Readings that cannot be used, counted by device and reason, so that somebody mends the device or its settings.

Two kinds: readings that are stored and that usage is not derived from (the register ran backward, more than the meter
can, a time in the future, a negative value), and readings that have no place (see `cloud.devices.inbox`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cloud.devices.cursors import after_texts
from cloud.kit.db import Conn
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut
from cloud.metering.derivation.findings import RULE_OF_CODE
from cloud.metering.unusable.repository import UNUSABLE

DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
KEY_LENGTH: Final = 5


@dataclass(frozen=True, slots=True)
class Unusable:
    """Readings of one device that one reason made useless, counted over 24 hours and 7 days.

    `stored` ones are counted by when they were taken and told as findings about `meter_id`; the others wait without a
    place and are counted by when they came. `device_id` is None for a device that nobody registered.
    """

    device_id: int | None
    gateway_code: str
    device_code: str
    meter_id: int | None
    reason: str
    stored: bool
    day_count: int
    week_count: int
    last_at: datetime


async def list_unusable(
    conn: Conn, page: PageRequest, project_id: int | None, now: datetime, device_id: int | None = None
) -> Page[Unusable]:
    """Devices with unusable readings of the last 7 days, those with most first."""
    count, (gateway, device, reason, stored) = (MAX_ID, ("",) * 4) if page.after is None else after_texts(page, 4)
    query = {
        "project_id": project_id,
        "device_id": device_id,
        "day": now - DAY,
        "week": now - WEEK,
        "codes": list(RULE_OF_CODE),
        "rules": list(RULE_OF_CODE.values()),
        "after_count": count,
        "after_gateway": gateway,
        "after_device": device,
        "after_reason": reason,
        "after_stored": stored,
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(UNUSABLE, query)).fetchall()
    return cut(
        [Unusable(**row) for row in rows],
        page,
        lambda one: (
            one.week_count, one.gateway_code, one.device_code, one.reason, "true" if one.stored else "false"
        ),
    )  # fmt: skip
