"""SQL of writing passages and the sessions that follow from them; everything works on many plates at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.parking.stays.matching import Direction, Outcome, SeenPassage
from gateway.contract.messages import Passage as WirePassage

_INSERT_PASSAGES: LiteralString = """
    INSERT INTO passage (id, project_id, lane_id, plate, plate_read, vehicle_class, score, direction, taken_at, outcome,
                         outcome_at, offline, decision, image)
    SELECT * FROM unnest(%(id)s::uuid[], %(project_id)s::bigint[], %(lane_id)s::bigint[], %(plate)s::text[],
        %(plate_read)s::text[], %(vehicle_class)s::text[], %(score)s::smallint[], %(direction)s::text[],
        %(taken_at)s::timestamptz[], %(outcome)s::text[], %(outcome_at)s::timestamptz[], %(offline)s::boolean[],
        %(decision)s::text[], %(image)s::text[])
    ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, outcome_at = excluded.outcome_at,
        -- A camera that read nothing at first may have read the plate by the time the vehicle passed.
        plate = CASE WHEN passage.plate = '' AND passage.session_id IS NULL THEN excluded.plate ELSE passage.plate END,
        plate_read = CASE WHEN passage.plate = '' AND passage.session_id IS NULL
                          THEN excluded.plate_read ELSE passage.plate_read END
    WHERE passage.project_id = excluded.project_id AND passage.lane_id = excluded.lane_id
      AND array_position(ARRAY['arrived', 'refused', 'turned-back', 'passed'], excluded.outcome)
        > array_position(ARRAY['arrived', 'refused', 'turned-back', 'passed'], passage.outcome)
    RETURNING id, lane_id, plate, taken_at
"""
# Matching may start at the last session that began before the change with an ordinary entry (see `match_passages`).
_ANCHORS: LiteralString = """
    SELECT wanted.lot_id, wanted.plate, anchor.entered_at
    FROM unnest(%(lots)s::bigint[], %(plates)s::text[], %(since)s::timestamptz[]) AS wanted (lot_id, plate, since)
    LEFT JOIN LATERAL (
        SELECT s.entered_at FROM parking_session s
        WHERE s.project_id = %(project_id)s AND s.lot_id = wanted.lot_id AND s.plate = wanted.plate
          AND s.entered_at < wanted.since
          AND EXISTS (SELECT FROM passage p WHERE p.session_id = s.id AND p.taken_at = s.entered_at
                      AND p.direction = 'entry' AND p.outcome = 'passed' AND p.incident IS NULL)
        ORDER BY s.entered_at DESC LIMIT 1
    ) AS anchor ON true
"""
_PASSAGES: LiteralString = """
    SELECT l.lot_id, p.plate, p.id, p.lane_id, p.direction, p.taken_at, p.outcome, p.vehicle_class, p.session_id,
           p.incident
    FROM unnest(%(lots)s::bigint[], %(plates)s::text[], %(since)s::timestamptz[]) AS wanted (lot_id, plate, since)
    JOIN passage p ON p.project_id = %(project_id)s AND p.plate = wanted.plate AND p.taken_at >= wanted.since
    JOIN parking_lane l ON l.id = p.lane_id AND l.lot_id = wanted.lot_id
"""
_PASSAGES_BY_ID: LiteralString = """
    SELECT l.lot_id, p.plate, p.id, p.lane_id, p.direction, p.taken_at, p.outcome, p.vehicle_class, p.session_id,
           p.incident
    FROM passage p JOIN parking_lane l ON l.id = p.lane_id WHERE p.id = ANY (%(ids)s)
"""
_SESSIONS: LiteralString = """
    SELECT s.id, s.lot_id, s.plate, s.vehicle_class, s.entered_at, s.left_at, s.state,
           s.closed_at IS NOT NULL AS closed_by_hand
    FROM unnest(%(lots)s::bigint[], %(plates)s::text[], %(since)s::timestamptz[]) AS wanted (lot_id, plate, since)
    JOIN parking_session s ON s.project_id = %(project_id)s AND s.lot_id = wanted.lot_id AND s.plate = wanted.plate
      AND coalesce(s.entered_at, s.left_at) >= wanted.since
