"""What helps to read a meter right: its last reading, its usual day, and the meters that nobody read since a day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from cloud.devices.cursors import after_texts
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.metering import service
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter, Reading

_USUAL: Final = timedelta(days=30)
_DAY_S: Final = 86_400

# Rows of usage that lie in the days looked at, whatever their length.
_DAILY: LiteralString = """
    SELECT w.meter_id, sum(u.quantity)::bigint AS quantity, sum(u.length_s)::bigint AS length_s
    FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[]) AS w (meter_id, channel)
    JOIN usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
    WHERE u.start >= %(start)s AND u.start < %(end)s GROUP BY w.meter_id
"""
# In the order of the units, as one walks; meters of no unit come first.
_UNREAD: LiteralString = """
    SELECT m.id, coalesce(u.code, '') AS unit
    FROM meter m LEFT JOIN unit u ON u.id = m.unit_id
    WHERE m.project_id = %(project_id)s AND m.removed_on IS NULL
      AND (%(building_id)s::bigint IS NULL OR u.building_id = %(building_id)s)
      AND (%(medium)s::text IS NULL OR m.medium = %(medium)s)
      AND NOT EXISTS (SELECT FROM reading r WHERE r.meter_id = m.id AND r.taken_at >= %(since)s
                      AND r.channel = CASE m.medium WHEN 'water' THEN %(water)s WHEN 'heat' THEN %(heat)s
                                                    ELSE %(electricity)s END::smallint)
      AND (coalesce(u.code, ''), m.id) > (%(after_unit)s, %(after_id)s)
    ORDER BY coalesce(u.code, ''), m.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Help:
    """The last reading of the main register, and usage of a day on average of the last 30 (base unit, multiplied)."""

    last: Reading | None
    daily: int | None


@dataclass(frozen=True, slots=True)
class Unread:
    """Which meters a round goes to: those of a project without a reading since an instant; None: of any."""

    project_id: int
    since: datetime
    building_id: int | None = None
    medium: Medium | None = None


async def help_of(conn: Conn, meters: Iterable[Meter], now: datetime) -> dict[int, Help]:
    """Help for each of these meters, by id, in two statements."""
    wanted = {meter.id: meter.main_channel.number for meter in meters}
    latest = await service.latest_readings(conn, wanted)
    query = {"meters": list(wanted), "channels": list(wanted.values()), "start": now - _USUAL, "end": now}
    usual = {
        row["meter_id"]: row["quantity"] * _DAY_S // row["length_s"]
        for row in await (await conn.execute(_DAILY, query)).fetchall()
    }
    return {
        meter_id: Help(
            next((one for one in latest.get(meter_id, ()) if one.channel == channel), None), usual.get(meter_id)
        )
        for meter_id, channel in wanted.items()
    }


async def unread(conn: Conn, page: PageRequest, wanted: Unread) -> Page[Meter]:
    """Meters in place whose main register has no reading since then, unit by unit."""
    after_id, (after_unit,) = after_texts(page, 1)
    query = {
        "project_id": wanted.project_id,
        "building_id": wanted.building_id,
        "medium": wanted.medium,
        "since": wanted.since,
        "electricity": MAIN_CHANNEL["electricity"].number,
        "water": MAIN_CHANNEL["water"].number,
        "heat": MAIN_CHANNEL["heat"].number,
        "after_id": after_id,
        "after_unit": after_unit,
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_UNREAD, query)).fetchall()
    found = cut(rows, page, lambda row: (row["id"], row["unit"]))
    meters = await service.meters_by_id(conn, (row["id"] for row in found.items))
    return Page([meters[row["id"]] for row in found.items], found.next_cursor)
