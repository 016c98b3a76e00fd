"""SQL of single passages: what is known of one, what staff say its plate is, tickets, openings by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from cloud.parking.stays.repository import Changed
from gateway.contract.access import OPENED_BY_LANE

_PASSAGE: LiteralString = """
    SELECT p.id, p.project_id, p.lane_id, a.name AS lane_name, a.lot_id, p.session_id, p.plate, p.plate_told,
           p.plate_read, p.corrected_plate, p.vehicle_class, p.direction, p.taken_at, p.outcome, p.outcome_at,
           p.offline, p.decision, p.image, p.incident, p.follows, s.plate AS stay_plate
    FROM passage p JOIN parking_lane a ON a.id = p.lane_id LEFT JOIN parking_session s ON s.id = p.session_id
"""
# What counts is the last correction that was not taken back.
_COUNT: LiteralString = """
    UPDATE passage p SET corrected_plate = said.plate, plate = coalesce(said.plate, p.plate_told)
    FROM (SELECT (SELECT c.plate FROM plate_correction c WHERE c.passage_id = %(id)s AND c.undone_at IS NULL
                  ORDER BY c.id DESC LIMIT 1) AS plate) AS said
    WHERE p.id = %(id)s
    RETURNING p.id, p.lane_id, (SELECT lot_id FROM parking_lane l WHERE l.id = p.lane_id) AS lot_id, p.plate,
              p.taken_at, p.outcome, p.outcome_at, p.session_id
"""
_CORRECTION: LiteralString = """
    SELECT id, project_id, passage_id, plate, reason, made_by, made_at, undone_by, undone_reason, undone_at
    FROM plate_correction
"""
_UNREAD_AT_LANE: LiteralString = """
    SELECT id FROM passage
    WHERE lane_id = %(lane_id)s AND taken_at >= %(since)s AND outcome = 'arrived' AND plate = ''
    ORDER BY taken_at DESC, id LIMIT 1
"""
# The vehicle that stood before the barrier when it was opened, else the first that went through shortly after for which
# nothing else had opened.
_OPENINGS: LiteralString = """
    SELECT o.id, o.lane_id, a.name AS lane_name, o.command_id, o.opened_by, o.reason, o.opened_at,
           coalesce(stood.id, went.id) AS passage_id, coalesce(stood.plate, went.plate) AS plate,
           coalesce(stood.image, went.image) AS image
    FROM manual_opening o JOIN parking_lane a ON a.id = o.lane_id
    LEFT JOIN LATERAL (
        SELECT p.id, p.plate, p.image FROM passage p
        WHERE p.lane_id = o.lane_id AND p.taken_at <= o.opened_at AND p.taken_at >= o.opened_at - interval '30 minutes'
          AND (p.outcome = 'arrived' OR p.outcome_at >= o.opened_at)
        ORDER BY p.taken_at DESC, p.id LIMIT 1) AS stood ON true
    LEFT JOIN LATERAL (
        SELECT p.id, p.plate, p.image FROM passage p
        WHERE p.lane_id = o.lane_id AND p.outcome = 'passed' AND p.outcome_at >= o.opened_at
          AND p.outcome_at <= o.opened_at + interval '2 minutes'
          AND p.open_command_id IS NULL AND p.decision <> ALL (%(by_itself)s)
        ORDER BY p.outcome_at, p.id LIMIT 1) AS went ON true
    WHERE (%(project_id)s::bigint IS NULL OR o.project_id = %(project_id)s)
      AND (%(since)s::timestamptz IS NULL OR o.opened_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR o.opened_at < %(until)s)
      AND (%(lane_id)s::bigint IS NULL OR o.lane_id = %(lane_id)s) AND o.id < %(before)s
    ORDER BY o.id DESC LIMIT %(limit)s
"""
_OPENING_COUNTS: LiteralString = """
    SELECT opened_by, lane_id, count(*) AS openings FROM manual_opening
    WHERE project_id = %(project_id)s AND opened_at >= %(since)s AND opened_at < %(until)s
    GROUP BY opened_by, lane_id ORDER BY opened_by, lane_id
"""


@dataclass(frozen=True, slots=True)
class PassageRow:
    """All that is known of a passage."""

    id: UUID
    project_id: int
    lane_id: int
    lane_name: str
    lot_id: int
    session_id: int | None
    plate: str
    plate_told: str
    plate_read: str
    corrected_plate: str | None
    vehicle_class: str
    direction: str
    taken_at: datetime
    outcome: str
    outcome_at: datetime
    offline: bool
    decision: str
    image: str
    incident: str | None
    follows: UUID | None
    stay_plate: str | None
    """Of its stay: another one where the plate was misread."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What somebody said a passage's plate is, and who took it back."""

    id: int
    project_id: int
    passage_id: UUID
    plate: str
    reason: str
    made_by: str
    made_at: datetime
    undone_by: str | None
    undone_reason: str | None
    undone_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for the plate of a vehicle without one; `passage_id` is the entry at which it was given."""

    id: int
    project_id: int
    passage_id: UUID
    code: str
    issued_by: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class Opening:
    """A barrier opened by hand, and the vehicle that went through, if one was seen."""

    id: int
    lane_id: int
    lane_name: str
    command_id: UUID
    opened_by: str
    reason: str
    opened_at: datetime
    passage_id: UUID | None
    plate: str | None
    image: str | None


@dataclass(frozen=True, slots=True)
class OpeningCount:
    """How often somebody opened a lane by hand."""

    opened_by: str
    lane_id: int
    openings: int


async def passage(conn: Conn, passage_id: UUID) -> PassageRow | None:
    """One passage."""
    row = await (await conn.execute(_PASSAGE + " WHERE p.id = %s", (passage_id,))).fetchone()
    return None if row is None else PassageRow(**row)


async def corrections(conn: Conn, passage_id: UUID) -> list[Correction]:
    """What was said of a passage's plate, in that order."""
    rows = await (await conn.execute(_CORRECTION + " WHERE passage_id = %s ORDER BY id", (passage_id,))).fetchall()
    return [Correction(**row) for row in rows]