"""
_INSERT_SESSIONS: LiteralString = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until,
                                 fee_steps, rule_version_id, currency)
    SELECT %(project_id)s, lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until, fee_steps,
           rule_version_id, %(currency)s
    FROM unnest(%(lot_id)s::bigint[], %(plate)s::text[], %(vehicle_class)s::text[], %(entered_at)s::timestamptz[],
                %(left_at)s::timestamptz[], %(state)s::text[], %(fee)s::numeric[], %(fee_until)s::timestamptz[],
                %(fee_steps)s::jsonb[], %(rule_version_id)s::bigint[])
         AS made (lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until, fee_steps, rule_version_id)
    RETURNING id, lot_id, plate, entered_at, left_at
"""
_UPDATE_SESSION: LiteralString = """
    UPDATE parking_session
    SET vehicle_class = %(vehicle_class)s, entered_at = %(entered_at)s, left_at = %(left_at)s, state = %(state)s,
        fee = %(fee)s, fee_until = %(fee_until)s, fee_steps = %(fee_steps)s, rule_version_id = %(rule_version_id)s,
        closed_at = NULL, closed_by = NULL, closed_reason = NULL
    WHERE id = %(id)s
"""
_ATTACH: LiteralString = """
    UPDATE passage p SET session_id = wanted.session_id, incident = wanted.incident
    FROM unnest(%(ids)s::uuid[], %(sessions)s::bigint[], %(incidents)s::text[]) AS wanted (id, session_id, incident)
    WHERE p.id = wanted.id
"""
_SET_ASIDE: LiteralString = """
    INSERT INTO unclaimed_passage (id, project_id, gateway_code, device_code, reason, content)
    VALUES (%(id)s, %(project_id)s, %(gateway_code)s, %(device_code)s, %(reason)s, %(content)s)
    ON CONFLICT (id) DO UPDATE SET content = excluded.content
    WHERE unclaimed_passage.project_id = excluded.project_id
      AND unclaimed_passage.content ->> %(outcome_field)s = 'arrived'
"""
_CLAIM: LiteralString = """
    DELETE FROM unclaimed_passage
    WHERE project_id = %(project_id)s AND gateway_code = %(gateway_code)s AND device_code = %(device_code)s
      AND reason = 'unknown-lane'
    RETURNING content
"""
_OUTCOME_FIELD = WirePassage.__struct_fields__.index("outcome")

PlateKey = tuple[int, str]
"""Lot and plate."""


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage to store."""

    id: UUID
    project_id: int
    lane_id: int
    plate: str
    plate_read: str
    vehicle_class: str
    score: int
    direction: Direction
    taken_at: datetime
    outcome: Outcome
    outcome_at: datetime
    offline: bool
    decision: str
    image: str


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as it is, with the session and incident it has now."""

    key: PlateKey
    seen: SeenPassage
    session_id: int | None
    incident: str | None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What is stored of a stay."""

    id: int
    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None
    state: str
    closed_by_hand: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What a session is to become."""

    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None
    state: str
    fee: Decimal | None
    fee_until: datetime | None
    fee_steps: list[dict[str, Any]]
    rule_version_id: int | None


async def lock_plates(conn: Conn, project_id: int, plates: Iterable[str]) -> None:
    """One transaction at a time works on a plate of a project; always locked in the same order."""
    keys = sorted({_lock_key(project_id, plate) for plate in plates if plate})
    await conn.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", (keys,))


async def insert_passages(conn: Conn, rows: Sequence[PassageRow]) -> list[tuple[UUID, int, str, datetime]]:
    """Stores passages (each id once); returns (id, lane, plate, time) of those that are new or got further."""
    columns = {name: [getattr(row, name) for row in rows] for name in PassageRow.__slots__}
    found = await (await conn.execute(_INSERT_PASSAGES, columns)).fetchall()
    return [(row["id"], row["lane_id"], row["plate"], row["taken_at"]) for row in found]


async def anchors(conn: Conn, project_id: int, since: dict[PlateKey, datetime]) -> dict[PlateKey, datetime | None]:
    """From when on passages must be matched again after a change at `since`; None: from the beginning."""
    rows = await (await conn.execute(_ANCHORS, _wanted(project_id, since))).fetchall()
    return {(row["lot_id"], row["plate"]): row["entered_at"] for row in rows}


async def passages_since(conn: Conn, project_id: int, since: dict[PlateKey, datetime]) -> list[StoredPassage]:
    """Passages of the plates in the lots from `since` on."""
    rows = await (await conn.execute(_PASSAGES, _wanted(project_id, since))).fetchall()
    return [_stored_passage(row) for row in rows]


async def passages_by_id(conn: Conn, ids: Sequence[UUID]) -> list[StoredPassage]:
    """These passages."""
    rows = await (await conn.execute(_PASSAGES_BY_ID, {"ids": list(ids)})).fetchall()
    return [_stored_passage(row) for row in rows]


