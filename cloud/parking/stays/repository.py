"""SQL of passages: stored once each, found with those they are matched with, given their stay."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, LiteralString
from uuid import UUID

from cloud.kit.db import Conn
from cloud.parking.stays.likeness import skeleton
from cloud.parking.stays.matching import BESIDE_ORDINARY, SeenPassage
from cloud.parking.stays.reports import Report

# Two reports of one passage together: see `reports.merged`, which says the same.
_INSERT_PASSAGES: LiteralString = """
    INSERT INTO passage (id, project_id, lane_id, plate, plate_told, plate_read, vehicle_class, score, direction,
                         taken_at, outcome, outcome_at, offline, decision, image, progress)
    SELECT id, project_id, lane_id, plate_told, plate_told, plate_read, vehicle_class, score, direction, taken_at,
           outcome, outcome_at, offline, decision, image, progress
    FROM unnest(%(id)s::uuid[], %(project_id)s::bigint[], %(lane_id)s::bigint[], %(plate_told)s::text[],
        %(plate_read)s::text[], %(vehicle_class)s::text[], %(score)s::smallint[], %(direction)s::text[],
        %(taken_at)s::timestamptz[], %(outcome)s::text[], %(outcome_at)s::timestamptz[], %(offline)s::boolean[],
        %(decision)s::text[], %(image)s::text[], %(progress)s::smallint[])
        AS told (id, project_id, lane_id, plate_told, plate_read, vehicle_class, score, direction, taken_at, outcome,
                 outcome_at, offline, decision, image, progress)
    ON CONFLICT (id) DO UPDATE SET
        (progress, outcome_at, decision, vehicle_class, score, outcome) = (
            SELECT progress, outcome_at, decision, vehicle_class, score, outcome
            FROM (VALUES (passage.progress, passage.outcome_at, passage.decision, passage.vehicle_class, passage.score,
                          passage.outcome),
                         (excluded.progress, excluded.outcome_at, excluded.decision, excluded.vehicle_class,
                          excluded.score, excluded.outcome))
                 AS known (progress, outcome_at, decision, vehicle_class, score, outcome)
            ORDER BY progress DESC, outcome_at DESC, decision COLLATE "C" DESC, vehicle_class COLLATE "C" DESC,
                     score DESC LIMIT 1),
        plate_told = greatest(passage.plate_told COLLATE "C", excluded.plate_told),
        plate = coalesce(passage.corrected_plate, greatest(passage.plate_told COLLATE "C", excluded.plate_told)),
        plate_read = CASE WHEN (excluded.plate_told COLLATE "C", excluded.plate_read COLLATE "C")
                               > (passage.plate_told, passage.plate_read)
                          THEN excluded.plate_read ELSE passage.plate_read END,
        offline = passage.offline OR excluded.offline,
        image = greatest(passage.image COLLATE "C", excluded.image)
    WHERE passage.project_id = excluded.project_id AND passage.lane_id = excluded.lane_id
      AND ((excluded.progress, excluded.outcome_at, excluded.decision COLLATE "C", excluded.vehicle_class COLLATE "C",
            excluded.score)
             > (passage.progress, passage.outcome_at, passage.decision, passage.vehicle_class, passage.score)
           OR (excluded.plate_told COLLATE "C", excluded.plate_read COLLATE "C")
              > (passage.plate_told, passage.plate_read)
           OR excluded.image COLLATE "C" > passage.image OR (excluded.offline AND NOT passage.offline))
    RETURNING id, lane_id, (SELECT lot_id FROM parking_lane l WHERE l.id = lane_id) AS lot_id, plate, taken_at, outcome,
              outcome_at, session_id
