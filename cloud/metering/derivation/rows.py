"""Writing what a derivation came to: rows that differ, with their versions; refused readings, turns, gaps, findings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, from_wire_time, to_wire_time
from cloud.kit.copying import columns_of, copy_to
from cloud.kit.db import Conn
from cloud.metering.derivation import sql
from cloud.metering.derivation.bounds import BEGINNING, END
from cloud.metering.derivation.counting import count
from cloud.metering.derivation.gaps import HISTORY_MS
from cloud.metering.derivation.judging import KEY_SHIFT
from cloud.metering.derivation.lookup import find, in_order
from cloud.metering.derivation.reads import Registers, overall
from cloud.metering.derivation.usage import Ints, Mask, Rows, measured


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows were added, changed and removed, and how many gaps have to be shaped again for it."""

    added: int
    changed: int
    removed: int
    again: int


async def rows_between(conn: Conn, registers: Registers, which: Ints, low: Ints, high: Ints) -> Rows:
    """Usage rows there are of some of the registers that start in [low, high); `series` as in `registers`."""
    if not len(which):
        return Rows(*(np.zeros(0, np.int64) for _ in range(6)))
    query = {
        **registers.keys(which),
        "from": TimeColumn(low),
        "until": TimeColumn(high),
        **overall(low, high),
    }
    kinds = ("int8", "timestamptz", "int4", "int8", "int2", "int2")
    nth, start, *columns = await columns_of(conn, sql.OLD_ROWS, query, kinds)
    start = from_wire_time(start)
    _, nth, start, length, quantity, quality, method = in_order((nth << KEY_SHIFT) + start, nth, start, *columns)
    return Rows(which[nth], start, length * 1000, quantity, quality, method)


async def write_rows(conn: Conn, registers: Registers, new: Rows, low: Ints, high: Ints) -> Written:
    """Makes `new` the rows of the registers that start in [low, high)."""
    old = await rows_between(conn, registers, np.arange(len(registers.meter)), low, high)
    mine, theirs = _keys(new), _keys(old)
    at, known = find(theirs, mine)
    fresh, same = np.flatnonzero(~known), np.flatnonzero(known)
    differs = same[_differ(new, same, old, at[same])]
    stays = np.zeros(len(theirs), np.bool_)
    stays[at[same]] = True
    gone = np.flatnonzero(~stays)
    await _remove(conn, registers, old, gone)
    await _change(conn, registers, new, differs)
    await _add(conn, registers, new, fresh, low, high)
    touched = [(new, fresh), (new, differs), (old, at[differs]), (old, gone)]
    await _note_changes(conn, registers, touched)
    again = await _shape_again(conn, registers, touched, high)
    return Written(len(fresh), len(differs), len(gone), again)


def _keys(rows: Rows) -> Ints:
    keys: Ints = (rows.series << KEY_SHIFT) + rows.start_ms
    return keys


def _differ(new: Rows, mine: Ints, old: Rows, theirs: Ints) -> Mask:
    differs = np.zeros(len(mine), np.bool_)
    for name in ("length_ms", "quantity", "quality", "method"):
        differs |= getattr(new, name)[mine] != getattr(old, name)[theirs]
    return differs


def _row_keys(registers: Registers, rows: Rows, which: Ints) -> dict[str, object]:
    return {**registers.keys(rows.series[which]), "starts": TimeColumn(rows.start_ms[which])}


async def _remove(conn: Conn, registers: Registers, old: Rows, gone: Ints) -> None:
    if len(gone):
        await conn.execute(sql.REMOVE, _row_keys(registers, old, gone))


async def _change(conn: Conn, registers: Registers, new: Rows, differs: Ints) -> None:
    if len(differs):
        keys = _row_keys(registers, new, differs)
        await conn.execute(sql.KEEP_REPLACED, keys)
        values = {
            "lengths": Int8Column(new.length_ms[differs] // 1000),
            "quantities": Int8Column(new.quantity[differs]),
            "qualities": Int2Column(new.quality[differs]),
            "methods": Int2Column(new.method[differs]),
        }
        await conn.execute(sql.CHANGE, {**keys, **values})


async def _add(conn: Conn, registers: Registers, new: Rows, fresh: Ints, low: Ints, high: Ints) -> None:
    if not len(fresh):
        return
    query = {**registers.keys(), "from": TimeColumn(low), "until": TimeColumn(high)}
    nth, start, version = await columns_of(conn, sql.SUPERSEDED, query, ("int8", "timestamptz", "int4"))
    versions = np.zeros(len(fresh), np.int64)
    if len(nth):
        before = (nth << KEY_SHIFT) + from_wire_time(start)
        at, came_back = find(before, _keys(new)[fresh])
        versions = np.where(came_back, version[at], 0)
    await _copy(conn, registers, new, fresh, versions)
    await count(conn, registers, new, fresh)


async def _copy(conn: Conn, registers: Registers, new: Rows, which: Ints, versions: Ints) -> None:
    series = new.series[which]
    kinds = ("int8", "int2", "timestamptz", "int4", "int8", "int2", "int2", "int8", "int4")
    columns = (
        registers.meter[series], registers.channel[series], to_wire_time(new.start_ms[which]),
        new.length_ms[which] // 1000, new.quantity[which], new.quality[which], new.method[which],
        registers.project[series], versions + 1,
    )  # fmt: skip
    await copy_to(conn, sql.ADD, kinds, columns)


async def _note_changes(conn: Conn, registers: Registers, touched: Sequence[tuple[Rows, Ints]]) -> None:
    which, begin, end = _spans(touched)
    if len(which):
        query = {**registers.keys(which), "from": TimeColumn(begin), "until": TimeColumn(end)}
        await conn.execute(sql.CHANGED, {**query, "projects": Int8Column(registers.project[which])})


async def _shape_again(conn: Conn, registers: Registers, touched: Sequence[tuple[Rows, Ints]], high: Ints) -> int:
    """Asks for gaps behind the rows written whose shape hangs on measured rows that changed."""
    which, _, end = _spans([(rows, chosen[measured(rows.method[chosen])]) for rows, chosen in touched])
    behind = high[which] < END
    which, end = which[behind], end[behind]
    if not len(which):
        return 0
    query = {
        **registers.keys(which),
        "projects": Int8Column(registers.project[which]),
        "from": TimeColumn(high[which]),
        "until": TimeColumn(end + HISTORY_MS),
        "since": TimeColumn(registers.since_ms[which]),
    }
    return (await conn.execute(sql.SHAPE_AGAIN, query)).rowcount


def _spans(touched: Sequence[tuple[Rows, Ints]]) -> tuple[Ints, Ints, Ints]:
    """Registers of these rows, and by register where the first begins and the last ends."""
    series = np.concatenate([rows.series[chosen] for rows, chosen in touched])
    starts = np.concatenate([rows.start_ms[chosen] for rows, chosen in touched])
    ends = starts + np.concatenate([rows.length_ms[chosen] for rows, chosen in touched])
    which, position = np.unique(series, return_inverse=True)
    begin, end = np.full(len(which), END), np.full(len(which), BEGINNING)
    np.minimum.at(begin, position, starts)
    np.maximum.at(end, position, ends)
    return which, begin, end
