"""SQL of lots, lanes, rules and vehicles, and of reading sessions."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import in_ms
from cloud.parking.models import ParkingRule
from cloud.parking.records import (
    Lane,
    Lot,
    LotOccupancy,
    Passage,
    RuleVersion,
    Session,
    SessionFilter,
    SessionPayment,
    Vehicle,
    Waiting,
)

# Advisory locks of projects ("gm", 5): passages are taken under a shared one, a new lane is made under an exclusive
# one. So no passage is set aside as unclaimed after the lane claimed what was.
_LOCK_SPACE = 0x67_6D_05 << 40

_FARTHEST_MS = 10**14
"""Milliseconds since 1970 beyond which PostgreSQL has no time to compare with: about the year 5000."""

_LOT: LiteralString = "SELECT id, project_id, code, name, parent_id, capacity FROM parking_lot"
_LANE: LiteralString = "SELECT id, project_id, lot_id, code, name, direction, device_id FROM parking_lane"
_VEHICLE: LiteralString = """
    SELECT id, project_id, plate, vehicle_class, person_id, lower(valid) AS valid_from, upper(valid) AS valid_until
    FROM vehicle
"""
_OCCUPANCY: LiteralString = """
    SELECT l.id, l.project_id, l.code, l.name, l.parent_id, l.capacity,
           (SELECT count(*) FROM parking_session s WHERE s.lot_id = l.id AND s.state = 'open') AS inside
    FROM parking_lot l WHERE l.project_id = %(project_id)s ORDER BY l.code
"""
_RULES: LiteralString = """
    SELECT id, lot_id, version, lower(valid) AS valid_from, upper(valid) AS valid_until, content
    FROM parking_rule_version WHERE lot_id = ANY (%(lots)s) ORDER BY lot_id, valid
"""
# A successor ends the validity of what was in force.
_END_RULE: LiteralString = """
    UPDATE parking_rule_version SET valid = daterange(lower(valid), %(valid_from)s)
    WHERE lot_id = %(lot_id)s AND upper_inf(valid) AND lower(valid) < %(valid_from)s
"""
_PUBLISH_RULE: LiteralString = """
    INSERT INTO parking_rule_version (project_id, lot_id, version, valid, content, content_hash, published_by)
    SELECT %(project_id)s, %(lot_id)s, coalesce(max(version), 0) + 1, daterange(%(valid_from)s, NULL), %(content)s,
           %(content_hash)s, %(published_by)s
    FROM parking_rule_version WHERE lot_id = %(lot_id)s
    RETURNING id, version
"""
_SESSION: LiteralString = """
    SELECT s.id, s.project_id, s.lot_id, l.name AS lot_name, s.plate, s.vehicle_class, s.entered_at, s.left_at, s.state,
           s.fee, s.fee_until, s.fee_steps, s.rule_version_id, s.currency,
           coalesce((SELECT sum(p.amount) FROM parking_payment p WHERE p.session_id = s.id), 0.00) AS paid
    FROM parking_session s JOIN parking_lot l ON l.id = s.lot_id
"""
_LIST_SESSIONS: LiteralString = (
    _SESSION
    + """
    WHERE (%(project_id)s::bigint IS NULL OR s.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
      AND (%(state)s::text IS NULL OR s.state = %(state)s)
      AND (%(plate)s::text IS NULL OR s.plate = %(plate)s)
      AND (%(began_from)s::timestamptz IS NULL OR coalesce(s.entered_at, s.left_at) >= %(began_from)s)
      AND (%(began_before)s::timestamptz IS NULL OR coalesce(s.entered_at, s.left_at) < %(began_before)s)
      AND (%(after_ms)s::bigint IS NULL OR (coalesce(s.entered_at, s.left_at), s.id) <
           (timestamptz 'epoch' + %(after_ms)s * interval '1 millisecond', %(after_id)s))
    ORDER BY coalesce(s.entered_at, s.left_at) DESC, s.id DESC LIMIT %(limit)s
"""
)
_PASSAGES: LiteralString = """
    SELECT p.id, p.lane_id, l.name AS lane_name, p.plate, p.plate_read, p.direction, p.taken_at, p.outcome, p.offline,
           p.decision, p.image, p.incident
    FROM passage p LEFT JOIN parking_lane l ON l.id = p.lane_id
    WHERE p.session_id = %(session_id)s ORDER BY p.taken_at, p.direction, p.id
"""
# Waiting: recognised at an exit, and nothing was seen at that lane since. Residents do not see the lane. The command
# is the last one that was given to let this vehicle out there, for this passage or an earlier recognition.
_WAITING: LiteralString = """
    SELECT p.id AS passage_id, l.device_id, p.taken_at,
           (SELECT q.open_command_id FROM passage q
            WHERE q.session_id = p.session_id AND q.lane_id = p.lane_id AND q.outcome = 'arrived'
              AND q.open_command_id IS NOT NULL
            ORDER BY q.taken_at DESC, q.id LIMIT 1) AS command_id
    FROM passage p LEFT JOIN parking_lane l ON l.id = p.lane_id
    WHERE p.session_id = %(session_id)s AND p.direction = 'exit' AND p.outcome = 'arrived'
      AND p.taken_at >= %(since)s
      AND NOT EXISTS (SELECT FROM passage n WHERE n.lane_id = p.lane_id AND n.taken_at > p.taken_at)
    ORDER BY p.taken_at DESC, p.id LIMIT 1
"""
_WAITING_SESSIONS: LiteralString = """
    SELECT DISTINCT s.id, s.plate FROM passage p JOIN parking_session s ON s.id = p.session_id
    WHERE p.project_id = %(project_id)s AND p.direction = 'exit' AND p.outcome = 'arrived' AND p.taken_at >= %(since)s
      AND s.state = 'open' AND s.plate <> ''
    ORDER BY s.id
"""
_LIST_LANES: LiteralString = (
    _LANE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR lot_id = %(lot_id)s) AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
"""
)
_LIST_LOTS: LiteralString = (
    _LOT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
)
_LIST_VEHICLES: LiteralString = (
    _VEHICLE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(plate)s::text IS NULL OR plate = %(plate)s) AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
