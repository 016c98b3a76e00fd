"""Brings usage up to date with the readings: takes dirty windows, derives, writes what differs. One transaction each.

Registers of one transaction are derived together. Of each so much is read as `bounds` says; where that turns out to be
too little, more is read, in the end everything. So the table is the same as if everything were derived at once, in
whatever portions and order the readings came.

Rows over gaps are shaped after measured rows of the weeks before. When those change, the gap gets a dirty window of
its own in the same transaction, which comes to rest because estimates are shaped after nothing estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import Conn
from cloud.kit.locks import lock_all, try_lock
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.derivation import sql
from cloud.metering.derivation.bounds import BEGINNING, END, Bounds, bound
from cloud.metering.derivation.findings import write_findings
from cloud.metering.derivation.gaps import HISTORY_MS, share_out
from cloud.metering.derivation.grid import Grid
from cloud.metering.derivation.judging import BACKWARD, KEY_SHIFT, Epochs, Readings
from cloud.metering.derivation.lookup import find
from cloud.metering.derivation.reads import Loaded, Registers, again, load, together
from cloud.metering.derivation.rows import rows_between, write_rows
from cloud.metering.derivation.usage import Derived, Ints, Mask, Rows, derive
from cloud.metering.records import MAIN_CHANNEL, MEDIA
from gateway.contract.quantities import BY_NUMBER

# Advisory locks of meters ("gm", 4): their usage is derived by one worker at a time.
_LOCK_SPACE: Final = 0x67_6D_04 << 40
_METERS_AT_ONCE: Final = 500
_DAYS_AT_ONCE: Final = 10_000
"""Days of readings of all meters of a transaction together: a month of them by the minute fits into memory."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction did. `again`: gaps that it asked to be shaped once more."""

    meters: int = 0
    readings: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    refused: int = 0
    again: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(*(getattr(self, name) + getattr(other, name) for name in Changes.__dataclass_fields__))


async def count_dirty(conn: Conn) -> int:
    """How many meters wait."""
    row = await (await conn.execute(sql.COUNT_DIRTY)).fetchone()
    assert row is not None
    return int(row["meters"])


async def dirty_meters(conn: Conn, after: int, among: Sequence[int] | None = None) -> list[int]:
    """The next meters with changed readings, by id, as many as fit into memory.

    Only those `among` the given ones; else all but those that are set aside.
    """
    query = {
        "after": after,
        "limit": _METERS_AT_ONCE,
        "days": _DAYS_AT_ONCE,
        "among": None if among is None else list(among),
    }
    return [row["meter_id"] for row in await (await conn.execute(sql.DIRTY_METERS, query)).fetchall()]


async def kept_from_ms(conn: Conn) -> int:
    """From when on readings are kept: usage before stays as it is, for what it came from is gone."""
    row = await (await conn.execute(sql.KEPT_FROM)).fetchone()
    return BEGINNING if row is None or row["kept_from_ms"] is None else int(row["kept_from_ms"])


async def lock_meters(conn: Conn, meter_ids: Sequence[int]) -> list[int]:
    """Those of the meters that no other worker derives now; ours until the transaction ends."""
    return await try_lock(conn, _LOCK_SPACE, meter_ids)


async def wait_for_meters(conn: Conn, meter_ids: Sequence[int]) -> None:
    """Waits until no other worker derives any of these meters; ours until the transaction ends."""
    await lock_all(conn, _LOCK_SPACE, meter_ids)


async def bring_up(conn: Conn, meter_ids: Sequence[int], zones: Mapping[int, ZoneInfo]) -> Changes:
    """Derives what waits of these meters, which the caller holds. `zones`: by project."""
    return await update(conn, await take_registers(conn, meter_ids, zones), await kept_from_ms(conn))


