"""Putting numbers in order, and looking them up among others that are; pure numpy."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def find(ascending: Ints, wanted: Ints) -> tuple[Ints, Mask]:
    """Where each wanted number is in `ascending`, and whether it is there: only then the place says something."""
    if not len(ascending):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return at, ascending[at] == wanted


def in_order(keys: Ints, *columns: Ints) -> tuple[Ints, ...]:
    """The keys ascending, and the columns beside them. It costs next to nothing where they ascend already."""
    if (keys[1:] >= keys[:-1]).all():
        return keys, *columns
    order = np.argsort(keys, kind="stable")
    return tuple(one[order] for one in (keys, *columns))
