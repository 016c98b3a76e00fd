"""Usage engine: from the readings of many registers to rows of usage; pure numpy int64, no clock.

Rules, after `judging` has said which readings count:

1. The *position* of a register is what it counted so far, multiplier applied. From one accepted reading to the next of
   the same epoch it advances by the difference of the two products with the multiplier (halves up), and by the modulus
   times the multiplier (rounded up) where it rolled over. So rows add up to the rounded advance, and nothing is
   negative. A forced reading below its base advances by nothing: the count restarts there.
2. At an exchange the closing reading of the old register and the opening one of the new follow each other without
   advance. Where one of them is missing the chain breaks, and no row spans the break.
3. The *boundary reading* of a grid instant is the first accepted reading at or after it within TOLERANCE_S; the
   position at the instant is that of its boundary reading. (Readings at an exchange are no boundary, but exact at
   their own time.)
4. Without a boundary the position lies between the accepted readings before and after. Up to LINEAR_MS apart the
   register is taken to have advanced evenly; further apart the advance is shared out by the weights of an estimate
   (`Gaps`, which the caller fills in with `Positions.fill`). Apart by more than LONGEST_MS it stays one row.
5. A row is the difference of the positions at consecutive instants.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.metering.derivation.grid import DAY_MS, Grid
from cloud.metering.derivation.judging import (
    BACKWARD,
    HOUR_MS,
    KEY_SHIFT,
    MULTIPLIER_UNIT,
    RESTART,
    ROLLOVER,
    Codes,
    Epochs,
    Readings,
    judge,
    seen_from,
)

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

TOLERANCE_S: Final = 300
LINEAR_MS: Final = 2 * HOUR_MS
LONGEST_MS: Final = 100 * DAY_MS

METHOD_DIFFERENCE, METHOD_ROLLOVER, METHOD_GAP, METHOD_LINEAR = 0, 1, 2, 3
METHOD_EXCHANGE: Final = 7
"""Codes of `store.usage.method`; 4 to 6 are rungs of the estimate."""


def measured(method: Ints) -> Mask:
    """Which rows are differences of readings at both ends, with nothing estimated."""
    found: Mask = (method <= METHOD_ROLLOVER) | (method == METHOD_EXCHANGE)
    return found


def shaped(method: Ints) -> Mask:
    """Which rows have an estimated shape: what `gm.is_estimated` says."""
    found: Mask = (method >= METHOD_LINEAR) & (method < METHOD_EXCHANGE)
    return found


@dataclass(frozen=True, slots=True)
class Rows:
    """Usage rows by series and start."""

    series: Ints
    start_ms: Ints
    length_ms: Ints
    quantity: Ints
    quality: Ints
    method: Ints


@dataclass(frozen=True, slots=True)
class Gaps:
    """Stretches whose advance has to be shared out by weights, by series and time.

    `from_ms`, `until_ms`: the accepted readings around it, moved to the instant they are the boundary of. `advance`
    over all of it. `first`, `last`: positions (inclusive) of the instants inside it in `Positions`.
    """

    series: Ints
    from_ms: Ints
    until_ms: Ints
    advance: Ints
    first: Ints
    last: Ints


@dataclass(frozen=True, slots=True)
class Positions:
    """The position of registers at grid instants, by series and time.

    `position` counts from an arbitrary zero. `method`: 0 where a reading says it, otherwise how it was estimated;
    positions inside `gaps` hold the position at the gap's beginning until they are filled in. `chain` is the same
    where a row may go from one instant to the next; `rollovers` and `exchanges` count along it.
    """

    series: Ints
    ordinal: Ints
    instant_ms: Ints
    position: Ints
    quality: Ints
    method: Ints
    chain: Ints
    rollovers: Ints
    exchanges: Ints
    gaps: Gaps

    def fill(self, gap: int, shares: Ints, method: int) -> None:
        """Shares out a gap: `shares` has one number per interval, the one up to the first instant included."""
        first, last = int(self.gaps.first[gap]), int(self.gaps.last[gap])
        self.position[first : last + 1] += np.cumsum(shares)[: last + 1 - first]
        self.method[first : last + 1] = method

    def rows(self) -> Rows:
        """Usage between consecutive instants."""
        where = np.flatnonzero(self.chain[1:] == self.chain[:-1])
        after = where + 1
        estimate = np.maximum(self.method[where], self.method[after])
        method = np.select(
            [
                self.ordinal[after] - self.ordinal[where] > 1,
                estimate > 0,
                self.exchanges[after] > self.exchanges[where],
                self.rollovers[after] > self.rollovers[where],
            ],
            [METHOD_GAP, estimate, METHOD_EXCHANGE, METHOD_ROLLOVER],
            METHOD_DIFFERENCE,
        )
        return Rows(
            self.series[where],
            self.instant_ms[where],
            self.instant_ms[after] - self.instant_ms[where],
            self.position[after] - self.position[where],
            self.quality[where] | self.quality[after],
            method,
        )


@dataclass(frozen=True, slots=True)
class Turns:
    """Where a register fell back and the count did not: `raised` is by how much, multiplier applied."""

    series: Ints
    time_ms: Ints
    raised: Ints


@dataclass(frozen=True, slots=True)
class Derived:
    """What the readings came to. `readings` are those given and those at exchanges, `codes` is about them."""

    readings: Readings
    synthetic: Mask
    codes: Codes
    positions: Positions
    turns: Turns
    missing: "Missing"


@dataclass(frozen=True, slots=True)
class Missing:
    """Pairs of accepted readings between which `slots` expected readings are missing."""

    series: Ints
    from_ms: Ints
    until_ms: Ints
    slots: Ints


def derive(readings: Readings, epochs: Epochs, grid: Grid, known_base: Mask, signed: Mask | None = None) -> Derived:
    """Positions of registers at their grid instants.

    `readings`: by series and time, no time twice; `epochs`: by series and time. Opening and closing readings of the
    epochs are added, whether other readings reach them or not. `known_base`, `signed`: see
    `judging.judge`.
    """
    everything, synthetic = _with_exchanges(readings, epochs)
    codes = judge(everything, epochs, known_base, signed)
    steps = _steps(everything, synthetic, codes, epochs, grid)
    codes[steps.at] = steps.codes
    return Derived(
        everything, synthetic, codes, _positions(steps, epochs, grid), _turns(steps, epochs), _missing(steps, grid)
    )


def _with_exchanges(readings: Readings, epochs: Epochs) -> tuple[Readings, Mask]:
    """The readings and those at both ends of the epochs, which come before others of the same time."""
    opens, closes = np.flatnonzero(epochs.opening >= 0), np.flatnonzero(epochs.closing >= 0)
    added = len(opens) + len(closes)
    synthetic = np.zeros(len(readings.series) + added, np.bool_)
    if not added:
        return readings, synthetic
    epoch = np.concatenate([closes, opens])
    times = np.concatenate([epochs.until_ms[closes], epochs.from_ms[opens]])
    values = np.concatenate([epochs.closing[closes], epochs.opening[opens]])
    both = [
        np.concatenate([theirs, ours])
        for theirs, ours in (
            (readings.series, epochs.series[epoch]),
            (readings.time_ms, times),
            (readings.value, values),
            (readings.quality, np.zeros(added, np.int64)),
            (readings.epoch, epoch),
        )
    ]
    rank = np.r_[np.full(len(readings.series), 2), np.zeros(len(closes)), np.ones(len(opens))]
    order = np.lexsort((rank, both[1], both[0]))
    forced = np.r_[readings.forced, np.ones(added, np.bool_)]
    ignored = np.r_[readings.ignored, np.zeros(added, np.bool_)]
    series, times_ms, stands, quality, epochs_of = (column[order] for column in both)
    merged = Readings(series, times_ms, stands, quality, epochs_of, forced[order], ignored[order])
    return merged, rank[order] < 2


@dataclass(frozen=True, slots=True)
class _Steps:
    """Accepted readings and how the register came to each from the one before."""

    at: Ints
    series: Ints
    time_ms: Ints
    value: Ints
    quality: Ints
    epoch: Ints
    codes: Codes
    same_epoch: Mask
    joined: Mask
    """Whether the chain runs on from the reading before."""
    grid_ms: Ints
    """The instant that the reading is the boundary of, otherwise its own time."""
    counted: Ints
    """By how much the position rose from the reading before; 0 at the beginning of an epoch."""


def _steps(readings: Readings, synthetic: Mask, codes: Codes, epochs: Epochs, grid: Grid) -> _Steps:
    at = np.flatnonzero(codes < BACKWARD)
    series, t, v, epoch = (c[at] for c in (readings.series, readings.time_ms, readings.value, readings.epoch))
    same, exchange = np.zeros(len(at), np.bool_), np.zeros(len(at), np.bool_)
    same[1:] = epoch[1:] == epoch[:-1]
    made = synthetic[at]
    exchange[1:] = made[1:] & made[:-1] & (series[1:] == series[:-1]) & (t[1:] == t[:-1]) & ~same[1:]
    found = codes[at]
    _judge_forced(np.flatnonzero(readings.forced[at] & same), t, v, epoch, epochs, found)
    return _Steps(
        at, series, t, v, readings.quality[at], epoch, found, same, same | exchange,
        _to_the_grid(series, t, made, grid), _counted(v, epoch, found, same, epochs),
    )  # fmt: skip


def _judge_forced(forced: Ints, t: Ints, v: Ints, epoch: Ints, epochs: Epochs, found: Codes) -> None:
    """A forced reading is believed; below its base it is a rollover or the count restarts."""
    seen = seen_from(t[forced - 1], v[forced - 1], t[forced], v[forced], epochs, epoch[forced])
    found[forced] = np.select([v[forced] >= v[forced - 1], seen == ROLLOVER], [0, ROLLOVER], RESTART)


def _counted(v: Ints, epoch: Ints, codes: Codes, same: Mask, epochs: Epochs) -> Ints:
    counted = np.zeros(len(v), np.int64)
    if not len(v):
        return counted
    product = times(v, epochs.multiplier_e4[epoch])
    counted[1:] = np.diff(product)
    counted[~same | (codes == RESTART)] = 0
    rolled = np.flatnonzero((codes == ROLLOVER) & same)
    counted[rolled] += turn(epochs.modulus[epoch[rolled]], epochs.multiplier_e4[epoch[rolled]])
    return counted


def _to_the_grid(series: Ints, t: Ints, synthetic: Mask, grid: Grid) -> Ints:
    instant = grid.floor(series, t)
    near = np.flatnonzero((t - instant < TOLERANCE_S * 1000) & ~synthetic)
    first = np.ones(len(near), np.bool_)
    first[1:] = (instant[near[1:]] != instant[near[:-1]]) | (series[near[1:]] != series[near[:-1]])
    boundary = near[first]
    moved = t.copy()
    moved[boundary] = instant[boundary]
    made = np.flatnonzero(synthetic)
    if len(made):
        # A boundary reading may lie behind the exchange that its instant lies before: the instant is the reading's.
        keys = (series[boundary] << KEY_SHIFT) + t[boundary]
        after = np.searchsorted(keys, (series[made] << KEY_SHIFT) + t[made])
        inside = after < len(boundary)
        made, after = made[inside], boundary[after[inside]]
        before = (series[after] == series[made]) & (instant[after] <= t[made])
        moved[made[before]] = instant[after[before]] - 1
    return moved


def _positions(steps: _Steps, epochs: Epochs, grid: Grid) -> Positions:
    ordinal = grid.ordinal(steps.series, steps.grid_ms)
    exact = grid.instant(steps.series, ordinal) == steps.grid_ms
    # Sums that leave 64 bits wrap around, and differences of them wrap back.
    position = np.cumsum(steps.counted)
    span = np.diff(steps.grid_ms, prepend=0)
    low = np.where(steps.joined, np.r_[0, ordinal[:-1]] if len(ordinal) else ordinal, ordinal - exact)
    low = np.where(steps.joined & (span > LONGEST_MS), ordinal - exact, low)
    sizes = ordinal - low
    step = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.cumsum(sizes) - sizes
    number = low[step] + 1 + np.arange(len(step)) - begins[step]
    instants = grid.instant(steps.series[step], number)
    told = instants == steps.grid_ms[step]
    found = position[step]
    guessed = np.flatnonzero(~told)
    found[guessed] -= steps.counted[step[guessed]]
    linear = guessed[span[step[guessed]] <= LINEAR_MS]
    found[linear] += _evenly(steps, epochs, step[linear], instants[linear])
    # What is shared out later keeps METHOD_GAP until it is filled in.
    method = np.zeros(len(step), np.int64)
    method[guessed] = METHOD_GAP
    method[linear] = METHOD_LINEAR
    quality = steps.quality[step]
    quality[guessed] |= steps.quality[step[guessed] - 1]
    chains, turns, exchanges = (
        np.cumsum(begins, dtype=np.int64)[step]
        for begins in (~steps.joined, steps.codes == ROLLOVER, steps.joined & ~steps.same_epoch)
    )
    return Positions(
        steps.series[step], number, instants, found, quality, method, chains, turns, exchanges,
        _gaps(steps, span, step, guessed),
    )  # fmt: skip


def _evenly(steps: _Steps, epochs: Epochs, step: Ints, instants: Ints) -> Ints:
    """By how much the position rose up to an instant between two readings, if the register ran evenly."""
    before, epoch = step - 1, steps.epoch[step]
    rolled = (steps.codes[step] == ROLLOVER) * epochs.modulus[epoch]
    advance = np.where(steps.codes[step] == RESTART, 0, steps.value[step] + rolled - steps.value[before])
    whole = steps.grid_ms[step] - steps.grid_ms[before]
    part = instants - steps.grid_ms[before]
    share, rest = np.divmod(advance, whole)
    ran = share * part + rest * part // whole
    multiplier = epochs.multiplier_e4[epoch]
    return times(steps.value[before] + ran, multiplier) - times(steps.value[before], multiplier)


def _gaps(steps: _Steps, span: Ints, step: Ints, guessed: Ints) -> Gaps:
    shaped = guessed[span[step[guessed]] > LINEAR_MS]
    which, first, count = np.unique(step[shaped], return_index=True, return_counts=True)
    return Gaps(
        steps.series[which], steps.grid_ms[which - 1], steps.grid_ms[which], steps.counted[which], shaped[first],
        shaped[first] + count - 1,
    )  # fmt: skip


def _missing(steps: _Steps, grid: Grid) -> Missing:
    interval = grid.interval_ms[steps.series]
    # A day in spring has only 23 hours.
    slack = np.where(interval == DAY_MS, HOUR_MS, 0)
    slots = (np.diff(steps.grid_ms, prepend=0) + slack) // interval - 1
    after = np.flatnonzero(steps.joined & (slots > 0))
    return Missing(steps.series[after], steps.time_ms[after - 1], steps.time_ms[after], slots[after])


def _turns(steps: _Steps, epochs: Epochs) -> Turns:
    at = np.flatnonzero(steps.same_epoch & ((steps.codes == ROLLOVER) | (steps.codes == RESTART)))
    if not len(at):
        return Turns(at, at, at)
    multiplier = epochs.multiplier_e4[steps.epoch[at]]
    fell = times(steps.value[at - 1], multiplier) - times(steps.value[at], multiplier)
    return Turns(steps.series[at], steps.time_ms[at], steps.counted[at] + fell)


def times(values: Ints, multiplier_e4: Ints) -> Ints:
    """values × multiplier, halves up. Split at 10000, so that nothing leaves 64 bits that fits in the end."""
    whole, rest = np.divmod(values, MULTIPLIER_UNIT)
    product: Ints = whole * multiplier_e4 + (rest * multiplier_e4 + MULTIPLIER_UNIT // 2) // MULTIPLIER_UNIT
    return product


def turn(modulus: Ints, multiplier_e4: Ints) -> Ints:
    """What a whole turn of a register counts: modulus × multiplier, rounded up."""
    whole, rest = np.divmod(modulus, MULTIPLIER_UNIT)
    product: Ints = whole * multiplier_e4 - (-rest * multiplier_e4 // MULTIPLIER_UNIT)
    return product
