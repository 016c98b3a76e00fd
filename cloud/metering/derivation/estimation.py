"""Estimation: how an advance over a gap is spread over its intervals, and what is assumed where no reading came yet.

The ladder, each rung taken only when the one before has not enough to stand on:

3. Linear: a gap of at most two hours is spread evenly over its time.
4. Mean of like days: the last three good days of the same type (work or rest) among the 28 before the gap, slot by
   slot of local time. A good day has all its intervals measured. Every type of day in the gap needs its three.
5. Average day: the same mean over all good days of those 28, whatever their type.
6. Profile of the class: the hours of a typical day of such a meter.

Where both ends are real the ladder only gives weights, and `spread` makes integers of the advance that add up to it
exactly. Where no later reading is there yet (`estimate_open`) it gives quantities. Pure numpy int64; no clock.

A slot is the local time of day at which an interval begins. A day on which clocks change has a slot twice (both
intervals get its mean) or lacks one (the others are what they are); a slot that no good day has gets their mean.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.metering.derivation.local_days import Slots
from cloud.metering.derivation.lookup import find

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

METHOD_LINEAR, METHOD_LIKE_DAYS, METHOD_AVERAGE_DAY, METHOD_PROFILE = 3, 4, 5, 6
"""Codes of `store.usage.method`."""

LINEAR_MS: Final = 2 * 3_600_000
HISTORY_DAYS: Final = 28
LIKE_DAYS: Final = 3

_HOUR_MS: Final = 3_600_000
_HALF: Final = 2**62
_SCALE: Final = 1_000
"""Means are kept in thousandths of the base unit, so that small usage keeps its shape."""


@dataclass(frozen=True, slots=True)
class History:
    """Measured rows (no estimates) before the gap, of the meter's interval; `quantity` in the base unit."""

    slots: Slots
    quantity: Ints


@dataclass(frozen=True, slots=True)
class Profile:
    """A typical day of a class of meters: 24 hourly weights for work and for rest days, and what it uses in a day.

    `per_day` in the base unit. Raises ValueError for weights that are not 24, negative, or all zero.
    """

    work: tuple[int, ...]
    rest: tuple[int, ...]
    per_day: int

    def __post_init__(self) -> None:
        if any(len(day) != 24 or min(day) < 0 or not 0 < sum(day) <= 10**6 for day in (self.work, self.rest)):
            raise ValueError("a profile has 24 weights of 0 or more for each type of day, not all 0, up to a million")
        if not 0 <= self.per_day <= 10**12:
            raise ValueError("a profile's daily usage is outside what 64 bits carry")


def spread(advance: int, weights: Ints) -> Ints:
    """Non-negative integers in proportion to `weights` that add up to `advance` exactly.

    Each is the difference of two rounded cumulative shares (halves up), so none is below 0 and the error never adds
    up. Weights that are all 0 spread evenly. Raises ValueError for a negative advance or weight, or no weights.
    """
    if advance < 0 or len(weights) == 0 or (weights < 0).any():
        raise ValueError("spread takes an advance and weights of 0 or more")
    if not weights.any():
        weights = np.ones(len(weights), np.int64)
    total = sum(weights.tolist()) if int(weights.max()) * len(weights) >= _HALF else int(weights.sum())
    # Products that leave 64 bits are counted with Python's integers; the result fits again.
    exact = advance * total >= _HALF // 2 or total >= _HALF // 2
    cumulative = np.cumsum(weights.astype(object) if exact else weights)
    shares = (2 * advance * cumulative + total) // (2 * total)
    return np.diff(shares, prepend=0).astype(np.int64)


def shape(gap: Slots, history: History, profile: Profile) -> tuple[Ints, int]:
    """Weights of the intervals of a gap for `spread`, and the method code.

    `gap`: its intervals in order, without holes. `history`: rows in any order; those not in the 28 days before the
    gap are left out of account.
    """
    if int(gap.length_ms.sum()) <= LINEAR_MS:
        return gap.length_ms.copy(), METHOD_LINEAR
    means, _, method = _means(gap, history, profile)
    return (means if means.any() else gap.length_ms.copy()), method


