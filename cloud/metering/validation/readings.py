"""Rules about single readings: V1 duplicate, V2 clock, V3 configuration, V4 gap, V5 to V7, V13. Pure numpy int64.

V5 (rollover and backward), V6 (exchange) and V7 (maximum) need the base of the register, which moves only on accepted
readings: the usage engine (`cloud/metering/judging.py`) judges them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cloud.metering.validation.segments import Ints, Mask

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Repeated:
    """Which readings are not the first of their key: `same` with its value (dropped), `other` with another one (V1)."""

    same: Mask
    other: Mask


def duplicate(which: Ints, taken_ms: Ints, values: Ints) -> Repeated:
    """V1: two readings of one register and moment. Same value: nothing new. Other value: a revision, the first stays.

    The columns are sorted by register and time, and in the order of arrival where those are equal.
    """
    again = np.zeros(len(which), np.bool_)
    again[1:] = (which[1:] == which[:-1]) & (taken_ms[1:] == taken_ms[:-1])
    first = np.flatnonzero(~again)[np.cumsum(~again) - 1] if len(which) else np.zeros(0, np.int64)
    other = again & (values != values[first])
    return Repeated(again & ~other, other)


def clock(taken_ms: Ints, received_ms: Ints, installed_ms: Ints, ahead_ms: Ints) -> Mask:
    """V2: taken later than its receipt plus `ahead_ms`, or before the register was installed."""
    mask: Mask = (taken_ms > received_ms + ahead_ms) | (taken_ms < installed_ms)
    return mask


def configuration(
    unit: Ints,
    expected_unit: Ints,
    multiplier_e4: Ints,
    expected_multiplier_e4: Ints,
    interval_s: Ints,
    expected_s: Ints,
) -> Mask:
    """V3: what a device declares, or is seen to do, differs from the register in force.

    Units are numbers of units, equal when the units are. Multipliers in 1/10000. `interval_s`: how often it is read;
    oftener than expected is no fault. 0 in any of them: not known.
    """
    mask: Mask = (
        ((unit > 0) & (unit != expected_unit))
        | ((multiplier_e4 > 0) & (multiplier_e4 != expected_multiplier_e4))
        | ((interval_s > 0) & (interval_s > expected_s))
    )
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


def gap(which: Ints, taken_ms: Ints, interval_ms: Ints, allowed: Ints) -> tuple[Ints, Ints]:
    """V4: expected slots without a reading between two readings of a register, more than `allowed`.

    Slots are multiples of the interval since 1970; `interval_ms` and `allowed` are per reading. Returns the positions
    of the readings before the gaps and how many slots are missing. Sorted by register and time.
    """
    slot = taken_ms // interval_ms
    missing = np.zeros(len(which), np.int64)
    missing[:-1] = np.where(which[1:] == which[:-1], slot[1:] - slot[:-1] - 1, 0)
    at = np.flatnonzero(missing > allowed)
    return at, missing[at]


def maximum(advance: Ints, elapsed_ms: Ints, max_per_hour: Ints) -> Mask:
    """V7: an advance of the register, before the multiplier, beyond `max_per_hour · Δt`; the bound is allowed."""
    hours, rest = np.divmod(elapsed_ms, _HOUR_MS)
    mask: Mask = advance > max_per_hour * hours + max_per_hour * rest // _HOUR_MS
    return mask


def max_energy_per_hour(voltage_v: Ints, max_current_ma: Ints, phases: Ints) -> Ints:
    """Largest advance of an energy register in Wh per hour: U · I_max · phases, rounded up. U: phase to neutral."""
    milli = voltage_v * max_current_ma * phases
    rounded: Ints = -(-milli // 1000)
    return rounded


def max_volume_per_hour(q3_ml_per_h: Ints, q4_ml_per_h: Ints) -> Ints:
    """Largest advance of a volume register in mL per hour: Q4, or 1.25 · Q3 (ISO 4064-1, 4.1.1) where Q4 is 0."""
    by_q3 = -(-q3_ml_per_h * 5 // 4)
    largest: Ints = np.where(q4_ml_per_h > 0, q4_ml_per_h, by_q3)
    return largest


def negative(values: Ints, bidirectional: Mask) -> Mask:
    """V13: a value below 0 of something that counts or flows one way."""
    mask: Mask = (values < 0) & ~bidirectional
    return mask
