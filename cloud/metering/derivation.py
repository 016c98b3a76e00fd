"""Brings usage up to date with the readings: takes dirty windows, derives, writes what differs. One transaction each.

What is read for a register whose readings changed between `from` and `until`:

* from the last grid instant before `from` whose boundary cannot have changed (or, without one, from the last accepted
  reading), so that base and boundary are those that the earlier derivation had;
* up to the first boundary after `until` that the earlier derivation accepted. If the new derivation takes another
  reading there, the change runs on, and everything to the end is read.

A change among the first readings of a register may move its first base (see `usage`): everything is read again then.

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
from cloud.metering import derivation_sql as sql
from cloud.metering.records import Meter
from cloud.metering.usage import BACKWARD, HOUR_MS, OPENING, TOLERANCE_S, Derived, Register, derive, floor_to_grid
from gateway.contract.quantities import BY_NUMBER

Ints = NDArray[np.int64]

# Advisory locks of meters ("gm", 4): their usage is derived by one worker at a time.
_LOCK_SPACE = 0x67_6D_04 << 40
_SOME_TIME = datetime(2024, 1, 1, tzinfo=UTC)
_BEGINNING = 0
_END = 2**43


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
    opening: bool = False
    """Whether the first base of the register is decided again, and with it every refusal."""

    @property
    def judged_from(self) -> int:
        """From when on earlier refusals do not count."""
        return _BEGINNING if self.opening else self.dirty_from

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
    rows = await (await conn.execute(sql.DIRTY_METERS, {"after": after, "limit": limit})).fetchall()
    return [row["meter_id"] for row in rows]


async def lock_meters(conn: Conn, meter_ids: Sequence[int]) -> list[int]:
    """Those of the meters that no other worker derives now; ours until the transaction ends."""
    rows = await (await conn.execute(sql.LOCK, {"ids": list(meter_ids), "space": _LOCK_SPACE})).fetchall()
    return [row["id"] for row in rows]


async def take_windows(conn: Conn, meters: Mapping[int, Meter], grid_ms: Mapping[int, int]) -> list[Window]:
    """Removes the dirty windows of these meters and returns one per register that usage is derived for.

    `grid_ms`: by project, how far its local hours are from full UTC hours. Call `lock_meters` before.
    """
    rows = await (await conn.execute(sql.TAKE, {"ids": list(meters)})).fetchall()
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
        "opening": OPENING,
    }
    rows = await (await conn.execute(sql.BOUNDS, query)).fetchall()
    return [
        replace(window, opening=True)
        if row["before"] < OPENING
        else _with_bounds(window, row["boundary_ms"], row["base_ms"], row["after_ms"])
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
        "dirty": [w.judged_from for w in windows],
    }
    nth, times, values, qualities = await _copy_out(conn, sql.READINGS, query, ("int8", "timestamptz", "int8", "int2"))
    times = from_wire_time(times)
    edges = np.searchsorted(nth, np.arange(len(windows) + 1))
    outcomes = []
    for n, window in enumerate(windows):
        mine = slice(edges[n], edges[n + 1])
        derived = derive(
            times[mine], values[mine], qualities[mine], window.register, window.grid_ms, opening=window.opening
        )
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
        await conn.execute(sql.REMOVE, _row_keys(gone, meters, channels))
    changed = new.where(known & differs)
    if len(changed.nth):
        names = ("lengths", "quantities", "qualities", "methods")
        wraps = (Int8Column, Int8Column, Int2Column, Int2Column)
        values = {name: wrap(column) for name, wrap, column in zip(names, wraps, changed.columns, strict=True)}
        await conn.execute(sql.CHANGE, {**_row_keys(changed, meters, channels), **values})
    fresh = new.where(~known)
    if len(fresh.nth):
        kinds = ("int8", "int2", "timestamptz", "int4", "int8", "int2", "int2", "int8")
        keys = (meters[fresh.nth], channels[fresh.nth], to_wire_time(fresh.start_ms))
        await _copy_in(conn, sql.ADD, copy_in(kinds, (*keys, *fresh.columns, projects[fresh.nth])))
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
    nth, start, length, quantity, quality, method = await _copy_out(conn, sql.OLD_ROWS, query, kinds)
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
        "from": TimeColumn(np.array([outcome.window.judged_from for outcome in outcomes], np.int64)),
        "until": TimeColumn(np.array([outcome.window.read_until for outcome in outcomes], np.int64)),
        "refused_meters": Int8Column(np.repeat(meters, sizes)),
        "refused_channels": Int2Column(np.repeat(channels, sizes)),
        "refused_times": TimeColumn(_joined([outcome.times_ms[where] for outcome, where in refused])),
        "values": Int8Column(_joined([outcome.values[where] for outcome, where in refused])),
        "codes": Int2Column(_joined([outcome.derived.codes[where].astype(np.int64) for outcome, where in refused])),
        "projects": Int8Column(np.repeat(projects, sizes)),
    }
    await conn.execute(sql.FORGET_REFUSED, query)
    if sum(sizes):
        await conn.execute(sql.KEEP_REFUSED, query)
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
