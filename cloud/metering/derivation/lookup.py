"""Looking numbers up among others that are in order; pure numpy."""

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
