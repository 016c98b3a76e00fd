"""SQL of the reports; reads only, always under row-level security."""

from datetime import datetime
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.kit.periods import Period
from cloud.metering.records import Medium
from cloud.reports.records import Exceptional, HourUsage, MeterFilter, MonthMoney

# Rows that no hour holds whole tell what was used, not when: they are left out of the curve.
_HOURS: LiteralString = """
    SELECT start, top AS quantity FROM usage_total
    WHERE project_id = %(project_id)s AND medium = %(medium)s AND channel = %(channel)s
      AND start >= %(start)s AND start < %(end)s AND reach = 0 AND top IS NOT NULL
    ORDER BY start
"""
_MEDIA: LiteralString = """
    SELECT medium FROM meter WHERE project_id = %(project_id)s GROUP BY medium
    ORDER BY array_position(ARRAY['electricity', 'water', 'heat'], medium)
"""
_METERS: LiteralString = """
    SELECT m.id, m.code, m.medium, coalesce(b.name || ' ' || u.code, m.place) AS place, m.class AS meter_class,
           m.verification_due, seen.seen_at
    FROM meter m
    JOIN current_register r ON r.meter_id = m.id
    LEFT JOIN unit u ON u.id = m.unit_id
    LEFT JOIN building b ON b.id = u.building_id
    LEFT JOIN LATERAL (
        SELECT s.seen_at FROM device_binding d LEFT JOIN device_state s ON s.device_id = d.device_id
        WHERE d.meter_id = m.id AND d.valid @> now()) AS seen ON true
    WHERE m.project_id = %(project_id)s AND m.id > %(after)s
      AND (%(medium)s::text IS NULL OR m.medium = %(medium)s)
      AND (%(unit_id)s::bigint IS NULL OR m.unit_id = %(unit_id)s)
      AND (%(building_id)s::bigint IS NULL OR u.building_id = %(building_id)s)
      AND (%(meter_class)s::text IS NULL OR m.class = %(meter_class)s)
      AND (%(due_by)s::date IS NULL OR (m.verification_due <= %(due_by)s AND m.removed_on IS NULL))
      AND (%(search)s::text IS NULL
           OR strpos(lower(concat_ws(' ', m.code, r.serial, b.name, u.code, m.place)), lower(%(search)s)) > 0)
      AND CASE %(state)s::text
          WHEN 'online' THEN seen.seen_at >= %(online_since)s
          WHEN 'silent' THEN seen.seen_at < %(online_since)s
          WHEN 'never' THEN seen.seen_at IS NULL
          ELSE true END
    ORDER BY m.id LIMIT %(limit)s
"""
_CLASSES: LiteralString = """
    SELECT DISTINCT class FROM meter WHERE project_id = %(project_id)s AND class <> '' ORDER BY class
"""
# Of the bills issued in a month: what they come to, and what of it has been paid since.
_MONEY: LiteralString = """
    SELECT coalesce(sum(b.total), 0) AS billed, coalesce(sum(paid.principal), 0) AS collected
    FROM bill b LEFT JOIN LATERAL (
        SELECT sum(a.principal) AS principal FROM payment_allocation a WHERE a.bill_id = b.id) AS paid ON true
    WHERE b.project_id = %(project_id)s AND b.state NOT IN ('draft', 'void')
      AND b.issued_on >= %(start)s AND b.issued_on < %(end)s
"""
_BILL_FAILURES: LiteralString = """
    SELECT r.id AS run_id, r.created_at AS at, a.number AS subject, f.code, f.detail
    FROM bill_run_failure f JOIN bill_run r ON r.id = f.run_id JOIN account a ON a.id = f.account_id
    WHERE f.project_id = %(project_id)s
      AND r.id = (SELECT max(id) FROM bill_run WHERE project_id = %(project_id)s)
    ORDER BY f.id DESC LIMIT %(limit)s
"""


async def hours(
    conn: Conn, project_id: int, medium: Medium, channel: int, start: datetime, end: datetime
) -> list[HourUsage]:
    """Usage of a project by the hour; hours without any are absent."""
    query = {"project_id": project_id, "medium": medium, "channel": channel, "start": start, "end": end}
    return [HourUsage(**row) for row in await (await conn.execute(_HOURS, query)).fetchall()]


async def media(conn: Conn, project_id: int) -> list[Medium]:
    """The media that a project has meters for."""
    rows = await (await conn.execute(_MEDIA, {"project_id": project_id})).fetchall()
    return [row["medium"] for row in rows]


async def meters(
    conn: Conn, wanted: MeterFilter, after: int, limit: int, online_since: datetime
) -> list[dict[str, Any]]:
    """Up to `limit` meters by id, with the place and when their device was last heard of."""
    query = {
        "project_id": wanted.project_id,
        "search": wanted.search,
        "building_id": wanted.building_id,
        "unit_id": wanted.unit_id,
        "medium": wanted.medium,
        "state": wanted.state,
        "meter_class": wanted.meter_class,
        "due_by": wanted.due_by,
        "online_since": online_since,
        "after": after,
        "limit": limit,
    }
    return await (await conn.execute(_METERS, query)).fetchall()


async def meter_classes(conn: Conn, project_id: int) -> list[str]:
    """The classes that meters of a project are of."""
    rows = await (await conn.execute(_CLASSES, {"project_id": project_id})).fetchall()
    return [row["class"] for row in rows]


async def money(conn: Conn, project_id: int, period: Period, currency: str) -> MonthMoney:
    """What the bills issued within `period` come to, and what of it is paid."""
    query = {"project_id": project_id, "start": period.start, "end": period.end}
    row = (await (await conn.execute(_MONEY, query)).fetchall())[0]
    return MonthMoney(period, row["billed"], row["collected"], currency)


async def bill_failures(conn: Conn, project_id: int, limit: int) -> list[Exceptional]:
    """Accounts that the newest bill run could not bill."""
    rows = await (await conn.execute(_BILL_FAILURES, {"project_id": project_id, "limit": limit})).fetchall()
    return [
        Exceptional(
            "bill-failure",
            row["at"],
            row["subject"],
            code=row["code"],
            detail=row["detail"],
            href=f"/bill-runs/{row['run_id']}",
        )
        for row in rows
    ]
