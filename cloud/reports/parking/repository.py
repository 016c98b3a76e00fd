"""SQL of the reports of parking; reads only, always under row-level security."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

import numpy as np

from cloud.kit.db import Conn
from cloud.reports.parking.occupancy import Ints
from cloud.reports.parking.records import OpeningRow, RevenueRow, TurnoverRow, TurnoverStep, UnmatchedRow

# Whole milliseconds: what is added up is exact, whatever the server does with intervals.
_TURNOVER: LiteralString = """
    SELECT CASE %(step)s::text WHEN 'day' THEN to_char(s.left_at AT TIME ZONE %(zone)s, 'YYYY-MM-DD')
                               ELSE to_char(s.left_at AT TIME ZONE %(zone)s, 'HH24') END AS step,
           count(*) AS stays, round(avg(stayed.ms) / 1000)::bigint AS mean_s,
           round((percentile_cont(0.5) WITHIN GROUP (ORDER BY stayed.ms) / 1000)::numeric)::bigint AS median_s
    FROM parking_session s,
         LATERAL (SELECT (extract(epoch FROM s.left_at - s.entered_at) * 1000)::bigint AS ms) AS stayed
    WHERE s.project_id = %(project_id)s AND s.state = 'closed' AND s.entry_seen
      AND s.left_at >= %(start)s AND s.left_at < %(end)s
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
    GROUP BY 1 ORDER BY 1
"""
# Two columns of eight bytes a stay in one row: a million rows would cost seconds to take apart. Which start belongs to
# which end does not matter.
_SPANS: LiteralString = """
    SELECT coalesce(string_agg(int8send((extract(epoch FROM s.entered_at) * 1000)::bigint), ''), '') AS starts,
           coalesce(string_agg(int8send((extract(epoch FROM coalesce(s.left_at, %(end)s)) * 1000)::bigint), ''), '')
               AS ends
    FROM parking_session s
    WHERE s.project_id = %(project_id)s AND s.state <> 'unmatched' AND s.lot_id = ANY (%(lots)s::bigint[])
      AND s.entered_at < %(end)s AND (s.left_at IS NULL OR s.left_at > %(start)s)
"""
_LOTS: LiteralString = "SELECT id, parent_id, capacity FROM parking_lot WHERE project_id = %s ORDER BY code"
# The lane is that of the exit: the vehicle passed it, or waits there. One payment may pay several stays: counted once.
_REVENUE: LiteralString = """
    SELECT p.paid_on AS day, l.name AS lot, coalesce(gone.name, '') AS lane, p.method,
           count(DISTINCT p.id) AS payments, sum(pp.amount) AS amount, p.currency
    FROM parking_payment pp
    JOIN payment p ON p.id = pp.payment_id
    JOIN parking_session s ON s.id = pp.session_id
    JOIN parking_lot l ON l.id = s.lot_id
    LEFT JOIN LATERAL (
        SELECT n.name FROM passage x JOIN parking_lane n ON n.id = x.lane_id
        WHERE x.session_id = s.id AND x.direction = 'exit' AND x.outcome IN ('passed', 'arrived')
        ORDER BY x.outcome DESC, x.taken_at DESC LIMIT 1) AS gone ON true
    WHERE pp.project_id = %(project_id)s AND p.state IN ('settled', 'refunded')
      AND p.paid_on >= %(first)s AND p.paid_on < %(last)s
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
    GROUP BY p.paid_on, l.name, gone.name, p.method, p.currency ORDER BY p.paid_on, l.name, 3, p.method
"""
_OPENINGS: LiteralString = """
    SELECT l.name AS lot, n.name AS lane, o.opened_by AS actor, o.code, o.reason, count(*) AS openings,
           count(*) FILTER (WHERE c.state = 'done') AS confirmed, max(o.opened_at) AS last_at
    FROM manual_opening o
    JOIN parking_lane n ON n.id = o.lane_id
    JOIN parking_lot l ON l.id = n.lot_id
    LEFT JOIN command c ON c.id = o.command_id
    WHERE o.project_id = %(project_id)s AND o.opened_at >= %(start)s AND o.opened_at < %(end)s
      AND (%(lot_id)s::bigint IS NULL OR n.lot_id = %(lot_id)s)
    GROUP BY l.name, n.name, o.opened_by, o.code, o.reason ORDER BY openings DESC, last_at DESC, 1, 2, 3, 4, 5
"""
_UNMATCHED: LiteralString = """
    SELECT (s.left_at AT TIME ZONE %(zone)s)::date AS day, l.name AS lot,
           CASE WHEN s.closed_at IS NOT NULL THEN 'closed-by-hand'
                WHEN s.entered_at IS NULL OR NOT s.entry_seen THEN 'entry' ELSE 'exit' END AS missing,
           count(*) AS stays
    FROM parking_session s JOIN parking_lot l ON l.id = s.lot_id
    WHERE s.project_id = %(project_id)s AND s.state = 'unmatched' AND s.left_at >= %(start)s AND s.left_at < %(end)s
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report is about: local days `first` to before `last`, which are the instants `start` to `end`."""

    project_id: int
    lot_id: int | None
    first: date
    last: date
    start: datetime
    end: datetime
    zone: str

    def values(self) -> dict[str, object]:
        """For the statements."""
        return {
            "project_id": self.project_id, "lot_id": self.lot_id, "first": self.first, "last": self.last,
            "start": self.start, "end": self.end, "zone": self.zone,
        }  # fmt: skip


async def turnover(conn: Conn, wanted: Wanted, step: TurnoverStep) -> list[TurnoverRow]:
    """Stays that ended, by day or by hour of the day."""
    rows = await (await conn.execute(_TURNOVER, {**wanted.values(), "step": step})).fetchall()
    return [TurnoverRow(**row) for row in rows]


async def spans(conn: Conn, wanted: Wanted, lot_ids: Sequence[int], until: datetime) -> tuple[Ints, Ints]:
    """When the vehicles of stays in the lots came and left, in milliseconds; who is inside left at `until`."""
    query = {**wanted.values(), "lots": list(lot_ids), "end": until}
    row = await (await conn.execute(_SPANS, query, binary=True)).fetchone()
    assert row is not None
    starts, ends = (np.frombuffer(bytes(row[name]), ">i8").astype(np.int64) for name in ("starts", "ends"))
    return starts, ends


async def lots(conn: Conn, project_id: int) -> list[tuple[int, int | None, int]]:
    """(id, the lot around, capacity) of the lots of a project."""
    rows = await (await conn.execute(_LOTS, (project_id,))).fetchall()
    return [(row["id"], row["parent_id"], row["capacity"]) for row in rows]


async def revenue(conn: Conn, wanted: Wanted) -> list[RevenueRow]:
    """What was paid, by day, lane and method."""
    return [RevenueRow(**row) for row in await (await conn.execute(_REVENUE, wanted.values())).fetchall()]


async def openings(conn: Conn, wanted: Wanted) -> list[OpeningRow]:
    """Barriers opened by hand, by lane, person and reason; the most frequent first."""
    return [OpeningRow(**row) for row in await (await conn.execute(_OPENINGS, wanted.values())).fetchall()]


async def unmatched(conn: Conn, wanted: Wanted) -> list[UnmatchedRow]:
    """Stays that nobody can match, by day, lot and what is missing."""
    return [UnmatchedRow(**row) for row in await (await conn.execute(_UNMATCHED, wanted.values())).fetchall()]