"""
# Matching may start at the last ordinary entry before the change of a vehicle that was nowhere inside (see
# `match_passages`), unless another plate is like its plate: those are matched together, from the beginning.
_ANCHORS: LiteralString = """
    SELECT wanted.root_id, wanted.plate, anchor.entered_at
    FROM unnest(%(roots)s::bigint[], %(plates)s::text[], %(skeletons)s::text[], %(since)s::timestamptz[])
         AS wanted (root_id, plate, skeleton, since)
    CROSS JOIN LATERAL (
        SELECT s.entered_at FROM parking_session s
        JOIN unnest(%(lots)s::bigint[], %(lot_roots)s::bigint[]) AS tree (lot_id, root_id)
          ON tree.lot_id = s.lot_id AND tree.root_id = wanted.root_id
        WHERE s.project_id = %(project_id)s AND s.plate = wanted.plate AND s.entered_at < wanted.since AND s.entry_seen
          AND EXISTS (SELECT FROM passage p WHERE p.session_id = s.id AND p.taken_at = s.entered_at
                      AND p.direction = 'entry' AND p.outcome = 'passed'
                      AND (p.incident IS NULL OR p.incident = ANY (%(ordinary)s)))
          AND NOT EXISTS (SELECT FROM parking_session o
                          JOIN unnest(%(lots)s::bigint[], %(lot_roots)s::bigint[]) AS around (lot_id, root_id)
                            ON around.lot_id = o.lot_id AND around.root_id = wanted.root_id
                          WHERE o.project_id = %(project_id)s AND o.plate = wanted.plate AND o.lot_id <> s.lot_id
                            AND coalesce(o.entered_at, o.left_at) <= s.entered_at
                            AND (o.left_at IS NULL OR o.left_at >= s.entered_at OR o.closed_at IS NOT NULL))
        ORDER BY s.entered_at DESC LIMIT 1) AS anchor
    WHERE NOT EXISTS (SELECT FROM passage other WHERE other.project_id = %(project_id)s AND other.skeleton <> ''
                      AND other.skeleton = wanted.skeleton AND other.plate <> wanted.plate)
"""
_PASSAGE: LiteralString = """
    SELECT l.lot_id, p.plate, p.id, p.lane_id, p.direction, p.taken_at, p.outcome, p.vehicle_class, p.session_id,
           p.incident, p.incident_with
"""
_PASSAGES: LiteralString = (
    _PASSAGE
    + """
    FROM unnest(%(roots)s::bigint[], %(skeletons)s::text[], %(since)s::timestamptz[])
         AS wanted (root_id, skeleton, since)
    JOIN passage p ON p.project_id = %(project_id)s AND p.skeleton = wanted.skeleton AND p.skeleton <> ''
                  AND p.taken_at >= wanted.since
    JOIN parking_lane l ON l.id = p.lane_id
    JOIN unnest(%(lots)s::bigint[], %(lot_roots)s::bigint[]) AS tree (lot_id, root_id)
      ON tree.lot_id = l.lot_id AND tree.root_id = wanted.root_id
"""
)
_PASSAGES_BY_ID: LiteralString = (
    _PASSAGE + " FROM passage p JOIN parking_lane l ON l.id = p.lane_id WHERE p.id = ANY (%(ids)s)"
)
_ATTACH: LiteralString = """
    UPDATE passage p SET session_id = wanted.session_id, incident = wanted.incident, incident_with = wanted.other
    FROM unnest(%(ids)s::uuid[], %(sessions)s::bigint[], %(incidents)s::text[], %(others)s::uuid[])
         AS wanted (id, session_id, incident, other)
    WHERE p.id = wanted.id
