"""Which readings count: many registers at once, vectorised; pure numpy int64, no clock.

Rules, in this order, within one register in force (an *epoch*):

1. A reading outside every epoch is refused (CLOCK), one below 0 (NEGATIVE, unless the register is signed) or not below
   the modulus (SPIKE) is no reading of the register, and one that staff told to ignore (IGNORED) is left out.
2. A *forced* reading (staff's word, or the reading at an exchange) is always accepted and becomes the base.
3. Otherwise the first base of an epoch is decided by its first OPENING readings: it is the one from which most of them
   are accepted, the earliest of equals; those before it are refused. (A bogus first reading would otherwise refuse the
   real ones until the register can have reached them, and then bill the way.)
4. A reading is *accepted* when the register can have advanced to it from the base:
   `0 <= d <= max_per_hour * dt`, or, with `d < 0`, as a rollover when `base >= 0.9 * modulus` and
   `0 <= d + modulus <= max_per_hour * dt`. An accepted reading becomes the base. Every other one is refused as BACKWARD
   (d < 0) or SPIKE; the base stays, so that a meter that reads 0 once makes no mountain.

Every reading is first judged from the one before it. That is final wherever nothing is refused; only stretches in
which something is refused are followed base by base.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int8]
Mask = NDArray[np.bool_]

HOUR_MS: Final = 3_600_000
MULTIPLIER_UNIT: Final = 10_000

RESTART, ADVANCE, ROLLOVER, BACKWARD, SPIKE, CLOCK, NEGATIVE, IGNORED = -1, 0, 1, 2, 3, 4, 5, 6
"""What a reading is, seen from the base. From BACKWARD on it is refused; RESTART is a forced one below the base."""

OPENING: Final = 12
"""So many readings decide the first base of an epoch."""

KEY_SHIFT: Final = 43
"""Times up to the year 2248 in milliseconds fit below it, a million registers above."""

_FIRST_LOOK: Final = 32


@dataclass(frozen=True, slots=True)
class Epochs:
    """Registers in force, by series and time. Modulus and maximum in the base unit before the multiplier.

    `series`: which of the registers that are derived together. `opening`, `closing`: where it stood when it was put in
    and taken out, below 0 where nobody knows. `until_ms` is exclusive.
    """

    series: Ints
    from_ms: Ints
    until_ms: Ints
    modulus: Ints
    max_per_hour: Ints
    multiplier_e4: Ints
    opening: Ints
    closing: Ints

    def __post_init__(self) -> None:
        bounds = ((self.modulus, 10**15), (self.max_per_hour, 10**12), (self.multiplier_e4, 10**12))
        if any(((values <= 0) | (values > most)).any() for values, most in bounds):
            raise ValueError("a register is outside what 64 bits carry")
        products = (self.modulus // MULTIPLIER_UNIT + 1) * self.multiplier_e4.astype(object)
        if (products >= 2**62).any():
            raise ValueError("modulus times multiplier is beyond 64 bits")

    def at(self, series: Ints, time_ms: Ints) -> Ints:
        """Position of the epoch in force at each time, -1 without one."""
        if not len(self.series):
            return np.full(len(series), -1, np.int64)
        keys = (self.series << KEY_SHIFT) + self.from_ms
        found = np.searchsorted(keys, (series << KEY_SHIFT) + time_ms, "right") - 1
        inside = (found >= 0) & (self.series[found] == series) & (time_ms < self.until_ms[found])
        return np.where(inside, found, -1)


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of many registers by series and time. All arrays are of the same length.

    `epoch`: position in `Epochs`, -1 outside every one. `forced`: always accepted. `ignored`: never.
    """

    series: Ints
    time_ms: Ints
    value: Ints
    quality: Ints
    epoch: Ints
    forced: Mask
    ignored: Mask


def judge(readings: Readings, epochs: Epochs, known_base: Mask, signed: Mask | None = None) -> Codes:
    """The code of every reading.

    `known_base`: by series, whether its first possible reading was accepted before; otherwise the first readings of
    its epoch decide (rule 3). A later epoch of the series always begins with its beginning.
    `signed`: by series, whether values below 0 are readings like others; None: nowhere.
    """
    codes = _impossible(readings, epochs, signed)
    possible = np.flatnonzero(codes == ADVANCE)
    if len(possible):
        codes[possible] = _judge_possible(readings, epochs, known_base, possible)
    return codes


def _impossible(readings: Readings, epochs: Epochs, signed: Mask | None) -> Codes:
    known = readings.epoch >= 0
    modulus = np.where(known, epochs.modulus[readings.epoch] if len(epochs.modulus) else 0, 2**62)
    negative = readings.value < 0
    if signed is not None:
        negative &= ~signed[readings.series]
    conditions = [readings.ignored, ~known, negative, readings.value >= modulus]
    return np.select(conditions, [IGNORED, CLOCK, NEGATIVE, SPIKE], ADVANCE).astype(np.int8)