"""
)


async def insert_lot(conn: Conn, project_id: int, code: str, name: str, capacity: int, parent_id: int | None) -> Lot:
    """A new lot."""
    query = """INSERT INTO parking_lot (project_id, code, name, capacity, parent_id) VALUES (%s, %s, %s, %s, %s)
               RETURNING id, project_id, code, name, parent_id, capacity"""
    return Lot(**await _one(conn, query, (project_id, code, name, capacity, parent_id)))


async def insert_lane(
    conn: Conn, project_id: int, lot_id: int, code: str, name: str, direction: str, device_id: int
) -> Lane:
    """A new lane."""
    query = """INSERT INTO parking_lane (project_id, lot_id, code, name, direction, device_id)
               VALUES (%s, %s, %s, %s, %s, %s) RETURNING id, project_id, lot_id, code, name, direction, device_id"""
    return Lane(**await _one(conn, query, (project_id, lot_id, code, name, direction, device_id)))


async def lot(conn: Conn, lot_id: int) -> Lot | None:
    """One lot."""
    row = await (await conn.execute(_LOT + " WHERE id = %s", (lot_id,))).fetchone()
    return None if row is None else Lot(**row)


async def lots(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Lot]:
    """Lots by id."""
    query = {"project_id": project_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_LOTS, query)).fetchall()
    return cut([Lot(**row) for row in rows], page, lambda found: (found.id,))


async def lane(conn: Conn, lane_id: int) -> Lane | None:
    """One lane."""
    row = await (await conn.execute(_LANE + " WHERE id = %s", (lane_id,))).fetchone()
    return None if row is None else Lane(**row)


async def lanes(conn: Conn, page: PageRequest, project_id: int | None, lot_id: int | None) -> Page[Lane]:
    """Lanes by id."""
    query = {"project_id": project_id, "lot_id": lot_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_LANES, query)).fetchall()
    return cut([Lane(**row) for row in rows], page, lambda found: (found.id,))


async def lanes_of_devices(conn: Conn, device_ids: Sequence[int]) -> dict[int, Lane]:
    """Lanes by the id of their device."""
    rows = await (await conn.execute(_LANE + " WHERE device_id = ANY (%s)", (list(device_ids),))).fetchall()
    return {row["device_id"]: Lane(**row) for row in rows}


async def lock_lanes(conn: Conn, project_id: int, *, exclusive: bool) -> None:
    """Keeps the project's lanes as they are (shared), or everybody else away from them, until the end."""
    if exclusive:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_SPACE + project_id,))
    else:
        await conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK_SPACE + project_id,))


async def publish_rule(
    conn: Conn, lot: Lot, valid_from: date, rule: ParkingRule, content_hash: bytes, published_by: int | None
) -> RuleVersion:
    """A new version in force from a local date; the one in force until then ends."""
    query = {"project_id": lot.project_id, "lot_id": lot.id, "valid_from": valid_from, "published_by": published_by}
    await conn.execute(_END_RULE, query)
    content = Jsonb(rule.model_dump(mode="json"))
    row = await _one(conn, _PUBLISH_RULE, {**query, "content": content, "content_hash": content_hash})
    return RuleVersion(row["id"], lot.id, row["version"], valid_from, None, rule)


async def rules(conn: Conn, lot_ids: Sequence[int]) -> list[RuleVersion]:
    """All versions of the lots' rules, by lot and validity."""
    rows = await (await conn.execute(_RULES, {"lots": list(lot_ids)})).fetchall()
    return [
        RuleVersion(
            row["id"],
            row["lot_id"],
            row["version"],
            row["valid_from"],
            row["valid_until"],
            ParkingRule.model_validate(row["content"]),
        )
        for row in rows
    ]


