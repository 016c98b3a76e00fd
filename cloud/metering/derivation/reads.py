"""Reading what usage is derived from: readings with their edits, registers in force, earlier refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, from_wire_time
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.metering.derivation import sql
from cloud.metering.derivation.bounds import BEGINNING, END, Spans
from cloud.metering.derivation.gaps import Shape
from cloud.metering.derivation.grid import DAY_MS, HOUR_MS, Grid, grid_offset_ms, midnights
from cloud.metering.derivation.judging import KEY_SHIFT, Epochs
from cloud.metering.derivation.lookup import find, in_order
from cloud.metering.derivation.usage import Ints, Mask
from cloud.metering.validation.thresholds import Thresholds

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEW_MS: Final = 3 * DAY_MS
"""Behind what changed so recently everything is read: there is not much of it."""
_SOME_INTERVALS, _MANY_MS = 14, 40 * DAY_MS
_SET, _USE, _IGNORE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Registers:
    """Registers whose readings in [`from_ms`, `until_ms`] changed; all arrays are of the same length.

    `since_ms`: since when the oldest of the changes waits. `zone`: position in `zones`; `medium`: in `MEDIA`. `top`: no
    master is above the meter. `attempt`: how often less than enough was read. `whole_before`, `whole_after`: see
    `bounds.Spans`.
    """

    meter: Ints
    channel: Ints
    project: Ints
    from_ms: Ints
    until_ms: Ints
    since_ms: Ints
    interval_ms: Ints
    zone: Ints
    medium: Ints
    top: Mask
    attempt: Ints
    whole_before: Mask
    whole_after: Mask
    thresholds: tuple[Thresholds, ...]
    zones: tuple[ZoneInfo, ...]

    def take(self, which: Ints) -> "Registers":
        """Some of the registers."""
        names = [name for name in Registers.__dataclass_fields__ if name not in ("thresholds", "zones")]
        columns = {name: getattr(self, name)[which] for name in names}
        return Registers(**columns, thresholds=tuple(self.thresholds[n] for n in which.tolist()), zones=self.zones)

    def keys(self, which: Ints | None = None) -> dict[str, object]:
        """Parameters that name them, or some of them."""
        chosen = np.arange(len(self.meter)) if which is None else which
        return {"meters": Int8Column(self.meter[chosen]), "channels": Int2Column(self.channel[chosen])}

    def grid(self) -> Grid:
        """Where their rows begin and end."""
        offsets = {
            (zone, interval): grid_offset_ms(self.zones[zone], interval) if interval < DAY_MS else 0
            for zone, interval in set(zip(self.zone.tolist(), self.interval_ms.tolist(), strict=True))
        }
        pairs = zip(self.zone.tolist(), self.interval_ms.tolist(), strict=True)
        offset = np.array([offsets[pair] for pair in pairs], np.int64)
        daily = bool((self.interval_ms == DAY_MS).any())
        return Grid(self.interval_ms, offset, self.zone, tuple(midnights(zone) for zone in self.zones if daily))

    def signed(self) -> Mask:
        """Whose values may be below 0."""
        return np.array([one.bidirectional for one in self.thresholds], np.bool_)

    def shapes(self) -> list[Shape]:
        """What their gaps are shaped by when nothing else is known."""
        zones = [self.zones[zone] for zone in self.zone.tolist()]
        return [Shape(zone, one.day()) for zone, one in zip(zones, self.thresholds, strict=True)]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read of some registers, by register and time; `refused`: code of the earlier refusal, 0 without."""

    spans: Spans
    series: Ints
    time_ms: Ints
    value: Ints
    quality: Ints
    forced: Mask
    ignored: Mask
    refused: Ints
    epochs: Epochs

    def take(self, which: Ints, registers: int) -> "Loaded":
        """What was read of some of the registers, which are numbered anew."""
        number = np.full(registers, -1, np.int64)
        number[which] = np.arange(len(which))
        mine = number[self.series] >= 0
        spans = {name: getattr(self.spans, name)[which] for name in Spans.__dataclass_fields__}
        names = ("time_ms", "value", "quality", "forced", "ignored", "refused")
        columns = {name: getattr(self, name)[mine] for name in names}
        epochs = _take_epochs(self.epochs, number)
        return Loaded(spans=Spans(**spans), series=number[self.series[mine]], epochs=epochs, **columns)


