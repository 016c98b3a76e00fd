"""Brings usage up to date with the readings: takes dirty windows, derives, writes what differs. One transaction each.

What is read for a register whose readings changed between `from` and `until`:

* from the last grid instant before `from` whose boundary cannot have changed (or, without one, from the last accepted
  reading), so that base and boundary are those that the earlier derivation had;
* up to the first boundary after `until` that the earlier derivation accepted. If the new derivation takes another
  reading there, the change runs on, and everything to the end is read.

So the table is the same as if everything were derived at once, in whatever portions the readings came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import LiteralString
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, copy_in, copy_out, from_wire_time, to_wire_time
from cloud.kit.db import Conn
from cloud.metering.records import Meter
from cloud.metering.usage import BACKWARD, HOUR_MS, TOLERANCE_S, Derived, Register, derive, floor_to_grid
from gateway.contract.quantities import BY_NUMBER

Ints = NDArray[np.int64]

# Advisory locks of meters ("gm", 4): their usage is derived by one worker at a time.
_LOCK_SPACE = 0x67_6D_04 << 40
_SOME_TIME = datetime(2024, 1, 1, tzinfo=UTC)
_BEGINNING = 0
_END = 2**43

_DIRTY_METERS: LiteralString = """
    SELECT DISTINCT meter_id FROM store.dirty_window WHERE meter_id > %(after)s ORDER BY meter_id LIMIT %(limit)s
"""
_LOCK: LiteralString = """
    SELECT id FROM unnest(%(ids)s::bigint[]) AS id WHERE pg_try_advisory_xact_lock(%(space)s + id)
"""
_TAKE: LiteralString = """
    WITH taken AS (DELETE FROM store.dirty_window WHERE meter_id = ANY (%(ids)s)
                   RETURNING meter_id, channel, from_at, until_at)
    SELECT meter_id, channel, (extract(epoch FROM min(from_at)) * 1000)::bigint AS from_ms,
           (extract(epoch FROM max(until_at)) * 1000)::bigint AS until_ms
    FROM taken GROUP BY meter_id, channel ORDER BY meter_id, channel
