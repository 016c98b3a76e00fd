"""V3 configuration: what is read of a device against what its meter is said to be. Pure numpy int64.

The other rules about single readings need the base of the register, which moves only on accepted readings, or what is
stored already. They are where that is known: V1 in `storing.py`, V2, V5, V6, V7 and V13 in `judging.py`, V4 in
`usage.py`, the maximum of V7 from a meter's rating in `ratings.py`.
"""

import numpy as np

from cloud.metering.validation.segments import Ints, Mask


def coarse(interval_s: Ints, expected_s: Ints) -> Mask:
    """V3: read more seldom than expected; oftener is no fault. 0: not known how often."""
    mask: Mask = (interval_s > 0) & (interval_s > expected_s)
    return mask


def foreign(which: Ints, unit: Ints, expected_unit: Ints) -> Mask:
    """V3: registers of another unit than their meter's, where no register of that unit is read.

    `which`: meter of each register that was read; `unit`: number of its unit; `expected_unit`: by meter.
    """
    own = np.zeros(len(expected_unit), np.bool_)
    right = unit == expected_unit[which]
    own[which[right]] = True
    mask: Mask = ~right & ~own[which]
    return mask


def observed_interval_s(which: Ints, taken_ms: Ints, registers: int) -> Ints:
    """How often each register is read: the lower median of the distances of its readings in whole seconds, 0 with
    fewer than three readings. Sorted by register and time."""
    same = which[1:] == which[:-1]
    owner = which[1:][same]
    # A reading is some seconds late or early: half a minute up or down is still the same interval.
    distance = (np.diff(taken_ms)[same] + 30_000) // 60_000 * 60
    order = np.lexsort((distance, owner))
    edges = np.searchsorted(owner[order], np.arange(registers + 1))
    count = np.diff(edges)
    seen = np.zeros(registers, np.int64)
    enough = count >= 2
    seen[enough] = distance[order][(edges[:-1] + (count - 1) // 2)[enough]]
    return seen
