"""Shares out the advance over gaps after what the meter used before; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.metering.derivation.estimation import HISTORY_DAYS, History, Profile, shape, spread
from cloud.metering.derivation.grid import DAY_MS, Grid
from cloud.metering.derivation.judging import KEY_SHIFT
from cloud.metering.derivation.local_days import Slots, slots_by_zone
from cloud.metering.derivation.usage import Ints, Positions, Rows, measured

HISTORY_MS: Final = (HISTORY_DAYS + 2) * DAY_MS
"""Rows so long before a gap can have a say in its shape: whole local days, the longest of them too."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of a register are shaped by when nothing else is known, and where its days begin."""

    zone: ZoneInfo
    profile: Profile


def share_out(positions: Positions, grid: Grid, shapes: Sequence[Shape], known: Rows) -> None:
    """Fills in every gap. `shapes`: by series. `known`: rows of the registers that have gaps, by series and start."""
    gaps = positions.gaps
    zones = list(dict.fromkeys(one.zone for one in shapes))
    zone = np.array([zones.index(one.zone) for one in shapes], np.int64)
    rows = np.flatnonzero(measured(known.method))
    series, starts, quantity = known.series[rows], known.start_ms[rows], known.quantity[rows]
    past = slots_by_zone(starts, known.length_ms[rows], zone[series], zones)
    stretches = _stretches(positions, grid, zone, zones)
    # Of a register's rows, those of the weeks before each gap.
    before = np.searchsorted((series << KEY_SHIFT) + starts, (gaps.series << KEY_SHIFT) + gaps.from_ms)
    since = np.searchsorted((series << KEY_SHIFT) + starts, (gaps.series << KEY_SHIFT) + gaps.from_ms - HISTORY_MS)
    since = np.maximum(since, np.searchsorted(series, gaps.series))
    for gap, (first, last) in enumerate(zip(since.tolist(), before.tolist(), strict=True)):
        history = History(past.take(slice(first, last)), quantity[first:last])
        weights, method = stretches.weights(gap, history, shapes[int(gaps.series[gap])].profile)
        positions.fill(gap, spread(int(gaps.advance[gap]), weights), method)


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Of every gap the stretches from its beginning over its instants to its end: those in [`edges`[n], `edges`[n+1]).

    `opening_ms`, `closing_ms`: how much of the first and the last one is in the gap. They are less than the interval
    where a gap's readings are not on the grid.
    """

    slots: Slots
    edges: Ints
    opening_ms: Ints
    closing_ms: Ints

    def weights(self, gap: int, history: History, profile: Profile) -> tuple[Ints, int]:
        """Weights of the gap's stretches, and the method code."""
        mine = self.slots.take(slice(int(self.edges[gap]), int(self.edges[gap + 1])))
        weights, method = shape(mine, history, profile)
        for at, part in ((0, int(self.opening_ms[gap])), (-1, int(self.closing_ms[gap]))):
            length = int(mine.length_ms[at])
            if part < length:
                weights[at] = int(weights[at]) * part // length
        return weights, method


def _stretches(positions: Positions, grid: Grid, zone: Ints, zones: Sequence[ZoneInfo]) -> _Stretches:
    gaps = positions.gaps
    before, behind = positions.ordinal[gaps.first] - 1, positions.ordinal[gaps.last] + 1
    counts = behind - before
    edges = np.concatenate(([0], np.cumsum(counts)))
    ordinals = np.arange(edges[-1]) - np.repeat(edges[:-1] - before, counts)
    series = np.repeat(gaps.series, counts)
    begin, end = grid.instant(series, ordinals), grid.instant(series, ordinals + 1)
    closing = gaps.until_ms - begin[edges[1:] - 1]
    found = slots_by_zone(begin, end - begin, zone[series], zones)
    return _Stretches(found, edges, end[edges[:-1]] - gaps.from_ms, closing)
