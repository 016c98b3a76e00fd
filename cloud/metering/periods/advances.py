"""What registers counted between two readings: over exchanges, changes of the multiplier and rollovers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.metering.records import MAIN_CHANNEL, BoundaryReading

_UNIT = 10_000

_MEDIA: LiteralString = "SELECT id, medium FROM meter WHERE id = ANY (%s)"
_REGISTERS: LiteralString = """
    SELECT m.id, lower(r.valid) AS begins, upper(r.valid) AS ends,
           (r.multiplier * 10000)::bigint AS multiplier_e4, r.resolution, e.channel, e.opening, e.closing
    FROM meter m JOIN meter_register r ON r.meter_id = m.id LEFT JOIN register_end e ON e.register_id = r.id
    WHERE m.id = ANY (%(meters)s) ORDER BY m.id, begins
"""
_TURNS: LiteralString = """
    SELECT t.meter_id, t.channel, t.taken_at, t.raised FROM register_turn t
    WHERE t.meter_id = ANY (%(meters)s) AND t.taken_at >= %(start)s AND t.taken_at <= %(end)s ORDER BY t.taken_at
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One register in force, with where its channel stood at both ends, as far as anybody knows."""

    begins: datetime
    ends: datetime | None
    multiplier_e4: int
    opening: int | None
    closing: int | None
    resolution: int = 1
    """Smallest step that its registers show, before the multiplier."""

    def counted(self, value: int) -> int:
        """A register value with the multiplier, halves up: usage is the difference of two of these."""
        return (value * self.multiplier_e4 + _UNIT // 2) // _UNIT


@dataclass(frozen=True, slots=True)
class Counter:
    """What is known of one channel of a meter. `turns`: when the count rose beyond the difference, and how much."""

    stretches: Sequence[Stretch]
    turns: Sequence[tuple[datetime, int]]

    def advance(self, opening: BoundaryReading, closing: BoundaryReading) -> int | None:
        """What was counted from one reading to a later one, multiplier applied; equal to the sum of usage between.

        None where it cannot be known: a reading outside every register, or an exchange without its readings.
        """
        parts = [
            stretch
            for stretch in self.stretches
            if stretch.begins <= closing.taken_at and (stretch.ends is None or stretch.ends > opening.taken_at)
        ]
        if not parts or parts[0].begins > opening.taken_at or not _holds(parts[-1], closing.taken_at):
            return None
        if any(before.ends != after.begins for before, after in pairwise(parts)):
            return None
        starts = [opening.value, *(part.opening for part in parts[1:])]
        stops = [*(part.closing for part in parts[:-1]), closing.value]
        total = sum(raised for at, raised in self.turns if opening.taken_at < at <= closing.taken_at)
        for part, start, stop in zip(parts, starts, stops, strict=True):
            if start is None or stop is None:
                return None
            total += part.counted(stop) - part.counted(start)
        return total

    def tolerance(self, opening: BoundaryReading, closing: BoundaryReading) -> int:
        """By how much registers may differ between two readings that count the same: V14, 2 · multiplier · resolution,
        rounded up, of the coarsest register in between."""
        return max(
            (
                -(-2 * stretch.multiplier_e4 * stretch.resolution // _UNIT)
                for stretch in self.stretches
                if stretch.begins <= closing.taken_at and (stretch.ends is None or stretch.ends > opening.taken_at)
            ),
            default=0,
        )


def _holds(stretch: Stretch, at: datetime) -> bool:
    return stretch.ends is None or at < stretch.ends


async def counters(
    conn: Conn, meter_ids: Sequence[int], start: datetime, end: datetime, tolerance: timedelta
) -> dict[int, Counter]:
    """Counters of the main channels of these meters for readings from `start` to the tolerance behind `end`."""
    media = await (await conn.execute(_MEDIA, (list(meter_ids),))).fetchall()
    wanted = [(row["id"], MAIN_CHANNEL[row["medium"]].number) for row in media]
    found = await channel_counters(conn, wanted, start, end, tolerance)
    return {meter_id: counter for (meter_id, _), counter in found.items()}


async def channel_counters(
    conn: Conn, wanted: Sequence[tuple[int, int]], start: datetime, end: datetime, tolerance: timedelta
) -> dict[tuple[int, int], Counter]:
    """The same for any channels, by (meter, channel)."""
    meter_ids = sorted({meter_id for meter_id, _ in wanted})
    query = {"meters": meter_ids, "start": start, "end": end + tolerance}
    registers: dict[int, dict[datetime, dict[int | None, dict[str, Any]]]] = {meter_id: {} for meter_id in meter_ids}
    for row in await (await conn.execute(_REGISTERS, query)).fetchall():
        registers[row["id"]].setdefault(row["begins"], {})[row["channel"]] = row
    turns: dict[tuple[int, int], list[tuple[datetime, int]]] = {pair: [] for pair in wanted}
    for row in await (await conn.execute(_TURNS, query)).fetchall():
        mine = turns.get((row["meter_id"], row["channel"]))
        if mine is not None:
            mine.append((row["taken_at"], row["raised"]))
    return {
        (meter_id, channel): Counter(
            [_stretch(ends, channel) for ends in registers[meter_id].values()], turns[meter_id, channel]
        )
        for meter_id, channel in wanted
    }


def _stretch(ends: Mapping[int | None, dict[str, Any]], channel: int) -> Stretch:
    """One register, with where the channel stood at its ends where somebody said so."""
    row = ends.get(channel) or next(iter(ends.values()))
    opening, closing = (row["opening"], row["closing"]) if channel in ends else (None, None)
    return Stretch(row["begins"], row["ends"], row["multiplier_e4"], opening, closing, row["resolution"])