async def insert_vehicle(
    conn: Conn,
    project_id: int,
    plate: str,
    person_id: int,
    vehicle_class: str,
    valid_from: datetime,
    valid_until: datetime | None,
) -> Vehicle:
    """A new vehicle."""
    query = """INSERT INTO vehicle (project_id, plate, person_id, vehicle_class, valid)
               VALUES (%s, %s, %s, %s, tstzrange(%s, %s)) RETURNING id"""
    row = await _one(conn, query, (project_id, plate, person_id, vehicle_class, valid_from, valid_until))
    return Vehicle(row["id"], project_id, plate, vehicle_class, person_id, valid_from, valid_until)


async def vehicles(conn: Conn, page: PageRequest, project_id: int | None, plate: str | None) -> Page[Vehicle]:
    """Vehicles by id."""
    query = {"project_id": project_id, "plate": plate, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_VEHICLES, query)).fetchall()
    return cut([Vehicle(**row) for row in rows], page, lambda found: (found.id,))


async def occupancy(conn: Conn, project_id: int) -> list[LotOccupancy]:
    """Open sessions of each lot, by the lots' codes."""
    rows = await (await conn.execute(_OCCUPANCY, {"project_id": project_id})).fetchall()
    counted = [(row.pop("inside"), Lot(**row)) for row in rows]
    return [LotOccupancy(lot, inside, lot.capacity) for inside, lot in counted]


async def session(conn: Conn, session_id: int) -> Session | None:
    """One session."""
    row = await (await conn.execute(_SESSION + " WHERE s.id = %s", (session_id,))).fetchone()
    return None if row is None else Session(**row)


async def sessions(conn: Conn, page: PageRequest, wanted: SessionFilter) -> Page[Session]:
    """Sessions, the latest arrival first. Passages carry milliseconds, so a cursor of milliseconds is exact."""
    after_ms, after_session = _after_time(page)
    query = {
        "project_id": wanted.project_id,
        "lot_id": wanted.lot_id,
        "state": wanted.state,
        "plate": wanted.plate,
        "began_from": wanted.began_from,
        "began_before": wanted.began_before,
        "after_ms": after_ms,
        "after_id": after_session,
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_LIST_SESSIONS, query)).fetchall()
    return cut([Session(**row) for row in rows], page, lambda found: (_began_ms(found), found.id))


async def passages(conn: Conn, session_id: int) -> list[Passage]:
    """Passages of a session in order of time."""
    rows = await (await conn.execute(_PASSAGES, {"session_id": session_id})).fetchall()
    return [Passage(**row) for row in rows]


async def payments(conn: Conn, session_ids: Sequence[int]) -> dict[int, list[SessionPayment]]:
    """Payments by session, in the order in which they were made."""
    query = """SELECT session_id, payment_id, amount, paid_until FROM parking_payment
               WHERE session_id = ANY (%s) ORDER BY id"""
    found: dict[int, list[SessionPayment]] = {}
    for row in await (await conn.execute(query, (list(session_ids),))).fetchall():
        found.setdefault(row.pop("session_id"), []).append(SessionPayment(**row))
    return found


async def insert_payment(conn: Conn, session: Session, payment_id: int, amount: object, paid_until: datetime) -> None:
    """Notes which session a payment was for."""
    query = """INSERT INTO parking_payment (project_id, payment_id, session_id, amount, paid_until)
               VALUES (%s, %s, %s, %s, %s)"""
    await conn.execute(query, (session.project_id, payment_id, session.id, amount, paid_until))


async def waiting(conn: Conn, session_id: int, since: datetime) -> Waiting | None:
    """The session's vehicle when it stands at an exit since `since` or later."""
    row = await (await conn.execute(_WAITING, {"session_id": session_id, "since": since})).fetchone()
    return None if row is None else Waiting(**row)


async def waiting_sessions(conn: Conn, project_id: int, since: datetime) -> list[tuple[int, str]]:
    """(id, plate) of open sessions that were seen at an exit since then."""
    rows = await (await conn.execute(_WAITING_SESSIONS, {"project_id": project_id, "since": since})).fetchall()
    return [(row["id"], row["plate"]) for row in rows]


async def close_session(
    conn: Conn, session_id: int, left_at: datetime, actor: str, reason: str, closed_at: datetime
) -> None:
    """Ends an open session by hand."""
    query = """UPDATE parking_session SET state = 'unmatched', left_at = greatest(%s, entered_at), closed_by = %s,
               closed_reason = %s, closed_at = %s WHERE id = %s AND state = 'open'"""
    await conn.execute(query, (left_at, actor, reason, closed_at, session_id))


async def _one(conn: Conn, query: LiteralString, values: Any) -> dict[str, Any]:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return row


def _after_time(page: PageRequest) -> tuple[int | None, int | None]:
    """A key of milliseconds since 1970 and an id. Raises InvalidInput."""
    if page.after is None:
        return None, None
    began_ms, session_id = page.after
    if not isinstance(began_ms, int) or not isinstance(session_id, int) or abs(began_ms) > _FARTHEST_MS:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return began_ms, min(session_id, MAX_ID)


def _began_ms(session: Session) -> int:
    began = session.entered_at or session.left_at
    assert began is not None, "a session was seen to begin or to end"
    return in_ms(began)
