"""SQL of incidents: what was odd about passages, and what people did about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import in_ms
from cloud.parking.stays.cursors import after_passage

TAILGATING = "tailgating"
KINDS = ("second-entry", "exit-without-entry", "misread", TAILGATING, "outer-entry-unseen", "inner-exit-unseen")
"""What people look at; that a vehicle was seen twice or came back is noted with its passage only."""

_INCIDENT: LiteralString = """
    SELECT odd.kind, p.id AS passage_id, p.project_id, a.lot_id, l.name AS lot_name, p.lane_id, a.name AS lane_name,
           p.session_id, p.plate, p.plate_read, p.direction, p.taken_at, p.outcome, p.offline, p.image,
           odd.other AS other_id, o.plate AS other_plate, o.taken_at AS other_taken_at,
           o.session_id AS other_session_id, coalesce(h.state, 'open') AS state, coalesce(h.note, '') AS note,
           h.handled_by, h.handled_at
    FROM passage p
    CROSS JOIN LATERAL (
        SELECT p.incident AS kind, p.incident_with AS other WHERE p.incident = ANY (%(kinds)s)
        UNION ALL SELECT 'tailgating', p.follows WHERE p.follows IS NOT NULL AND 'tailgating' = ANY (%(kinds)s)) AS odd
    JOIN parking_lane a ON a.id = p.lane_id
    JOIN parking_lot l ON l.id = a.lot_id
    LEFT JOIN passage o ON o.id = odd.other
    LEFT JOIN incident_handling h ON h.passage_id = p.id AND h.kind = odd.kind
    WHERE (p.incident IS NOT NULL OR p.follows IS NOT NULL)
"""
_LIST: LiteralString = (
    _INCIDENT
    + """
      AND (%(project_id)s::bigint IS NULL OR p.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR a.lot_id = %(lot_id)s)
      AND (%(state)s::text IS NULL OR coalesce(h.state, 'open') = %(state)s)
      AND (%(plate)s::text IS NULL OR %(plate)s IN (p.plate, o.plate))
      AND (%(after_ms)s::bigint IS NULL OR (p.taken_at, p.id, odd.kind) <
           (timestamptz 'epoch' + %(after_ms)s * interval '1 millisecond', %(after_id)s::uuid, %(after_kind)s))
    ORDER BY p.taken_at DESC, p.id DESC, odd.kind DESC LIMIT %(limit)s
"""
)
_HANDLE: LiteralString = """
    INSERT INTO incident_handling (project_id, passage_id, kind, state, note, handled_by, handled_at)
    VALUES (%(project_id)s, %(passage_id)s, %(kind)s, %(state)s, %(note)s, %(actor)s, %(at)s)
    ON CONFLICT (passage_id, kind) DO UPDATE SET state = excluded.state, note = excluded.note,
        handled_by = excluded.handled_by, handled_at = excluded.handled_at
"""
_OPEN_COUNT: LiteralString = """
    SELECT count(*) AS waiting FROM passage p
    CROSS JOIN LATERAL (
        SELECT p.incident AS kind WHERE p.incident = ANY (%(kinds)s)
        UNION ALL SELECT 'tailgating' WHERE p.follows IS NOT NULL) AS odd
    WHERE p.project_id = %(project_id)s AND p.taken_at >= %(since)s
      AND (p.incident IS NOT NULL OR p.follows IS NOT NULL)
      AND NOT EXISTS (SELECT FROM incident_handling h WHERE h.passage_id = p.id AND h.kind = odd.kind)
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something odd about a passage, the other passage that it is about, and what was done about it."""

    kind: str
    passage_id: UUID
    project_id: int
    lot_id: int
    lot_name: str
    lane_id: int
    lane_name: str
    session_id: int | None
    plate: str
    plate_read: str
    direction: str
    taken_at: datetime
    outcome: str
    offline: bool
    image: str
    other_id: UUID | None
    other_plate: str | None
    other_taken_at: datetime | None
    other_session_id: int | None
    state: str
    note: str
    handled_by: str | None
    handled_at: datetime | None


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents are wanted; None means any."""

    project_id: int | None = None
    lot_id: int | None = None
    kind: str | None = None
    state: str | None = None
    plate: str | None = None


async def incidents(conn: Conn, page: PageRequest, wanted: IncidentFilter) -> Page[Incident]:
    """Incidents, the latest passage first."""
    query = {
        "project_id": wanted.project_id,
        "lot_id": wanted.lot_id,
        "kinds": list(KINDS) if wanted.kind is None else [wanted.kind],
        "state": wanted.state,
        "plate": wanted.plate,
        "limit": page.limit + 1,
        **after_passage(page),
    }
    rows: Sequence[Incident] = [Incident(**row) for row in await (await conn.execute(_LIST, query)).fetchall()]
    return cut(rows, page, lambda found: (in_ms(found.taken_at), str(found.passage_id), found.kind))


async def incident(conn: Conn, passage_id: UUID, kind: str) -> Incident | None:
    """One incident."""
    query = {"kinds": [kind], "passage_id": passage_id}
    row = await (await conn.execute(_INCIDENT + " AND p.id = %(passage_id)s", query)).fetchone()
    return None if row is None else Incident(**row)


async def handle(conn: Conn, found: Incident, state: str, note: str, actor: str, at: datetime) -> None:
    """Keeps what was done about an incident."""
    query = {
        "project_id": found.project_id,
        "passage_id": found.passage_id,
        "kind": found.kind,
        "state": state,
        "note": note,
        "actor": actor,
        "at": at,
    }
    await conn.execute(_HANDLE, query)


async def waiting(conn: Conn, project_id: int, since: datetime) -> int:
    """How many incidents since then nobody has looked at."""
    query = {"kinds": list(KINDS), "project_id": project_id, "since": since}
    row = await (await conn.execute(_OPEN_COUNT, query)).fetchone()
    return 0 if row is None else int(row["waiting"])