async def correction(conn: Conn, correction_id: int) -> Correction | None:
    """One correction."""
    row = await (await conn.execute(_CORRECTION + " WHERE id = %s", (correction_id,))).fetchone()
    return None if row is None else Correction(**row)


async def insert_correction(conn: Conn, project_id: int, passage_id: UUID, plate: str, reason: str, actor: str) -> int:
    """Keeps what somebody says a passage's plate is."""
    query = """INSERT INTO plate_correction (project_id, passage_id, plate, reason, made_by)
               VALUES (%s, %s, %s, %s, %s) RETURNING id"""
    row = await (await conn.execute(query, (project_id, passage_id, plate, reason, actor))).fetchone()
    assert row is not None
    return int(row["id"])


async def undo_correction(conn: Conn, correction_id: int, reason: str, actor: str, at: datetime) -> None:
    """Takes a correction back."""
    query = """UPDATE plate_correction SET undone_by = %s, undone_reason = %s, undone_at = %s
               WHERE id = %s AND undone_at IS NULL"""
    await conn.execute(query, (actor, reason, at, correction_id))


async def count_corrections(conn: Conn, passage_id: UUID, plate_before: str) -> list[Changed]:
    """Gives a passage the plate that counts by its corrections."""
    rows = await (await conn.execute(_COUNT, {"id": passage_id})).fetchall()
    return [Changed(**row, plate_before=plate_before) for row in rows]


async def open_plates(conn: Conn, lot_id: int) -> list[tuple[int, str]]:
    """(session, plate) of the vehicles inside a lot."""
    query = "SELECT id, plate FROM parking_session WHERE lot_id = %s AND state = 'open' AND plate <> '' ORDER BY id"
    return [(row["id"], row["plate"]) for row in await (await conn.execute(query, (lot_id,))).fetchall()]


async def ticket_of(conn: Conn, passage_id: UUID) -> Ticket | None:
    """The ticket that was given at a passage."""
    query = "SELECT id, project_id, passage_id, code, issued_by, issued_at FROM parking_ticket WHERE passage_id = %s"
    row = await (await conn.execute(query, (passage_id,))).fetchone()
    return None if row is None else Ticket(**row)


async def ticket(conn: Conn, project_id: int, code: str) -> Ticket | None:
    """A ticket by its code."""
    query = """SELECT id, project_id, passage_id, code, issued_by, issued_at FROM parking_ticket
               WHERE project_id = %s AND code = %s"""
    row = await (await conn.execute(query, (project_id, code))).fetchone()
    return None if row is None else Ticket(**row)


async def insert_ticket(conn: Conn, project_id: int, passage_id: UUID, code: str, actor: str) -> Ticket:
    """A new ticket."""
    query = """INSERT INTO parking_ticket (project_id, passage_id, code, issued_by) VALUES (%s, %s, %s, %s)
               RETURNING id, project_id, passage_id, code, issued_by, issued_at"""
    row = await (await conn.execute(query, (project_id, passage_id, code, actor))).fetchone()
    assert row is not None
    return Ticket(**row)


async def unread_at_lane(conn: Conn, lane_id: int, since: datetime) -> UUID | None:
    """The vehicle without a plate that came to a lane last and stands there."""
    row = await (await conn.execute(_UNREAD_AT_LANE, {"lane_id": lane_id, "since": since})).fetchone()
    return None if row is None else row["id"]


async def openings(
    conn: Conn,
    project_id: int | None,
    since: datetime | None,
    until: datetime | None,
    lane_id: int | None,
    before: int,
    limit: int,
) -> Sequence[Opening]:
    """Openings by hand of a time, the newest first, with ids below `before`."""
    query = {"project_id": project_id, "since": since, "until": until, "lane_id": lane_id, "before": before,
             "limit": limit, "by_itself": sorted(OPENED_BY_LANE)}  # fmt: skip
    return [Opening(**row) for row in await (await conn.execute(_OPENINGS, query)).fetchall()]


async def opening_counts(conn: Conn, project_id: int, since: datetime, until: datetime) -> list[OpeningCount]:
    """Openings by hand of a time, by who opened and which lane."""
    query = {"project_id": project_id, "since": since, "until": until}
    return [OpeningCount(**row) for row in await (await conn.execute(_OPENING_COUNTS, query)).fetchall()]
