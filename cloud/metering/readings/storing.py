"""Rows into `store.reading`: copied when they are new, looked up first when some may be there already."""

from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg.errors import UniqueViolation

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, copy_in, to_wire_time
from cloud.kit.db import Conn
from cloud.metering.checks.load_checks import LOAD_NUMBERS
from cloud.metering.checks.subjects_repository import load_thresholds
from gateway.contract.quantities import BY_NUMBER, Kind

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_DAY_MS = 86_400_000

_COPY: LiteralString = """
    COPY store.reading (meter_id, channel, taken_at, value, quality, project_id) FROM STDIN (FORMAT BINARY)
"""
_COPY_KINDS = ("int8", "int2", "timestamptz", "int8", "int2", "int8")
# One probe of the key's index for each row: a planner that hashes would read whole months. The bounds let it leave
# out the other months before it starts. Both columns come back as bytes, without an object per row.
_FIND: LiteralString = """
    SELECT string_agg(int4send(n.nth::int4), ''::bytea) AS places,
           string_agg(int8send(found.value), ''::bytea) AS values
    FROM unnest(%(meters)s, %(channels)s, %(times)s) WITH ORDINALITY AS n (meter_id, channel, taken_at, nth)
    CROSS JOIN LATERAL (
        SELECT r.value FROM store.reading r
        WHERE r.meter_id = n.meter_id AND r.channel = n.channel AND r.taken_at = n.taken_at
          AND r.taken_at BETWEEN timestamptz 'epoch' + %(first)s::bigint * interval '1 millisecond'
                             AND timestamptz 'epoch' + %(last)s::bigint * interval '1 millisecond'
        LIMIT 1) AS found
"""
_REVISE: LiteralString = """
    WITH revised AS (
        INSERT INTO store.reading_revision (meter_id, channel, taken_at, value, quality, project_id)
        SELECT * FROM unnest(%(meters)s, %(channels)s, %(times)s, %(values)s, %(qualities)s, %(projects)s)
        ON CONFLICT DO NOTHING
        RETURNING project_id, meter_id, channel, taken_at, value),
    told AS (
        INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
        SELECT v.project_id, v.meter_id, v.channel, 'duplicate', v.taken_at, v.taken_at, max(v.value), r.value
        FROM revised v JOIN store.reading r USING (meter_id, channel, taken_at)
        WHERE NOT v.meter_id = ANY (%(silent)s::bigint[])
        GROUP BY v.project_id, v.meter_id, v.channel, v.taken_at, r.value
        ORDER BY v.meter_id, v.channel, v.taken_at
        ON CONFLICT (meter_id, channel, rule, from_at) DO NOTHING)
    SELECT FROM revised
"""
_MARK_DIRTY: LiteralString = """
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
    SELECT * FROM unnest(%(meters)s, %(channels)s, %(projects)s, %(from)s, %(until)s)
"""
# A rule looks at loads beside usage. Days that are over were judged without these; others are judged when they are.
_MARK_LATE: LiteralString = """
    INSERT INTO store.late_load (meter_id, channel, project_id, from_at, until_at)
    SELECT w.* FROM unnest(%(meters)s, %(channels)s, %(projects)s, %(from)s, %(until)s)
                    AS w (meter_id, channel, project_id, from_at, until_at)
    JOIN project p ON p.id = w.project_id
    WHERE w.from_at < date_trunc('day', now(), p.time_zone)
"""

_HAS_USAGE = np.zeros(max(BY_NUMBER) + 1, np.bool_)
for _quantity in BY_NUMBER.values():
    # A net register runs both ways: its difference is no usage.
    _HAS_USAGE[_quantity.number] = _quantity.kind is Kind.CUMULATIVE and _quantity.code != "energy_net_total"
_IS_LOAD = np.zeros(len(_HAS_USAGE), np.bool_)
_IS_LOAD[list(LOAD_NUMBERS)] = True


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings with their meters, column by column; all columns have one length, times in ms since 1970."""

    meters: Ints
    channels: Ints
    taken_ms: Ints
    values: Ints
    qualities: Ints
    projects: Ints

    def __len__(self) -> int:
        return len(self.meters)

    def at(self, which: Ints | Mask) -> "Rows":
        """Some of the rows."""
        return Rows(
            self.meters[which],
            self.channels[which],
            self.taken_ms[which],
            self.values[which],
            self.qualities[which],
            self.projects[which],
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of each row, in the order given: exactly one of the three is true."""

    stored: Mask
    repeated: Mask
    """Its key is there with its value."""
    revised: Mask
    """Its key is there with another value, which stays; this one is kept beside it."""
    new_revisions: int
    """Values kept beside a reading that were not kept before."""