async def take_registers(conn: Conn, meter_ids: Sequence[int], zones: Mapping[int, ZoneInfo]) -> Registers:
    """Removes the dirty windows of these meters and returns their registers that usage is derived for.

    `zones`: by project. Call `lock_meters` before.
    """
    rows = await (await conn.execute(sql.TAKE, {"ids": Int8Column.of(meter_ids)})).fetchall()
    # Modulus and maximum are the main register's: they say nothing about one that counts something else. A net
    # register runs both ways.
    rows = [
        row
        for row in rows
        if BY_NUMBER[row["channel"]].unit == MAIN_CHANNEL[row["medium"]].unit
        and BY_NUMBER[row["channel"]].code != "energy_net_total"
    ]

    def column(name: str) -> Ints:
        return np.array([row[name] for row in rows], np.int64)

    thresholds = await load_thresholds(conn, meter_ids)
    numbers = {zone: n for n, zone in enumerate(dict.fromkeys(zones.values()))}
    never = np.zeros(len(rows), np.bool_)
    return Registers(
        column("meter_id"), column("channel"), column("project_id"), column("from_ms"), column("until_ms"),
        column("since_ms"), column("interval_s") * 1000,
        np.array([numbers[zones[row["project_id"]]] for row in rows], np.int64),
        np.array([MEDIA.index(row["medium"]) for row in rows], np.int64), column("top").astype(np.bool_),
        np.zeros(len(rows), np.int64), never, never, tuple(thresholds[row["meter_id"]] for row in rows),
        tuple(numbers),
    )  # fmt: skip


async def update(conn: Conn, registers: Registers, kept_from_ms: int = BEGINNING) -> Changes:
    """Derives the registers and writes what differs. The caller owns transaction and locks.

    `kept_from_ms`: readings before are not kept any more, and usage before is never touched.
    """
    recent = np.flatnonzero(registers.until_ms >= kept_from_ms)
    waiting = replace(registers.take(recent), from_ms=np.maximum(registers.from_ms[recent], kept_from_ms))
    done = Changes(meters=len(np.unique(registers.meter)))
    now_ms = int(datetime.now(UTC).timestamp()) * 1000
    while len(waiting.meter):
        loaded = await load(conn, waiting, now_ms)
        everything = np.arange(len(waiting.meter))
        outcome = _Outcome.of(waiting, loaded)
        more = everything[~outcome.bounds.settled]
        parts = [again(waiting, more, *np.zeros((2, len(more)), np.bool_))] if len(more) else []
        ready = everything[outcome.bounds.settled]
        if len(ready):
            outcome = outcome.take(ready) if len(more) else outcome
            outcome.derive()
            before, after = outcome.meets_the_old_rows()
            astray = np.flatnonzero(~before | ~after)
            if len(astray):
                parts.append(again(outcome.registers, astray, ~before[astray], ~after[astray]))
                outcome = outcome.take(np.flatnonzero(before & after))
                outcome.derive()
            done += await outcome.write(conn, kept_from_ms)
        waiting = together(parts) if parts else waiting.take(everything[:0])
    return done