"""
# Went through on an opening that was not its own: the lane did not open for it, nobody opened by hand since the vehicle
# before, and that one passed just now. Lane by lane: nothing tells the planner how short the times are, and it would
# rather read all passages there are than those of a hundred lanes (OFFSET 0 keeps it from joining them).
_TAILGATING: LiteralString = """
    SELECT q.id, found.follows
    FROM unnest(%(lanes)s::bigint[], %(since)s::timestamptz[], %(until)s::timestamptz[], %(within)s::interval[])
         AS wanted (lane_id, since, until, within)
    CROSS JOIN LATERAL (
        SELECT * FROM passage p
        WHERE p.lane_id = wanted.lane_id AND p.outcome = 'passed' AND p.outcome_at >= wanted.since
          AND p.outcome_at <= wanted.until + wanted.within AND p.decision = ANY (%(unopened)s)
        OFFSET 0) AS q
    LEFT JOIN LATERAL (
        SELECT b.id AS follows FROM passage b
        WHERE b.lane_id = q.lane_id AND b.outcome = 'passed' AND b.direction = q.direction
          AND b.outcome_at >= q.outcome_at - wanted.within AND (b.outcome_at, b.id) < (q.outcome_at, q.id)
          AND (b.plate <> q.plate OR q.plate = '')
          AND NOT EXISTS (SELECT FROM manual_opening m WHERE m.lane_id = q.lane_id
                          AND m.opened_at > b.outcome_at AND m.opened_at <= q.outcome_at)
        ORDER BY b.outcome_at DESC, b.id DESC LIMIT 1) AS found ON true
    WHERE q.follows IS DISTINCT FROM found.follows
"""
_FOLLOW: LiteralString = """
    UPDATE passage p SET follows = found.follows
    FROM unnest(%(ids)s::uuid[], %(follows)s::uuid[]) AS found (id, follows) WHERE p.id = found.id
"""
NOT_OPENED = [
    "unrecognised",
    "await-cloud",
    "blacklist",
    "no-temporary",
    "lot-full",
    "lot-closed",
    "already-inside",
    "permit-expired",
]
"""Decisions by which a lane did not open: who went through all the same, went through on another's opening."""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as it is, with the session and incident it has now."""

    seen: SeenPassage
    session_id: int | None
    incident: str | None
    incident_with: UUID | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A passage that is new or of which more is known now, with the session it had until now."""

    id: UUID
    lane_id: int
    lot_id: int
    plate: str
    taken_at: datetime
    outcome: str
    outcome_at: datetime
    session_id: int | None
    plate_before: str = ""
    """The plate that counted until now, empty for a new one."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Passages that are matched together: plates of one skeleton in lots around one another, `since` a time."""

    root_id: int
    skeleton: str
    plate: str
    since: datetime


async def lock_plates(conn: Conn, project_id: int, plates: Iterable[str]) -> None:
    """One transaction at a time works on plates that look alike in a project; always locked in the same order."""
    keys = sorted({_lock_key(project_id, skeleton(plate)) for plate in plates if plate})
    if keys:
        await conn.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", (keys,))


def lock_name(plate: str, session_id: int | None) -> str:
    """What `lock_plates` locks for a stay: its plate, or the stay itself as long as it has none."""
    return plate or ("" if session_id is None else f"#{session_id}")


async def in_use(conn: Conn, ids: Sequence[UUID]) -> dict[UUID, tuple[str, int | None]]:
    """(plate that counts, session) of these passages, as far as they are stored."""
    query = "SELECT id, plate, session_id FROM passage WHERE id = ANY (%s)"
    rows = await (await conn.execute(query, (list(ids),))).fetchall()
    return {row["id"]: (row["plate"], row["session_id"]) for row in rows}


async def insert_passages(conn: Conn, rows: Sequence[Report], before: Mapping[UUID, str]) -> list[Changed]:
    """Stores reports (of each passage one); returns what they changed. `before`: the plates in use until now."""
    columns = {name: [getattr(row, name) for row in rows] for name in Report.__slots__}
    found = await (await conn.execute(_INSERT_PASSAGES, columns)).fetchall()
    return [Changed(**row, plate_before=before.get(row["id"], "")) for row in found]