async def store_rows(conn: Conn, rows: Rows, *, expect_new: bool) -> Outcome:
    """Stores rows once and marks what usage has to look at again, in the caller's transaction.

    `expect_new` copies before it looks, which costs the copied rows when one of them is there already; the outcome is
    the same. Of several rows with one key the first counts.
    """
    order = _in_order(rows)
    sorted_rows = rows.at(order)
    first_of_key = _first_of_key(sorted_rows)
    kept = await _keep(conn, sorted_rows, first_of_key, expect_new=expect_new)
    standing = np.where(kept.present, kept.values, sorted_rows.values)
    # A row behind the first of its key is measured by what stands under the key.
    standing = standing[np.maximum.accumulate(np.where(first_of_key, np.arange(len(order)), 0))]
    differs = sorted_rows.values != standing
    stored = first_of_key & ~kept.present
    new_revisions = await _revise(conn, sorted_rows.at(differs)) if differs.any() else 0
    if stored.any():
        await mark_dirty(conn, sorted_rows.at(stored))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return Outcome(stored[back], (~stored & ~differs)[back], differs[back], new_revisions)


async def mark_dirty(conn: Conn, rows: Rows) -> None:
    """One window per register: usage has to look at it again, and rules at the load of days that are over."""
    for chosen, statement in ((_HAS_USAGE, _MARK_DIRTY), (_IS_LOAD, _MARK_LATE)):
        mine = rows.at(chosen[rows.channels])
        if len(mine):
            await conn.execute(statement, _windows(mine))


def _windows(rows: Rows) -> dict[str, object]:
    """From the first to the last reading of each register."""
    register = (rows.meters << 16) | rows.channels
    order = np.argsort(register, kind="stable")
    register, taken = register[order], rows.taken_ms[order]
    first = np.flatnonzero(np.r_[True, np.diff(register) != 0])
    return {
        "meters": Int8Column(register[first] >> 16),
        "channels": Int2Column(register[first] & 0xFFFF),
        "projects": Int8Column(rows.projects[order][first]),
        "from": TimeColumn(np.minimum.reduceat(taken, first)),
        "until": TimeColumn(np.maximum.reduceat(taken, first)),
    }


@dataclass(frozen=True, slots=True)
class _Kept:
    """Which rows were there before, and with which value."""

    present: Mask
    values: Ints


def _in_order(rows: Rows) -> Ints:
    """Places of the rows in the one order in which every writer inserts: two of them never wait crosswise.

    By UTC day first, because parts of the table begin on one and COPY fills the parts one after another; stable, so
    that of two values for one key the first to come stays.
    """
    order: Ints = np.lexsort((rows.taken_ms, rows.channels, rows.meters, rows.taken_ms // _DAY_MS))
    return order


def _first_of_key(rows: Rows) -> Mask:
    if not len(rows):
        return np.zeros(0, np.bool_)
    changes: Mask = (np.diff(rows.meters) != 0) | (np.diff(rows.channels) != 0) | (np.diff(rows.taken_ms) != 0)
    first: Mask = np.r_[True, changes]
    return first


async def _keep(conn: Conn, rows: Rows, first_of_key: Mask, *, expect_new: bool) -> _Kept:
    """Copies the first row of each key that is not there yet."""
    kept = _Kept(np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.int64))
    if not expect_new:
        kept = await _find(conn, rows)
    while True:
        new = first_of_key & ~kept.present
        if not new.any() or await _copy(conn, rows.at(new)):
            return kept
        # Somebody stored one of them, before we began or since we looked. He has committed: COPY waited for him.
        kept = await _find(conn, rows)


async def _copy(conn: Conn, rows: Rows) -> bool:
    """Whether all rows were new; otherwise nothing was stored."""
    columns = (
        rows.meters,
        rows.channels,
        to_wire_time(rows.taken_ms),
        rows.values,
        rows.qualities,
        rows.projects,
    )
    try:
        async with conn.transaction(), conn.cursor() as cursor, cursor.copy(_COPY) as copy:
            await copy.write(copy_in(_COPY_KINDS, columns))
    except UniqueViolation:
        return False
    return True


async def _find(conn: Conn, rows: Rows) -> _Kept:
    query = {**_keys(rows), "first": int(rows.taken_ms.min()), "last": int(rows.taken_ms.max())}
    found = await (await conn.execute(_FIND, query, binary=True)).fetchone()
    present, values = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.int64)
    if found is not None and found["places"] is not None:
        places = np.frombuffer(found["places"], ">i4").astype(np.int64) - 1
        present[places] = True
        values[places] = np.frombuffer(found["values"], ">i8")
    return _Kept(present, values)


async def _revise(conn: Conn, rows: Rows) -> int:
    # The key of a revision has the value in it.
    rows = rows.at(np.lexsort((rows.values, rows.taken_ms, rows.channels, rows.meters)))
    thresholds = await load_thresholds(conn, np.unique(rows.meters).tolist())
    query = {
        **_keys(rows),
        "values": Int8Column(rows.values),
        "qualities": Int2Column(rows.qualities),
        "projects": Int8Column(rows.projects),
        "silent": [meter_id for meter_id, one in thresholds.items() if one.weight("duplicate") == "off"],
    }
    return (await conn.execute(_REVISE, query)).rowcount


def _keys(rows: Rows) -> dict[str, Any]:
    return {
        "meters": Int8Column(rows.meters),
        "channels": Int2Column(rows.channels),
        "times": TimeColumn(rows.taken_ms),
    }
