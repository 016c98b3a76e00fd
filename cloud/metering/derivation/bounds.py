"""What has to be read and replaced when readings of registers changed; pure numpy int64.

Readings between `from` and `until` changed. Everything that depends on them lies

* behind the last accepted reading more than the tolerance before `from`: instants up to it have boundaries and
  neighbours that cannot have changed. From there (or, where the position at the instant before it hangs on an earlier
  reading, from that one) readings are read, without those that were refused before;
* before the instant of `read_until`: the first reading that was accepted before, is an instant and the tolerance behind
  `agree`, the first reading behind `until` that was accepted before. If the new derivation accepts `agree` too, all
  that follows is judged alike, has the same boundaries, and rows from that instant on stay as they are.

A change among the first readings of an epoch may move its first base: then all of them count as changed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.metering.derivation.grid import Grid
from cloud.metering.derivation.judging import KEY_SHIFT, OPENING, Epochs
from cloud.metering.derivation.usage import TOLERANCE_S

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

BEGINNING: Final = 0
END: Final = 2**42
TOLERANCE_MS: Final = TOLERANCE_S * 1000


@dataclass(frozen=True, slots=True)
class Spans:
    """What is known of each register: changed readings in [`from_ms`, `until_ms`]; loaded those in [`low`, `high`].

    `whole_before`, `whole_after`: take everything, because less was tried and did not meet the rows there are.
    """

    from_ms: Ints
    until_ms: Ints
    low_ms: Ints
    high_ms: Ints
    whole_before: Mask
    whole_after: Mask


@dataclass(frozen=True, slots=True)
class Bounds:
    """By register. `settled`: whether what is loaded is enough to know the rest."""

    settled: Mask
    judged_from: Ints
    """From here on earlier refusals do not count."""
    read_from: Ints
    read_until: Ints
    agree_ms: Ints
    """The reading that has to be accepted as before; END where there is none."""
    replace_from: Ints
    replace_until: Ints
    known_base: Mask


@dataclass(frozen=True, slots=True)
class _Known:
    """Loaded readings: the keys of all, and of those that were accepted before, with their times."""

    raw: Ints
    accepted: Ints

    @staticmethod
    def key(series: Ints, time_ms: Ints) -> Ints:
        found: Ints = (series << KEY_SHIFT) + time_ms
        return found

    def first_after(self, series: Ints, time_ms: Ints) -> Ints:
        """Time of the first accepted reading at or after each time, END without one."""
        return _time_at(self.accepted, np.searchsorted(self.accepted, self.key(series, time_ms)), series, END)

    def last_before(self, series: Ints, time_ms: Ints) -> Ints:
        """Time of the last accepted reading before each time, -1 without one."""
        return _time_at(self.accepted, np.searchsorted(self.accepted, self.key(series, time_ms)) - 1, series, -1)

    def nth_from(self, series: Ints, time_ms: Ints, nth: int) -> Ints:
        """Time of the n-th reading of any kind at or after each time, END without one."""
        return _time_at(self.raw, np.searchsorted(self.raw, self.key(series, time_ms)) + nth - 1, series, END)


def _time_at(keys: Ints, where: Ints, series: Ints, otherwise: int) -> Ints:
    if not len(keys):
        return np.full(len(where), otherwise, np.int64)
    inside = np.clip(where, 0, len(keys) - 1)
    mine = (where == inside) & (keys[inside] >> KEY_SHIFT == series)
    return np.where(mine, keys[inside] & ((1 << KEY_SHIFT) - 1), otherwise)


def bound(spans: Spans, grid: Grid, epochs: Epochs, series: Ints, time_ms: Ints, refused: Mask) -> Bounds:
    """Bounds from what is loaded. `series`, `time_ms`, `refused`: the loaded readings and what was decided before."""
    keys = _Known.key(series, time_ms)
    known = _Known(keys, keys[~refused])
    every = np.arange(len(spans.from_ms))
    judged_from, settled = _judged_from(spans, epochs, known, every)
    agree, read_until, enough = _until(spans, grid, epochs, known, judged_from)
    base = known.last_before(every, judged_from - TOLERANCE_MS + 1)
    read_from = _read_from(base, grid, known, every)
    found_all = spans.low_ms == BEGINNING
    settled &= enough & (found_all | (read_from >= np.maximum(spans.low_ms, 1)))
    settled &= found_all | ~spans.whole_before
    read_from = np.where(spans.whole_before, BEGINNING, read_from)
    replace_from = np.where(read_from == BEGINNING, BEGINNING, grid.floor(every, np.maximum(base, read_from)))
    last = read_until < END
    replace_until = np.where(last, grid.floor(every, np.where(last, read_until, spans.from_ms)), END)
    return Bounds(settled, judged_from, read_from, read_until, agree, replace_from, replace_until, base >= 0)


def _judged_from(spans: Spans, epochs: Epochs, known: _Known, every: Ints) -> tuple[Ints, Mask]:
    """`from`, or the beginning of its epoch where the change may move the first base; and whether that is certain."""
    # The epoch that ends where the change begins is meant too: an exchange takes readings from its first ones.
    epoch = epochs.at(every, spans.from_ms - 1)
    if not len(epochs.series):
        return spans.from_ms, np.ones(len(every), np.bool_)
    begins = epochs.from_ms[epoch]
    decided = known.nth_from(every, np.maximum(begins, spans.low_ms), OPENING)
    few = (epoch >= 0) & (epochs.opening[epoch] < 0) & (decided >= spans.from_ms)
    return np.where(few, begins, spans.from_ms), ~few | (spans.low_ms <= begins)


def _until(spans: Spans, grid: Grid, epochs: Epochs, known: _Known, judged_from: Ints) -> tuple[Ints, Ints, Mask]:
    """`agree`, `read_until`, and whether enough is loaded behind."""
    every = np.arange(len(judged_from))
    undecided = np.flatnonzero(epochs.opening < 0)
    owner, begins = epochs.series[undecided], epochs.from_ms[undecided]
    # Readings that decide the base of an epoch that begins in between have to be read as well.
    opened = known.nth_from(owner, begins, OPENING)
    until = spans.until_ms
    while True:
        agree = known.first_after(every, until + 1)
        there = np.where(agree < END, agree, spans.from_ms)
        behind = np.maximum(agree + TOLERANCE_MS + 1, grid.instant(every, grid.ordinal(every, there) + 1))
        read_until = np.where(agree < END, known.first_after(every, behind), END)
        read_until[spans.whole_after] = END
        more = until.copy()
        inside = (begins >= judged_from[owner]) & (begins <= read_until[owner])
        np.maximum.at(more, owner[inside], opened[inside])
        if (more == until).all():
            agree = np.where(read_until < END, agree, END)
            return agree, read_until, (read_until < END) | (spans.high_ms == END)
        until = more


def _read_from(base: Ints, grid: Grid, known: _Known, every: Ints) -> Ints:
    """The boundary of the instant before the base, or the reading before it; BEGINNING without one."""
    there = np.maximum(base, TOLERANCE_MS)
    instant = grid.floor(every, there)
    before = known.last_before(every, instant)
    # Whether it is the boundary of its own instant depends on those since that instant.
    its_instant = grid.floor(every, np.maximum(before, TOLERANCE_MS))
    earlier = np.where(before - its_instant < TOLERANCE_MS, its_instant, before)
    earlier = np.where(before >= 0, earlier, BEGINNING)
    return np.where(base < 0, BEGINNING, np.where(base - instant < TOLERANCE_MS, instant, earlier))
