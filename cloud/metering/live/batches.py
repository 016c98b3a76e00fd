"""Stored readings in the order of their commits: written beside them, read by whoever remembers what he has seen.

A reader remembers a *position*: the snapshot of the database that he read with last, as PostgreSQL writes it
("816:820:817"). What was not visible in it and is visible now he has not seen, whatever was committed first. Times of
the readings say nothing here: they come late and in any order.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import numpy as np
from numpy.typing import NDArray

from cloud.kit.db import Conn
from cloud.metering.readings.storing import Ints, Rows

KEPT_MIN: Final = 15
"""A batch can be read for so long at least, and not much longer than twice that."""
MOST_BEHIND: Final = 100_000
"""Readings that are read at once; who is further behind has to begin anew."""

_BATCHES_AT_ONCE: Final = 20

_COLUMNS: Final = 5
_HEAD = np.dtype([("least", ">i8"), ("bytes", ">i8")])
_WIDTHS: Final = (0, 1, 2, 4)
"""Bytes of a number in a column; wider ones have 8."""

_POSITION = re.compile(r"\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?")
_LONGEST_POSITION: Final = 4000

_ADD: LiteralString = """
    INSERT INTO live_batch (project_id, readings, points) VALUES (%(project_id)s, %(readings)s, %(points)b)