async def anchors(
    conn: Conn, project_id: int, wanted: Sequence[Cluster], roots: Mapping[int, int]
) -> dict[tuple[int, str], datetime]:
    """(root, plate) → from when on its passages must be matched again; not there: from the beginning."""
    query = {**_wanted(project_id, wanted, roots), "ordinary": [str(one) for one in BESIDE_ORDINARY]}
    rows = await (await conn.execute(_ANCHORS, query)).fetchall()
    return {(row["root_id"], row["plate"]): row["entered_at"] for row in rows}


async def passages_since(
    conn: Conn, project_id: int, wanted: Sequence[Cluster], roots: Mapping[int, int]
) -> list[StoredPassage]:
    """Passages of the clusters from their `since` on; `plate` of a cluster does not matter."""
    rows = await (await conn.execute(_PASSAGES, _wanted(project_id, wanted, roots))).fetchall()
    return [_stored_passage(row) for row in rows]


async def passages_by_id(conn: Conn, ids: Sequence[UUID]) -> list[StoredPassage]:
    """These passages."""
    if not ids:
        return []
    rows = await (await conn.execute(_PASSAGES_BY_ID, {"ids": list(ids)})).fetchall()
    return [_stored_passage(row) for row in rows]


async def attach(conn: Conn, wanted: Sequence[tuple[UUID, int | None, str | None, UUID | None]]) -> None:
    """Gives passages their session, their incident, and the other passage it is about."""
    if not wanted:
        return
    ids, sessions, incidents, others = (list(column) for column in zip(*wanted, strict=True))
    await conn.execute(_ATTACH, {"ids": ids, "sessions": sessions, "incidents": incidents, "others": others})


async def mark_tailgating(
    conn: Conn, changed: Mapping[int, tuple[datetime, datetime]], within: Mapping[int, timedelta]
) -> None:
    """Looks again at who followed whom at lanes, by lane from the first to the last change."""
    if changed:
        query = {
            "lanes": list(changed),
            "since": [since for since, _ in changed.values()],
            "until": [until for _, until in changed.values()],
            "within": [within[lane_id] for lane_id in changed],
            "unopened": NOT_OPENED,
        }
        found = await (await conn.execute(_TAILGATING, query)).fetchall()
        if found:
            columns = {"ids": [row["id"] for row in found], "follows": [row["follows"] for row in found]}
            await conn.execute(_FOLLOW, columns)


async def note_commands(conn: Conn, commands: Mapping[UUID, UUID]) -> None:
    """Remembers by which commands vehicles are let out, by passage."""
    query = """UPDATE passage p SET open_command_id = n.command_id
               FROM unnest(%s::uuid[], %s::uuid[]) AS n (passage_id, command_id) WHERE p.id = n.passage_id"""
    await conn.execute(query, (list(commands), list(commands.values())))


async def note_shown(conn: Conn, commands: Mapping[UUID, UUID]) -> None:
    """Remembers by which commands drivers are told what is due, by passage."""
    query = """UPDATE passage p SET due_command_id = n.command_id
               FROM unnest(%s::uuid[], %s::uuid[]) AS n (passage_id, command_id) WHERE p.id = n.passage_id"""
    await conn.execute(query, (list(commands), list(commands.values())))


def _lock_key(project_id: int, plate: str) -> int:
    digest = blake2b(f"parking {project_id} {plate}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _wanted(project_id: int, wanted: Sequence[Cluster], roots: Mapping[int, int]) -> dict[str, object]:
    return {
        "project_id": project_id,
        "roots": [one.root_id for one in wanted],
        "plates": [one.plate for one in wanted],
        "skeletons": [one.skeleton for one in wanted],
        "since": [one.since for one in wanted],
        "lots": list(roots),
        "lot_roots": list(roots.values()),
    }


def _stored_passage(row: dict[str, Any]) -> StoredPassage:
    seen = SeenPassage(
        row["id"], row["lane_id"], row["direction"], row["taken_at"], row["outcome"], row["vehicle_class"],
        row["lot_id"], row["plate"],
    )  # fmt: skip
    return StoredPassage(seen, row["session_id"], row["incident"], row["incident_with"])