def _take_epochs(epochs: Epochs, number: Ints) -> Epochs:
    mine = number[epochs.series] >= 0
    names = ("from_ms", "until_ms", "modulus", "max_per_hour", "multiplier_e4", "opening", "closing")
    return Epochs(number[epochs.series[mine]], *(getattr(epochs, name)[mine] for name in names))


async def load(conn: Conn, registers: Registers, now_ms: int) -> Loaded:
    """Reads around the changes as far as it is likely to be enough, further with every attempt."""
    spans = _spans(registers, now_ms)
    query = {
        **registers.keys(),
        "from": TimeColumn(spans.low_ms),
        "until": TimeColumn(spans.high_ms),
        **overall(spans.low_ms, spans.high_ms),
    }
    kinds = ("int8", "timestamptz", "int8", "int2")
    series, times, values, qualities = await columns_of(conn, sql.READINGS, query, kinds)
    times = from_wire_time(times)
    keys, series, times, values, qualities = in_order((series << KEY_SHIFT) + times, series, times, values, qualities)
    forced, ignored = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
    await _edit(conn, query, keys, values, forced, ignored)
    return Loaded(
        spans, series, times, values, qualities, forced, ignored, await _refused(conn, query, keys),
        await _epochs(conn, registers),
    )  # fmt: skip


def _spans(registers: Registers, now_ms: int) -> Spans:
    first = registers.attempt == 0
    margin = np.where(first, _SOME_INTERVALS * registers.interval_ms + 3 * HOUR_MS, _MANY_MS)
    everything = registers.attempt > 1
    low = np.where(everything, BEGINNING, np.maximum(registers.from_ms - margin, BEGINNING))
    new = everything | registers.whole_after | (registers.until_ms > now_ms - _NEW_MS)
    high = np.where(new, END, registers.until_ms + margin)
    return Spans(registers.from_ms, registers.until_ms, low, high, registers.whole_before, registers.whole_after)


async def _edit(conn: Conn, query: Mapping[str, object], keys: Ints, values: Ints, forced: Mask, ignored: Mask) -> None:
    nth, times, actions, edited = await columns_of(conn, sql.EDITS, query, ("int8", "timestamptz", "int2", "int8"))
    at, known = find(keys, (nth << KEY_SHIFT) + from_wire_time(times))
    at, actions, edited = at[known], actions[known], edited[known]
    values[at[actions == _SET]] = edited[actions == _SET]
    forced[at[actions <= _USE]] = True
    ignored[at[actions == _IGNORE]] = True


async def _refused(conn: Conn, query: Mapping[str, object], keys: Ints) -> Ints:
    nth, times, codes = await columns_of(conn, sql.REFUSED, query, ("int8", "timestamptz", "int2"))
    at, known = find(keys, (nth << KEY_SHIFT) + from_wire_time(times))
    refused = np.zeros(len(keys), np.int64)
    refused[at[known]] = codes[known]
    return refused


async def _epochs(conn: Conn, registers: Registers) -> Epochs:
    kinds = ("int8",) * 8
    query = {**registers.keys(), "end": END}
    series, begin, end, modulus, most, multiplier, opening, closing = await columns_of(
        conn, sql.REGISTERS, query, kinds
    )
    # A reading that the register cannot show is none.
    opening, closing = (np.where(stand < modulus, stand, -1) for stand in (opening, closing))
    return Epochs(series, begin, np.minimum(end, END), modulus, most, multiplier, opening, closing)


def overall(low: Ints, high: Ints) -> dict[str, object]:
    """The same bounds for all together: the planner leaves out the parts of the series beyond them."""
    return {
        "low": _EPOCH + timedelta(milliseconds=int(low.min())),
        "high": _EPOCH + timedelta(milliseconds=int(high.max())),
    }


def again(registers: Registers, which: Ints, whole_before: Mask, whole_after: Mask) -> Registers:
    """Some of the registers for another attempt. `whole_*`: of these; where one is set, everything is read."""
    mine = registers.take(which)
    attempt = np.where(whole_before | whole_after, 2, mine.attempt + 1)
    return replace(
        mine, attempt=attempt, whole_before=mine.whole_before | whole_before,
        whole_after=mine.whole_after | whole_after,
    )  # fmt: skip


def together(parts: Sequence[Registers]) -> Registers:
    """Several sets of registers as one, by meter and channel."""
    names = [name for name in Registers.__dataclass_fields__ if name not in ("thresholds", "zones")]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    thresholds = tuple(one for part in parts for one in part.thresholds)
    joined = Registers(**columns, thresholds=thresholds, zones=parts[0].zones)
    return joined.take(np.lexsort((joined.channel, joined.meter)))