"""
# Refused readings are bases and boundaries of nothing.
_BOUNDS: LiteralString = """
    WITH wanted AS (
        SELECT nth - 1 AS nth, meter_id, channel, grid,
               timestamptz 'epoch' + from_ms * interval '1 millisecond' AS from_at,
               timestamptz 'epoch' + next_ms * interval '1 millisecond' AS next_at
        FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::bigint[], %(next)s::bigint[],
                    %(grids)s::bigint[]) WITH ORDINALITY AS w (meter_id, channel, from_ms, next_ms, grid, nth))
    SELECT w.nth, (extract(epoch FROM boundary.taken_at) * 1000)::bigint AS boundary_ms,
           (extract(epoch FROM base.taken_at) * 1000)::bigint AS base_ms,
           (extract(epoch FROM after.taken_at) * 1000)::bigint AS after_ms
    FROM wanted w
    LEFT JOIN LATERAL (
        SELECT r.taken_at FROM store.reading r
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at < w.from_at
          AND ((extract(epoch FROM r.taken_at) * 1000)::bigint + w.grid) %% 3600000 < %(tolerance_ms)s
          AND NOT EXISTS (SELECT FROM usage_exception e
                          WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at DESC LIMIT 1) AS boundary ON true
    LEFT JOIN LATERAL (
        SELECT r.taken_at FROM store.reading r
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at < w.from_at
          AND NOT EXISTS (SELECT FROM usage_exception e
                          WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at DESC LIMIT 1) AS base ON true
    LEFT JOIN LATERAL (
        SELECT r.taken_at FROM store.reading r
        WHERE r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at >= w.next_at
          AND ((extract(epoch FROM r.taken_at) * 1000)::bigint + w.grid) %% 3600000 < %(tolerance_ms)s
          AND NOT EXISTS (SELECT FROM usage_exception e
                          WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at = r.taken_at)
        ORDER BY r.taken_at LIMIT 1) AS after ON true
    ORDER BY w.nth
"""
_READINGS: LiteralString = """
    COPY (SELECT w.nth - 1, r.taken_at, r.value, r.quality
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(from)s::bigint[], %(until)s::bigint[],
                      %(dirty)s::bigint[]) WITH ORDINALITY
               AS w (meter_id, channel, from_ms, until_ms, dirty_ms, nth)
          CROSS JOIN LATERAL (
              SELECT taken_at, value, quality FROM store.reading r
              WHERE r.meter_id = w.meter_id AND r.channel = w.channel
                AND r.taken_at >= timestamptz 'epoch' + w.from_ms * interval '1 millisecond'
                AND r.taken_at <= timestamptz 'epoch' + w.until_ms * interval '1 millisecond'
                AND (r.taken_at >= timestamptz 'epoch' + w.dirty_ms * interval '1 millisecond' OR NOT EXISTS (
                     SELECT FROM usage_exception e
                     WHERE e.meter_id = r.meter_id AND e.channel = r.channel AND e.taken_at = r.taken_at))) AS r
          ORDER BY 1, 2) TO STDOUT (FORMAT BINARY)
"""
_OLD_ROWS: LiteralString = """
    COPY (SELECT w.nth - 1, u.start, u.length_s, u.quantity, u.quality, u.method
          FROM unnest(%(meters)s::bigint[], %(channels)s::smallint[], %(low)s::bigint[], %(high)s::bigint[])
               WITH ORDINALITY AS w (meter_id, channel, low_ms, high_ms, nth)
          JOIN store.usage u ON u.meter_id = w.meter_id AND u.channel = w.channel
           AND u.start >= timestamptz 'epoch' + w.low_ms * interval '1 millisecond'
           AND u.start < timestamptz 'epoch' + w.high_ms * interval '1 millisecond'
          ORDER BY 1, 2) TO STDOUT (FORMAT BINARY)
"""
_REMOVE: LiteralString = """
    DELETE FROM store.usage u USING unnest(%(meters)s, %(channels)s, %(starts)s) AS gone (meter_id, channel, start)
    WHERE u.meter_id = gone.meter_id AND u.channel = gone.channel AND u.start = gone.start
"""
_CHANGE: LiteralString = """
    UPDATE store.usage u SET length_s = n.length_s, quantity = n.quantity, quality = n.quality, method = n.method,
                             version = u.version + 1
    FROM unnest(%(meters)s, %(channels)s, %(starts)s, %(lengths)s, %(quantities)s, %(qualities)s, %(methods)s)
         AS n (meter_id, channel, start, length_s, quantity, quality, method)
    WHERE u.meter_id = n.meter_id AND u.channel = n.channel AND u.start = n.start
"""
_ADD: LiteralString = """
    COPY store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
    FROM STDIN (FORMAT BINARY)
"""
_FORGET_REFUSED: LiteralString = """
    DELETE FROM usage_exception e
    USING unnest(%(meters)s, %(channels)s, %(from)s, %(until)s) AS w (meter_id, channel, from_at, until_at)
    WHERE e.meter_id = w.meter_id AND e.channel = w.channel AND e.taken_at BETWEEN w.from_at AND w.until_at
      AND NOT EXISTS (SELECT FROM unnest(%(refused_meters)s, %(refused_channels)s, %(refused_times)s)
                                  AS r (meter_id, channel, taken_at)
                      WHERE r.meter_id = e.meter_id AND r.channel = e.channel AND r.taken_at = e.taken_at)
"""
_KEEP_REFUSED: LiteralString = """
    INSERT INTO usage_exception AS e (meter_id, channel, taken_at, value, code, project_id)
    SELECT r.meter_id, r.channel, r.taken_at, r.value, CASE r.code WHEN 2 THEN 'backward' ELSE 'spike' END, r.project_id
    FROM unnest(%(refused_meters)s, %(refused_channels)s, %(refused_times)s, %(values)s, %(codes)s, %(projects)s)
         AS r (meter_id, channel, taken_at, value, code, project_id)
    ON CONFLICT (meter_id, channel, taken_at) DO UPDATE SET code = excluded.code WHERE e.code <> excluded.code
"""


@dataclass(frozen=True, slots=True)
class Window:
    """What is read and replaced of one register. Times in milliseconds since 1970 UTC."""

    meter: Meter
    channel: int
    grid_ms: int
    dirty_from: int
    dirty_until: int
    read_from: int = _BEGINNING
    read_until: int = _END
    replace_from: int = _BEGINNING
    replace_until: int = _END

    @property
    def register(self) -> Register:
        """The meter's register as the engine wants it."""
        return Register(self.meter.modulus, self.meter.max_per_hour, int(self.meter.multiplier * 10_000))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one window came to."""

    window: Window
    times_ms: Ints
    values: Ints
    derived: Derived

    @property
    def refused(self) -> Ints:
        """Positions of the readings that were refused."""
        return np.flatnonzero(self.derived.codes >= BACKWARD)

    def meets_the_old_rows(self) -> bool:
        """Whether nothing after the last reading read can differ from what was derived before."""
        window = self.window
        if window.read_until == _END:
            return True
        accepted = self.times_ms[self.derived.codes < BACKWARD]
        at_the_end = accepted[accepted >= window.replace_until]
        return bool(at_the_end.tolist() == [window.read_until])


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction did."""

    meters: int
    readings: int
    added: int
    changed: int
    removed: int
    refused: int


async def dirty_meters(conn: Conn, after: int, limit: int) -> list[int]:
    """Meters with changed readings, by id."""
    rows = await (await conn.execute(_DIRTY_METERS, {"after": after, "limit": limit})).fetchall()
    return [row["meter_id"] for row in rows]


async def lock_meters(conn: Conn, meter_ids: Sequence[int]) -> list[int]:
    """Those of the meters that no other worker derives now; ours until the transaction ends."""
    rows = await (await conn.execute(_LOCK, {"ids": list(meter_ids), "space": _LOCK_SPACE})).fetchall()
    return [row["id"] for row in rows]


async def take_windows(conn: Conn, meters: Mapping[int, Meter], grid_ms: Mapping[int, int]) -> list[Window]:
    """Removes the dirty windows of these meters and returns one per register that usage is derived for.

    `grid_ms`: by project, how far its local hours are from full UTC hours. Call `lock_meters` before.
    """
    rows = await (await conn.execute(_TAKE, {"ids": list(meters)})).fetchall()
    windows = []
    for row in rows:
        meter = meters[row["meter_id"]]
        # Modulus and maximum are the main register's: they say nothing about one that counts something else.
        if BY_NUMBER[row["channel"]].unit == meter.main_channel.unit:
            grid = grid_ms[meter.project_id]
            windows.append(Window(meter, row["channel"], grid, row["from_ms"], row["until_ms"]))
    return await _bounded(conn, windows)


async def update(conn: Conn, windows: Sequence[Window]) -> Changes:
    """Derives the windows and writes the rows that differ. The caller owns transaction and locks."""
    outcomes = await _derive(conn, windows)
    again = [
        replace(outcome.window, read_until=_END, replace_until=_END)
        for outcome in outcomes
        if not outcome.meets_the_old_rows()
    ]
    if again:
        outcomes = [outcome for outcome in outcomes if outcome.meets_the_old_rows()] + await _derive(conn, again)
    added, changed, removed = await _write_rows(conn, outcomes)
    return Changes(
        meters=len({outcome.window.meter.id for outcome in outcomes}),
        readings=sum(len(outcome.times_ms) for outcome in outcomes),
        added=added,
        changed=changed,
        removed=removed,
        refused=await _write_refused(conn, outcomes),
    )


async def _bounded(conn: Conn, windows: Sequence[Window]) -> list[Window]:
    query = {
        "meters": [w.meter.id for w in windows],
        "channels": [w.channel for w in windows],
        "from": [w.dirty_from for w in windows],
        "next": [floor_to_grid(w.dirty_until, w.grid_ms) + HOUR_MS for w in windows],
        "grids": [w.grid_ms for w in windows],
        "tolerance_ms": TOLERANCE_S * 1000,
    }
    rows = await (await conn.execute(_BOUNDS, query)).fetchall()
    return [
        _with_bounds(window, row["boundary_ms"], row["base_ms"], row["after_ms"])
        for window, row in zip(windows, rows, strict=True)
    ]


def _with_bounds(window: Window, boundary_ms: int | None, base_ms: int | None, after_ms: int | None) -> Window:
    if boundary_ms is not None:
        start = floor_to_grid(boundary_ms, window.grid_ms)
        window = replace(window, read_from=start, replace_from=start)
    else:
        window = replace(window, read_from=window.dirty_from if base_ms is None else base_ms)
    if after_ms is not None:
        window = replace(window, read_until=after_ms, replace_until=floor_to_grid(after_ms, window.grid_ms))
    return window


async def _derive(conn: Conn, windows: Sequence[Window]) -> list[Outcome]:
    query = {
        "meters": [w.meter.id for w in windows],
        "channels": [w.channel for w in windows],
        "from": [w.read_from for w in windows],
        "until": [w.read_until for w in windows],
        "dirty": [w.dirty_from for w in windows],
    }
    nth, times, values, qualities = await _copy_out(conn, _READINGS, query, ("int8", "timestamptz", "int8", "int2"))
    times = from_wire_time(times)
    edges = np.searchsorted(nth, np.arange(len(windows) + 1))
    outcomes = []
    for n, window in enumerate(windows):
        mine = slice(edges[n], edges[n + 1])
        derived = derive(times[mine], values[mine], qualities[mine], window.register, window.grid_ms)
        outcomes.append(Outcome(window, times[mine], values[mine], derived))
    return outcomes


@dataclass(frozen=True, slots=True)
class _Rows:
    """Usage rows of several windows, by window and start. `columns`: length_s, quantity, quality, method."""

    nth: Ints
    start_ms: Ints
    columns: tuple[Ints, Ints, Ints, Ints]

    @property
    def keys(self) -> Ints:
        """One sorted number per row."""
        keys: Ints = (self.nth << 43) + self.start_ms
        return keys

    def where(self, chosen: NDArray[np.bool_]) -> "_Rows":
        """Some of the rows."""
        length, quantity, quality, method = (column[chosen] for column in self.columns)
        return _Rows(self.nth[chosen], self.start_ms[chosen], (length, quantity, quality, method))


async def _write_rows(conn: Conn, outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    new, old = _new_rows(outcomes), await _old_rows(conn, outcomes)
    at = np.searchsorted(old.keys, new.keys)
    known = np.zeros(len(new.keys), np.bool_)
    inside = at < len(old.keys)
    known[inside] = old.keys[at[inside]] == new.keys[inside]
    differs = np.zeros(len(new.keys), np.bool_)
    for mine, theirs in zip(new.columns, old.columns, strict=True):
        differs[known] |= mine[known] != theirs[at[known]]
    gone = old.where(~np.isin(old.keys, new.keys, assume_unique=True))
    meters = np.array([outcome.window.meter.id for outcome in outcomes], np.int64)
    channels = np.array([outcome.window.channel for outcome in outcomes], np.int64)
    projects = np.array([outcome.window.meter.project_id for outcome in outcomes], np.int64)
    if len(gone.nth):
        await conn.execute(_REMOVE, _row_keys(gone, meters, channels))
    changed = new.where(known & differs)
    if len(changed.nth):
        names = ("lengths", "quantities", "qualities", "methods")
        wraps = (Int8Column, Int8Column, Int2Column, Int2Column)
        values = {name: wrap(column) for name, wrap, column in zip(names, wraps, changed.columns, strict=True)}
        await conn.execute(_CHANGE, {**_row_keys(changed, meters, channels), **values})
    fresh = new.where(~known)
    if len(fresh.nth):
        kinds = ("int8", "int2", "timestamptz", "int4", "int8", "int2", "int2", "int8")
        keys = (meters[fresh.nth], channels[fresh.nth], to_wire_time(fresh.start_ms))
        await _copy_in(conn, _ADD, copy_in(kinds, (*keys, *fresh.columns, projects[fresh.nth])))
    return len(fresh.nth), len(changed.nth), len(gone.nth)


def _new_rows(outcomes: Sequence[Outcome]) -> _Rows:
    derived = [outcome.derived for outcome in outcomes]
    sizes = [len(one.start_ms) for one in derived]
    return _Rows(
        np.repeat(np.arange(len(outcomes)), sizes),
        _joined([one.start_ms for one in derived]),
        (
            _joined([one.length_ms // 1000 for one in derived]),
            _joined([one.quantity for one in derived]),
            _joined([one.quality for one in derived]),
            _joined([one.method for one in derived]),
        ),
    )


async def _old_rows(conn: Conn, outcomes: Sequence[Outcome]) -> _Rows:
    query = {
        "meters": [outcome.window.meter.id for outcome in outcomes],
        "channels": [outcome.window.channel for outcome in outcomes],
        "low": [outcome.window.replace_from for outcome in outcomes],
        "high": [outcome.window.replace_until for outcome in outcomes],
    }
    kinds = ("int8", "timestamptz", "int4", "int8", "int2", "int2")
    nth, start, length, quantity, quality, method = await _copy_out(conn, _OLD_ROWS, query, kinds)
    return _Rows(nth, from_wire_time(start), (length, quantity, quality, method))


async def _write_refused(conn: Conn, outcomes: Sequence[Outcome]) -> int:
    refused = [(outcome, outcome.refused) for outcome in outcomes]
    sizes = [len(where) for _, where in refused]
    meters = np.array([outcome.window.meter.id for outcome in outcomes], np.int64)
    channels = np.array([outcome.window.channel for outcome in outcomes], np.int64)
    projects = np.array([outcome.window.meter.project_id for outcome in outcomes], np.int64)
    query = {
        "meters": Int8Column(meters),
        "channels": Int2Column(channels),
        "from": TimeColumn(np.array([outcome.window.dirty_from for outcome in outcomes], np.int64)),
        "until": TimeColumn(np.array([outcome.window.read_until for outcome in outcomes], np.int64)),
        "refused_meters": Int8Column(np.repeat(meters, sizes)),
        "refused_channels": Int2Column(np.repeat(channels, sizes)),
        "refused_times": TimeColumn(_joined([outcome.times_ms[where] for outcome, where in refused])),
        "values": Int8Column(_joined([outcome.values[where] for outcome, where in refused])),
        "codes": Int2Column(_joined([outcome.derived.codes[where].astype(np.int64) for outcome, where in refused])),
        "projects": Int8Column(np.repeat(projects, sizes)),
    }
    await conn.execute(_FORGET_REFUSED, query)
    if sum(sizes):
        await conn.execute(_KEEP_REFUSED, query)
    return sum(sizes)


def _row_keys(rows: _Rows, meters: Ints, channels: Ints) -> dict[str, object]:
    return {
        "meters": Int8Column(meters[rows.nth]),
        "channels": Int2Column(channels[rows.nth]),
        "starts": TimeColumn(rows.start_ms),
    }


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


async def _copy_out(
    conn: Conn, statement: LiteralString, query: Mapping[str, object], kinds: Sequence[str]
) -> list[Ints]:
    data = bytearray()
    async with conn.cursor() as cursor, cursor.copy(statement, query) as copy:
        async for block in copy:
            data += block
    return copy_out(kinds, data)


async def _copy_in(conn: Conn, statement: LiteralString, data: bytes) -> None:
    async with conn.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(data)


def grid_offset_ms(zone: ZoneInfo) -> int:
    """How far a zone's hours are from full UTC hours: 30 minutes for +05:30.

    Taken from standard time; the one zone that shifts by half an hour (Lord Howe) keeps the grid of its winter.
    """
    offset = _SOME_TIME.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1000 % HOUR_MS