def estimate_open(gap: Slots, history: History, profile: Profile) -> tuple[Ints, int]:
    """Quantities of intervals after which no reading came yet, and the method code. Never stored as usage.

    At most two hours run on at the rate of the measured row that ends where the gap begins; without one, and for
    longer, the ladder's other rungs say what such intervals usually use.
    """
    if int(gap.length_ms.sum()) <= LINEAR_MS:
        last = np.flatnonzero(history.slots.start_ms + history.slots.length_ms == gap.start_ms[0])
        if len(last):
            quantity, length = int(history.quantity[last[0]]), int(history.slots.length_ms[last[0]])
            return _rounded(gap.length_ms, quantity, length), METHOD_LINEAR
    means, scale, method = _means(gap, history, profile)
    return _rounded(means, 1, scale), method


def _means(gap: Slots, history: History, profile: Profile) -> tuple[Ints, int, int]:
    """Expected usage of each interval, in how many parts of the base unit that is, and the method: the highest rung
    that stands."""
    days, types, good = _good_days(gap, history)
    chosen = np.zeros(len(days), bool)
    enough = True
    for kind in np.unique(gap.day_type):
        like = np.flatnonzero(good & (types == kind))
        enough = enough and len(like) >= LIKE_DAYS
        chosen[like[-LIKE_DAYS:]] = True
    if enough:
        rows = np.isin(history.slots.local_day, days[chosen])
        return *_slot_means(gap, history, rows, by_type=True), METHOD_LIKE_DAYS
    if good.any():
        rows = np.isin(history.slots.local_day, days[good])
        return *_slot_means(gap, history, rows, by_type=False), METHOD_AVERAGE_DAY
    return _profiled(gap, profile), _SCALE, METHOD_PROFILE


def _good_days(gap: Slots, history: History) -> tuple[Ints, Ints, Mask]:
    """Local days of the history by date, their types, and which of them are good."""
    slots = history.slots
    days, first, position = np.unique(slots.local_day, return_index=True, return_inverse=True)
    measured = np.zeros(len(days), np.int64)
    np.add.at(measured, position, slots.length_ms)
    begins = int(gap.local_day[0])
    near = (days < begins) & (days >= begins - HISTORY_DAYS)
    return days, slots.day_type[first], near & (measured == slots.day_length_ms[first])


def _slot_means(gap: Slots, history: History, rows: Mask, *, by_type: bool) -> tuple[Ints, int]:
    """Mean of the rows of each interval's slot (and type of day), and in how many parts of the base unit it is."""
    known, quantity = _keys(history.slots, by_type)[rows], history.quantity[rows]
    keys, position, counts = np.unique(known, return_inverse=True, return_counts=True)
    scale = _SCALE if int(quantity.max()) * len(quantity) < _HALF // _SCALE else 1
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, position, quantity)
    at, known_slot = find(keys, _keys(gap, by_type))
    overall = int(sums.sum()) * scale // len(quantity)
    return np.where(known_slot, (sums * scale // counts)[at], overall), scale


def _keys(slots: Slots, by_type: bool) -> Ints:
    return slots.slot_ms + slots.day_type * 86_400_000 if by_type else slots.slot_ms


def _profiled(gap: Slots, profile: Profile) -> Ints:
    """The class's day, in thousandths of the base unit: hour by hour, or whole for intervals of a day."""
    table = np.array([profile.work, profile.rest], np.int64)
    kind = np.minimum(gap.day_type, 1)
    hourly = table[kind, gap.slot_ms // _HOUR_MS] * profile.per_day // table.sum(axis=1)[kind]
    of_hours = hourly * (gap.length_ms // 1000) * _SCALE // 3600
    return np.where(gap.length_ms > LINEAR_MS, profile.per_day * _SCALE, of_hours)


def _rounded(numbers: Ints, factor: int, divisor: int) -> Ints:
    """`numbers * factor / divisor` as integers whose sums are the rounded sums (halves up)."""
    small = 2 * int(numbers.max()) * len(numbers) * max(factor, 1) < _HALF
    cumulative = np.cumsum(numbers if small else numbers.astype(object))
    return np.diff((2 * factor * cumulative + divisor) // (2 * divisor), prepend=0).astype(np.int64)