class _Outcome:
    """What is read, bounded, derived and written of some registers."""

    def __init__(self, registers: Registers, loaded: Loaded, bounds: Bounds) -> None:
        self.registers = registers
        self.bounds = bounds
        self._loaded = loaded
        self._grid: Grid = registers.grid()
        self._derived: Derived | None = None

    @classmethod
    def of(cls, registers: Registers, loaded: Loaded) -> "_Outcome":
        """Bounds what was loaded."""
        found = bound(
            loaded.spans, registers.grid(), loaded.epochs, loaded.series, loaded.time_ms, loaded.refused >= BACKWARD
        )
        return cls(registers, loaded, found)

    def take(self, which: Ints) -> "_Outcome":
        """The same of some of the registers, not derived yet."""
        loaded = self._loaded.take(which, len(self.registers.meter))
        columns: dict[str, Any] = {name: getattr(self.bounds, name)[which] for name in Bounds.__dataclass_fields__}
        return _Outcome(self.registers.take(which), loaded, Bounds(**columns))

    @property
    def derived(self) -> Derived:
        """What the readings came to, once `derive` was called."""
        assert self._derived is not None
        return self._derived

    def derive(self) -> None:
        """Runs the engine over what is within the bounds."""
        loaded, bounds, series = self._loaded, self.bounds, self._loaded.series
        used = (loaded.time_ms >= bounds.read_from[series]) & (loaded.time_ms <= bounds.read_until[series])
        used &= (loaded.time_ms >= bounds.judged_from[series]) | (loaded.refused < BACKWARD)
        epochs = self._epochs_within()
        readings = Readings(
            series[used], loaded.time_ms[used], loaded.value[used], loaded.quality[used],
            epochs.at(series[used], loaded.time_ms[used]), loaded.forced[used], loaded.ignored[used],
        )  # fmt: skip
        self._derived = derive(readings, epochs, self._grid, bounds.known_base, self.registers.signed())

    def _epochs_within(self) -> Epochs:
        """The registers in force, without opening and closing readings where nothing is read."""
        epochs, bounds = self._loaded.epochs, self.bounds

        def within(stand: Ints, time_ms: Ints) -> Ints:
            inside = (time_ms > bounds.read_from[epochs.series]) & (time_ms <= bounds.read_until[epochs.series])
            return np.where(inside, stand, -1)

        return replace(
            epochs, opening=within(epochs.opening, epochs.from_ms), closing=within(epochs.closing, epochs.until_ms)
        )

    def meets_the_old_rows(self) -> tuple[Mask, Mask]:
        """Whether nothing before, and nothing after what is replaced can differ from what was derived before."""
        bounds, derived, every = self.bounds, self.derived, np.arange(len(self.registers.meter))
        readings = derived.readings
        accepted = (readings.series << KEY_SHIFT) + readings.time_ms
        accepted = accepted[(derived.codes < BACKWARD) & ~derived.synthetic]
        instants = (derived.positions.series << KEY_SHIFT) + derived.positions.instant_ms
        _, agrees = find(accepted, (every << KEY_SHIFT) + bounds.agree_ms)
        _, begins = find(instants, (every << KEY_SHIFT) + bounds.replace_from)
        _, ends = find(instants, (every << KEY_SHIFT) + bounds.replace_until)
        return begins | (bounds.replace_from == BEGINNING), (agrees & ends) | (bounds.read_until == END)

    async def write(self, conn: Conn, kept_from_ms: int) -> Changes:
        """Writes what differs from what is there."""
        bounds, derived = self.bounds, self.derived
        low = np.maximum(bounds.replace_from, kept_from_ms)
        await self._share_out(conn)
        rows = derived.positions.rows()
        inside = (rows.start_ms >= low[rows.series]) & (rows.start_ms < bounds.replace_until[rows.series])
        written = await write_rows(conn, self.registers, _some(rows, inside), low, bounds.replace_until)
        refused = await write_findings(conn, self.registers, self._loaded.epochs, bounds, derived)
        await self._write_stretches(conn)
        return Changes(
            0, len(self._loaded.series), written.added, written.changed, written.removed, refused, written.again
        )

    async def _share_out(self, conn: Conn) -> None:
        gaps, positions = self.derived.positions.gaps, self.derived.positions
        if not len(gaps.series):
            return
        which, first = np.unique(gaps.series, return_index=True)
        begin = self.bounds.replace_from[which]
        old = await rows_between(conn, self.registers, which, gaps.from_ms[first] - HISTORY_MS, begin)
        new = positions.rows()
        new = _some(new, new.start_ms >= self.bounds.replace_from[new.series])
        both = Rows(*(np.concatenate([getattr(part, name) for part in (old, new)]) for name in Rows.__slots__))
        order = np.lexsort((both.start_ms, both.series))
        share_out(positions, self._grid, self.registers.shapes(), _some(both, order))

    async def _write_stretches(self, conn: Conn) -> None:
        """Keeps where rows are shaped by estimates, and where the register turned."""
        registers, bounds = self.registers, self.bounds
        gaps, turns = self.derived.positions.gaps, self.derived.turns
        looked = {**registers.keys(), "from": TimeColumn(bounds.read_from), "until": TimeColumn(bounds.replace_until)}
        named = {
            "gap_meters": Int8Column(registers.meter[gaps.series]),
            "gap_channels": Int2Column(registers.channel[gaps.series]),
            "gap_from": TimeColumn(gaps.from_ms),
            "gap_until": TimeColumn(gaps.until_ms),
        }
        await conn.execute(sql.REPLACE_GAPS, {**looked, **named})
        mine = turns.time_ms >= bounds.judged_from[turns.series]
        series = turns.series[mine]
        looked |= {"from": TimeColumn(bounds.judged_from), "until": TimeColumn(bounds.read_until)}
        named = {
            "turn_meters": Int8Column(registers.meter[series]),
            "turn_channels": Int2Column(registers.channel[series]),
            "turn_times": TimeColumn(turns.time_ms[mine]),
            "turn_projects": Int8Column(registers.project[series]),
            "raised": Int8Column(turns.raised[mine]),
        }
        await conn.execute(sql.REPLACE_TURNS, {**looked, **named})


def _some(rows: Rows, which: Ints | Mask) -> Rows:
    return Rows(*(getattr(rows, name)[which] for name in Rows.__slots__))