"""
_NOW: LiteralString = "SELECT pg_current_snapshot()::text AS position"
# Snapshots of one server follow each other, and the end of a later one is later: that of a position from before what
# was deleted is not. One from the future is from before a restore into another server.
_READABLE: LiteralString = """
    SELECT pg_snapshot_xmax(%(since)s::pg_snapshot) > pg_snapshot_xmax(f.forgotten)
       AND pg_snapshot_xmax(%(since)s::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
       AND (SELECT coalesce(sum(b.readings), 0) FROM live_batch b
            WHERE b.project_id = ANY (%(projects)s) AND b.xid >= pg_snapshot_xmin(%(since)s::pg_snapshot)
              AND NOT pg_visible_in_snapshot(b.xid, %(since)s::pg_snapshot)) <= %(most)s AS readable
    FROM live_floor f
"""
# One statement reads with one snapshot: what it returns and the position it names fit exactly.
_SINCE: LiteralString = """
    WITH here AS (SELECT pg_current_snapshot() AS seen)
    SELECT here.seen::text AS position, b.project_id, b.readings, b.points
    FROM here LEFT JOIN live_batch b
      ON b.project_id = ANY (%(projects)s) AND b.xid >= pg_snapshot_xmin(%(since)s::pg_snapshot)
     AND NOT pg_visible_in_snapshot(b.xid, %(since)s::pg_snapshot)
     AND (%(until)s::pg_snapshot IS NULL OR pg_visible_in_snapshot(b.xid, %(until)s::pg_snapshot))
    ORDER BY b.xid, b.id
"""
_FORGET: LiteralString = """
    WITH old AS (
        SELECT next_one FROM live_floor WHERE taken_at <= now() - make_interval(mins => %(minutes)s) FOR UPDATE),
    moved AS (
        UPDATE live_floor SET forgotten = old.next_one, next_one = pg_current_snapshot(), taken_at = now() FROM old),
    gone AS (
        DELETE FROM live_batch b USING old
        WHERE b.xid < pg_snapshot_xmax(old.next_one) AND pg_visible_in_snapshot(b.xid, old.next_one)
          AND NOT EXISTS (SELECT FROM webhook_reading_position p
                          WHERE p.project_id = b.project_id AND NOT pg_visible_in_snapshot(b.xid, p.seen))
        RETURNING b.id)
    SELECT count(*) AS gone FROM gone
"""


@dataclass(frozen=True, slots=True)
class Points:
    """Readings of one batch of a project, in columns; values in the base unit of their channel."""

    project_id: int
    meters: Ints
    channels: Ints
    taken_ms: Ints
    values: Ints
    qualities: Ints

    def __len__(self) -> int:
        return len(self.meters)

    def where(self, mask: NDArray[np.bool_]) -> "Points":
        """Those for which `mask` is true."""
        return Points(
            self.project_id,
            self.meters[mask],
            self.channels[mask],
            self.taken_ms[mask],
            self.values[mask],
            self.qualities[mask],
        )


@dataclass(frozen=True, slots=True)
class News:
    """What was stored since a position, and the position after it."""

    position: str
    batches: list[Points]


def is_position(text: str) -> bool:
    """Whether `text` has the form of a position."""
    if len(text) > _LONGEST_POSITION or _POSITION.fullmatch(text) is None:
        return False
    low, high, running = text.split(":")
    between = [int(one) for one in running.split(",")] if running else []
    inside = between == sorted(set(between)) and all(int(low) <= one < int(high) for one in between)
    return 0 < int(low) <= int(high) < 2**63 and inside


async def add(conn: Conn, rows: Rows) -> None:
    """Writes stored rows down for readers, one batch a project, in the transaction that stored them."""
    for project_id in np.unique(rows.projects).tolist():
        mine = rows.at(rows.projects == project_id)
        points = pack((mine.meters, mine.channels, mine.taken_ms, mine.values, mine.qualities))
        await conn.execute(_ADD, {"project_id": project_id, "readings": len(mine), "points": points})


async def position(conn: Conn) -> str:
    """The position of who wants only what comes from now on."""
    row = await (await conn.execute(_NOW)).fetchone()
    assert row is not None
    return str(row["position"])


async def is_readable(conn: Conn, projects: Sequence[int], since: str) -> bool:
    """Whether all that came since a position can still be read, and at once."""
    query = {"since": since, "projects": list(projects), "most": MOST_BEHIND}
    row = await (await conn.execute(_READABLE, query)).fetchone()
    return row is not None and bool(row["readable"])


async def each(
    conn: Conn, projects: Sequence[int], since: str, until: str | None = None
) -> AsyncIterator[tuple[str, Points | None]]:
    """The position of now with each batch since another one, some at a time; at least once, then with None."""
    query = {"since": since, "until": until, "projects": list(projects)}
    async with conn.cursor("live_batches") as cursor:
        cursor.itersize = _BATCHES_AT_ONCE
        await cursor.execute(_SINCE, query, binary=True)
        async for row in cursor:
            points = (
                None
                if row["points"] is None
                else Points(row["project_id"], *unpack(bytes(row["points"]), row["readings"]))
            )
            yield str(row["position"]), points


async def news(conn: Conn, projects: Sequence[int], since: str, until: str | None = None) -> News:
    """What was stored in these projects since a position, at most up to `until`, in the order of the transactions."""
    reached, found = since, []
    async for now, points in each(conn, projects, since, until):
        reached = now
        if points is not None:
            found.append(points)
    return News(reached, found)


async def forget(conn: Conn, kept_min: int = KEPT_MIN) -> int:
    """Deletes batches that are old and told to webhooks; returns how many."""
    row = await (await conn.execute(_FORGET, {"minutes": kept_min})).fetchone()
    return 0 if row is None else int(row["gone"])


def pack(columns: Sequence[Ints]) -> bytes:
    """Columns of one length, each as its least number and what every number is above it, in as few bytes as that needs.

    A third of the bytes of whole numbers: every byte here slows ingest down.
    """
    head = np.empty(len(columns), _HEAD)
    bodies = []
    for nth, column in enumerate(columns):
        least, most = int(column.min()), int(column.max())
        width = next((one for one in _WIDTHS if most - least < 1 << 8 * one), 8)
        # Numbers far apart: subtracting could overflow.
        head[nth] = (0 if width == 8 else least, width)
        if width:
            kind = _kind(width)
            bodies.append((column if width == 8 else column - least).astype(kind).tobytes())
    return head.tobytes() + b"".join(bodies)


def _kind(width: int) -> str:
    return ">i8" if width == 8 else f">u{width}"


def unpack(raw: bytes, readings: int) -> list[Ints]:
    """What was packed: columns of so many readings."""
    head = np.frombuffer(raw, _HEAD, _COLUMNS)
    at, columns = head.nbytes, []
    for least, width in head.tolist():
        if width == 0:
            columns.append(np.full(readings, least, np.int64))
            continue
        columns.append(np.frombuffer(raw, _kind(width), readings, at).astype(np.int64) + least)
        at += width * readings
    return columns