async def sessions_since(conn: Conn, project_id: int, since: dict[PlateKey, datetime]) -> list[StoredSession]:
    """Sessions of the plates in the lots that began at `since` or later."""
    rows = await (await conn.execute(_SESSIONS, _wanted(project_id, since))).fetchall()
    return [StoredSession(**row) for row in rows]


async def insert_sessions(conn: Conn, project_id: int, currency: str, rows: Sequence[SessionRow]) -> list[int]:
    """Makes sessions and returns their ids in the order of `rows`."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in SessionRow.__slots__}
    columns["fee_steps"] = [Jsonb(steps) for steps in columns["fee_steps"]]
    query = {"project_id": project_id, "currency": currency, **columns}
    waiting: dict[tuple[object, ...], list[int]] = {}
    for row in await (await conn.execute(_INSERT_SESSIONS, query)).fetchall():
        waiting.setdefault((row["lot_id"], row["plate"], row["entered_at"], row["left_at"]), []).append(row["id"])
    # RETURNING promises no order; rows that agree in all four are the same to everybody.
    return [waiting[(row.lot_id, row.plate, row.entered_at, row.left_at)].pop() for row in rows]


async def update_sessions(conn: Conn, changes: Sequence[tuple[int, SessionRow]]) -> None:
    """Changes sessions; those that are over first, so that never two of a plate are open."""
    ordered = sorted(changes, key=lambda change: change[1].state == "open")
    queries = [
        {**{name: getattr(row, name) for name in SessionRow.__slots__}, "fee_steps": Jsonb(row.fee_steps), "id": id_}
        for id_, row in ordered
    ]
    if queries:
        await conn.cursor().executemany(_UPDATE_SESSION, queries)


async def merge_sessions(conn: Conn, merged: Sequence[tuple[int, int]]) -> None:
    """Ends sessions that turned out to be part of another (gone, kept): the kept one takes their payments."""
    for gone, kept in merged:
        await conn.execute("UPDATE parking_payment SET session_id = %s WHERE session_id = %s", (kept, gone))
        await conn.execute("UPDATE parking_waiver SET session_id = %s WHERE session_id = %s", (kept, gone))
        await conn.execute("UPDATE parking_intent_stay SET session_id = %s WHERE session_id = %s", (kept, gone))
        await conn.execute("UPDATE passage SET session_id = %s WHERE session_id = %s", (kept, gone))
        await conn.execute("DELETE FROM parking_session WHERE id = %s", (gone,))


async def attach(conn: Conn, wanted: Sequence[tuple[UUID, int | None, str | None]]) -> None:
    """Gives passages their session and incident."""
    if not wanted:
        return
    ids, sessions, incidents = zip(*wanted, strict=True)
    await conn.execute(_ATTACH, {"ids": list(ids), "sessions": list(sessions), "incidents": list(incidents)})


async def note_command(conn: Conn, passage_id: UUID, command_id: UUID) -> None:
    """Remembers the command that lets the vehicle of this passage out."""
    await conn.execute("UPDATE passage SET open_command_id = %s WHERE id = %s", (command_id, passage_id))


async def set_aside(conn: Conn, project_id: int, gateway_code: str, reason: str, passage: WirePassage) -> None:
    """Keeps a passage that no lane can take."""
    query = {
        "id": passage.id,
        "project_id": project_id,
        "gateway_code": gateway_code,
        "device_code": passage.device,
        "reason": reason,
        "content": Jsonb(msgspec.to_builtins(passage)),
        "outcome_field": _OUTCOME_FIELD,
    }
    await conn.execute(_SET_ASIDE, query)


async def claim(conn: Conn, project_id: int, gateway_code: str, device_code: str) -> list[WirePassage]:
    """Takes out what was set aside for a device."""
    query = {"project_id": project_id, "gateway_code": gateway_code, "device_code": device_code}
    rows = await (await conn.execute(_CLAIM, query)).fetchall()
    return [msgspec.convert(row["content"], WirePassage) for row in rows]


def _lock_key(project_id: int, plate: str) -> int:
    digest = blake2b(f"parking {project_id} {plate}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _wanted(project_id: int, since: dict[PlateKey, datetime]) -> dict[str, object]:
    return {
        "project_id": project_id,
        "lots": [lot for lot, _ in since],
        "plates": [plate for _, plate in since],
        "since": list(since.values()),
    }


def _stored_passage(row: dict[str, Any]) -> StoredPassage:
    seen = SeenPassage(
        row["id"], row["lane_id"], row["direction"], row["taken_at"], row["outcome"], row["vehicle_class"]
    )
    return StoredPassage((row["lot_id"], row["plate"]), seen, row["session_id"], row["incident"])
