"""Shares out the advance over gaps after what the meter used before; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.metering.derivation.estimation import HISTORY_DAYS, History, Profile, shape, spread
from cloud.metering.derivation.grid import DAY_MS, Grid
from cloud.metering.derivation.local_days import slots
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
    rows = np.flatnonzero(measured(known.method))
    edges = np.searchsorted(known.series[rows], np.arange(len(shapes) + 1))
    gaps = positions.gaps
    for gap, series in enumerate(gaps.series.tolist()):
        mine = rows[edges[series] : edges[series + 1]]
        starts = known.start_ms[mine]
        begin = int(gaps.from_ms[gap])
        mine = mine[(starts >= begin - HISTORY_MS) & (starts < begin)]
        weights, method = _weights(positions, gap, grid, shapes[series], known, mine)
        positions.fill(gap, spread(int(gaps.advance[gap]), weights), method)


def _weights(positions: Positions, gap: int, grid: Grid, by: Shape, known: Rows, mine: Ints) -> tuple[Ints, int]:
    """Weights of the stretches from the gap's beginning over its instants to its end."""
    gaps = positions.gaps
    which = slice(int(gaps.first[gap]), int(gaps.last[gap]) + 1)
    first, last = int(positions.ordinal[which][0]), int(positions.ordinal[which][-1])
    ordinals = np.arange(first - 1, last + 2)
    edges = grid.instant(np.full(len(ordinals), gaps.series[gap]), ordinals)
    lengths = np.diff(edges)
    history = History(slots(known.start_ms[mine], known.length_ms[mine], by.zone), known.quantity[mine])
    weights, method = shape(slots(edges[:-1], lengths, by.zone), history, by.profile)
    # The gap begins and ends inside an interval where its readings are not on the grid.
    parts = ((0, edges[1] - gaps.from_ms[gap]), (-1, gaps.until_ms[gap] - edges[-2]))
    for at, part in parts:
        if part < lengths[at]:
            weights[at] = int(weights[at]) * int(part) // int(lengths[at])
    return weights, method