def _judge_possible(readings: Readings, epochs: Epochs, known_base: Mask, possible: Ints) -> Codes:
    t, v, epoch = (column[possible] for column in (readings.time_ms, readings.value, readings.epoch))
    forced = readings.forced[possible]
    begins = np.ones(len(possible), np.bool_)
    begins[1:] = (epoch[1:] != epoch[:-1]) | forced[1:]
    found = np.zeros(len(possible), np.int8)
    found[1:] = seen_from(t[:-1], v[:-1], t[1:], v[1:], epochs, epoch[1:])
    found[begins] = ADVANCE
    starts = np.flatnonzero(begins)
    for nth in np.unique(np.searchsorted(starts, np.flatnonzero(found >= BACKWARD), "right") - 1).tolist():
        stop = starts[nth + 1] if nth + 1 < len(starts) else len(possible)
        run = slice(starts[nth], stop)
        first = starts[nth]
        opening = 0 if forced[first] else _opening(readings, known_base, possible, run)
        _follow(t[run], v[run], epochs, int(epoch[first]), found[run], opening)
    return found


def _opening(readings: Readings, known_base: Mask, possible: Ints, run: slice) -> int:
    """How many of the run's possible readings decide its base: those among the first OPENING of its epoch."""
    first = possible[run.start]
    series = readings.series[first]
    begin = int(np.searchsorted(readings.series, series))
    if known_base[series] and (run.start == 0 or readings.series[possible[run.start - 1]] != series):
        return 0
    begin += int(np.argmax(readings.epoch[begin : first + 1] == readings.epoch[first]))
    return int(np.searchsorted(possible[run], begin + OPENING))


def _follow(t: Ints, v: Ints, epochs: Epochs, epoch: int, found: Codes, opening: int) -> None:
    """Rules 3 and 4 within one run; writes into `found`."""
    register = np.int64(epoch)
    base = 0
    if (found[:opening] >= BACKWARD).any():
        base = _first_base(t[:opening], v[:opening], epochs, register)
        found[:base] = np.where(v[:base] > v[base], SPIKE, BACKWARD)
        found[base] = ADVANCE
    refused = np.flatnonzero(found >= BACKWARD)
    while (nth := int(np.searchsorted(refused, base, "right"))) < len(refused):
        base = _next_base(int(refused[nth]) - 1, t, v, epochs, register, found)


def _first_base(t: Ints, v: Ints, epochs: Epochs, epoch: np.int64) -> int:
    """Position of the reading from which most of the others are accepted."""
    return int(np.argmax([_accepted_from(position, t, v, epochs, epoch) for position in range(len(t))]))


def _accepted_from(base: int, t: Ints, v: Ints, epochs: Epochs, epoch: np.int64) -> int:
    """How many readings after `base` are accepted."""
    accepted = 0
    while True:
        codes = seen_from(t[base], v[base], t[base + 1 :], v[base + 1 :], epochs, epoch)
        good = np.flatnonzero(codes < BACKWARD)
        if not len(good):
            return accepted
        base += 1 + int(good[0])
        accepted += 1


def _next_base(base: int, t: Ints, v: Ints, epochs: Epochs, epoch: np.int64, found: Codes) -> int:
    """Refuses readings after `base` until one is accepted; returns its position (the end when there is none)."""
    start, width = base + 1, _FIRST_LOOK
    while start < len(t):
        stop = min(start + width, len(t))
        codes = seen_from(t[base], v[base], t[start:stop], v[start:stop], epochs, epoch)
        found[start:stop] = codes
        good = np.flatnonzero(codes < BACKWARD)
        if len(good):
            accepted = start + int(good[0])
            later = slice(accepted + 1, stop)
            before = slice(accepted, stop - 1)
            found[later] = seen_from(t[before], v[before], t[later], v[later], epochs, epoch)
            return accepted
        start, width = stop, width * 2
    return len(t)


def seen_from(
    base_t: Ints | np.int64, base_v: Ints | np.int64, t: Ints, v: Ints, epochs: Epochs, epoch: Ints | np.int64
) -> Codes:
    """What each reading is (rule 4), each seen from its base within its epoch."""
    modulus, most = epochs.modulus[epoch], epochs.max_per_hour[epoch]
    hours, rest = np.divmod(t - base_t, HOUR_MS)
    allowed = most * hours + most * rest // HOUR_MS
    d = v - base_v
    wrapped = d + modulus
    rollover = (10 * base_v >= 9 * modulus) & (wrapped >= 0) & (wrapped <= allowed)
    forward = np.where(d <= allowed, ADVANCE, SPIKE)
    codes: Codes = np.where(d >= 0, forward, np.where(rollover, ROLLOVER, BACKWARD)).astype(np.int8)
    return codes
