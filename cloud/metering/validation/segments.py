"""Columns of many registers laid end to end, grouped by local day, and exact comparison of ratios. Pure numpy int64."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

METHOD_LONG: Final = 2
METHOD_ESTIMATED: Final = frozenset({3, 4, 5, 6})
"""Methods of `store.usage` whose rows are no difference of two readings at their ends."""

_WORD: Final = 20


@dataclass(frozen=True, slots=True)
class Rows:
    """Usage rows of many registers: sorted by register, then start. Times in ms since 1970, quantities in base units.

    `which` says by position to which register a row belongs. `real`: both ends of the row are readings.
    """

    which: Ints
    start_ms: Ints
    length_ms: Ints
    quantity: Ints
    real: Mask

    @staticmethod
    def of(which: Ints, start_ms: Ints, length_ms: Ints, quantity: Ints, method: Ints) -> "Rows":
        """From the columns of `store.usage`."""
        real = (method < METHOD_LONG) | (method > max(METHOD_ESTIMATED))
        return Rows(which, start_ms, length_ms, quantity, real)


@dataclass(frozen=True, slots=True)
class Days:
    """Rows grouped by register and local day; a group is one register's day.

    `first`: position of the first row of each group. `which`, `day`: its register and the position of its day.
    `group`: the group of each row.
    """

    first: Ints
    which: Ints
    day: Ints
    group: Ints


@dataclass(frozen=True, slots=True)
class Found:
    """Findings of one rule as columns: register, from, until (ms), what was found and the bound it breaks."""

    which: Ints
    from_ms: Ints
    until_ms: Ints
    found: Ints
    expected: Ints

    def __len__(self) -> int:
        return len(self.which)

    def where(self, chosen: Mask) -> "Found":
        """Some of the findings."""
        columns = (self.which, self.from_ms, self.until_ms, self.found, self.expected)
        return Found(*(column[chosen] for column in columns))


def by_day(rows: Rows, day_edges: Ints) -> Days:
    """Groups rows by register and local day. `day_edges`: instants at which consecutive local days begin, and the end.

    A row belongs to the day in which it starts; rows outside the edges raise ValueError.
    """
    day = np.searchsorted(day_edges, rows.start_ms, "right") - 1
    if len(day) and (day.min() < 0 or day.max() >= len(day_edges) - 1):
        raise ValueError("rows outside the days")
    key = rows.which * len(day_edges) + day
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    first = np.flatnonzero(new)
    return Days(first, rows.which[first], day[first], np.cumsum(new) - 1)


def day_sums(values: Ints, days: Days) -> Ints:
    """Sum of `values` over each register's day."""
    return _reduced(np.add, values, days.first)


def _reduced(ufunc: np.ufunc, values: Ints, first: Ints) -> Ints:
    if not len(first):
        return np.zeros(0, np.int64)
    reduced: Ints = ufunc.reduceat(values.astype(np.int64, copy=False), first)
    return reduced


def day_maxima(values: Ints, days: Days) -> Ints:
    """Largest of `values` in each register's day."""
    return _reduced(np.maximum, values, days.first)


def of_days(days: Days, chosen: Mask, day_edges: Ints, found: Ints, expected: Ints) -> Found:
    """Findings about whole local days: the chosen groups."""
    at = days.day[chosen]
    return Found(days.which[chosen], day_edges[at], day_edges[at + 1], found[chosen], expected[chosen])


def above(left: Ints, right: Ints, permille: Ints) -> Mask:
    """Whether `left / right > permille / 1000`, cross-multiplied: `1000 · left > permille · right`.

    Exact for |left|, |right| < 2^62 and |permille| <= 10^6: products are compared in two words of 64 and 20 bits.
    """
    high_left, low_left = _words(left, np.full(len(left), 1000, np.int64))
    high_right, low_right = _words(right, permille)
    mask: Mask = (high_left > high_right) | ((high_left == high_right) & (low_left > low_right))
    return mask


def below(left: Ints, right: Ints, permille: Ints) -> Mask:
    """Whether `1000 · left < permille · right`; bounds as `above`."""
    return above(-left, -right, permille)


def _words(values: Ints, factor: Ints) -> tuple[Ints, Ints]:
    """`values · factor` as `high · 2^20 + low` with 0 <= low < 2^20."""
    mask = (1 << _WORD) - 1
    low = (values & mask) * factor
    return (values >> _WORD) * factor + (low >> _WORD), low & mask
