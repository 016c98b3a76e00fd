"""Usage engine: from the readings of one register to rows of usage; pure numpy int64, no clock.

Rules, in this order:

1. A value below 0 or not below the modulus is no reading of the register and is refused. The first base is decided by
   the first OPENING readings: it is the one from which most of them are accepted, the earliest of equals; those before
   it are refused. (A bogus first reading would otherwise refuse the real ones until the register can have reached
   them, and then bill the way.)
2. A reading is *accepted* when the register can have advanced to it from the base:
   `0 <= d <= max_per_hour * dt`, or, with `d < 0`, as a rollover when `base >= 0.9 * modulus` and
   `0 <= d + modulus <= max_per_hour * dt`. An accepted reading becomes the base. Every other one is refused as
   `backward` (d < 0) or `spike`; the base stays, so that a meter that reads 0 once makes no mountain.
3. The *boundary reading* of a grid instant (every full hour of local time) is the first accepted reading at or after
   it within TOLERANCE_S. Without one the instant has no boundary.
4. Usage is the advance between consecutive boundary readings. An hour apart they give the row of that hour, further
   apart one row over the whole gap: the advance is known, its shape is not.
5. The multiplier applies to the register, not to the row: a row is the difference of two rounded products, so that
   rows add up to the rounded advance. Halves are rounded up, which (unlike half-even) does not depend on where the
   register stands, so that a rollover changes nothing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int8]
Mask = NDArray[np.bool_]

TOLERANCE_S: Final = 300
HOUR_MS: Final = 3_600_000

ADVANCE, ROLLOVER, BACKWARD, SPIKE = 0, 1, 2, 3
"""What a reading is, seen from the base. The last two are refused."""

METHOD_DIFFERENCE, METHOD_ROLLOVER, METHOD_GAP = 0, 1, 2

OPENING: Final = 12
"""So many readings decide the first base."""

_MULTIPLIER_UNIT: Final = 10_000
_FIRST_LOOK: Final = 32


@dataclass(frozen=True, slots=True)
class Register:
    """What bounds a register. `modulus` and `max_per_hour` in its base unit; the multiplier in 1/10000."""

    modulus: int
    max_per_hour: int
    multiplier_e4: int = _MULTIPLIER_UNIT

    def __post_init__(self) -> None:
        if not (0 < self.modulus <= 10**15 and 0 < self.max_per_hour <= 10**12 and 0 < self.multiplier_e4 <= 10**12):
            raise ValueError(f"{self} is outside what 64 bits carry")


@dataclass(frozen=True, slots=True)
class Derived:
    """Rows of usage by start, and what was decided about each reading."""

    start_ms: Ints
    length_ms: Ints
    quantity: Ints
    """Multiplier applied."""
    quality: Ints
    """Flags of both boundary readings."""
    method: Ints
    codes: Codes
    """One of ADVANCE, ROLLOVER, BACKWARD, SPIKE per reading, in the order of the input."""


def derive(
    times_ms: Ints,
    values: Ints,
    qualities: Ints,
    register: Register,
    grid_offset_ms: int = 0,
    *,
    opening: bool = True,
) -> Derived:
    """Rows of usage of one register.

    `times_ms`: strictly increasing, milliseconds since 1970 UTC. `values`: register readings in the base unit.
    `qualities`: flags of the contract. `grid_offset_ms`: how far local time is from full UTC hours, as for +05:30.
    `opening`: whether these are the first readings of the register; otherwise the first one is a known base.
    Raises OverflowError when a product with the multiplier leaves 64 bits.
    """
    codes = judge_all(times_ms, values, register, opening=opening)
    accepted = np.flatnonzero(codes < BACKWARD)
    boundary, instants = _boundaries(times_ms[accepted], grid_offset_ms)
    rolled = np.cumsum(codes[accepted] == ROLLOVER)[boundary]
    at = accepted[boundary]
    before, rollovers = values[at][:-1], np.diff(rolled)
    advance = np.diff(values[at]) + rollovers * register.modulus
    length = np.diff(instants)
    flags = qualities[at]
    method = np.where(rollovers > 0, METHOD_ROLLOVER, np.where(length > HOUR_MS, METHOD_GAP, METHOD_DIFFERENCE)).astype(
        np.int64
    )
    return Derived(
        start_ms=instants[:-1],
        length_ms=length,
        quantity=_product(before + advance, register) - _product(before, register),
        quality=flags[:-1] | flags[1:],
        method=method,
        codes=codes,
    )


def judge_all(times_ms: Ints, values: Ints, register: Register, *, opening: bool = True) -> Codes:
    """The code of every reading (rules 1 and 2). Follows the base only where a reading is refused; the rest is
    vectorised."""
    codes = np.where(values < 0, BACKWARD, SPIKE).astype(np.int8)
    possible = np.flatnonzero((values >= 0) & (values < register.modulus))
    t, v = times_ms[possible], values[possible]
    found = np.zeros(len(t), np.int8)
    found[1:] = _judge(t[:-1], v[:-1], t[1:], v[1:], register)
    first = int(np.searchsorted(possible, OPENING)) if opening else 0
    base = 0
    if (found[:first] >= BACKWARD).any():
        base = _first_base(t[:first], v[:first], register)
        found[:base] = np.where(v[:base] > v[base], SPIKE, BACKWARD)
        found[base] = ADVANCE
    refused = np.flatnonzero(found >= BACKWARD)
    while (nth := int(np.searchsorted(refused, base, "right"))) < len(refused):
        base = _next_base(int(refused[nth]) - 1, t, v, register, found)
    codes[possible] = found
    return codes


def boundary_mask(times_ms: Ints, grid_offset_ms: int = 0) -> Mask:
    """Which of these times could be boundary readings: within the tolerance after a grid instant."""
    mask: Mask = (times_ms + grid_offset_ms) % HOUR_MS < TOLERANCE_S * 1000
    return mask


def floor_to_grid(time_ms: int, grid_offset_ms: int = 0) -> int:
    """The grid instant at or before `time_ms`."""
    return time_ms - (time_ms + grid_offset_ms) % HOUR_MS


def _first_base(t: Ints, v: Ints, register: Register) -> int:
    """Position of the reading from which most of the others are accepted."""
    return int(np.argmax([_accepted_from(position, t, v, register) for position in range(len(t))]))


def _accepted_from(base: int, t: Ints, v: Ints, register: Register) -> int:
    """How many readings after `base` are accepted."""
    accepted = 0
    while len(good := np.flatnonzero(_judge(t[base], v[base], t[base + 1 :], v[base + 1 :], register) < BACKWARD)):
        base += 1 + int(good[0])
        accepted += 1
    return accepted


def _next_base(base: int, t: Ints, v: Ints, register: Register, found: Codes) -> int:
    """Refuses readings after `base` until one is accepted; returns its position (the end when there is none)."""
    start, width = base + 1, _FIRST_LOOK
    while start < len(t):
        stop = min(start + width, len(t))
        codes = _judge(t[base], v[base], t[start:stop], v[start:stop], register)
        found[start:stop] = codes
        good = np.flatnonzero(codes < BACKWARD)
        if len(good):
            accepted = start + int(good[0])
            found[accepted + 1 : stop] = _judge(
                t[accepted : stop - 1], v[accepted : stop - 1], t[accepted + 1 : stop], v[accepted + 1 : stop], register
            )
            return accepted
        start, width = stop, width * 2
    return len(t)


def _judge(base_t: Ints | np.int64, base_v: Ints | np.int64, t: Ints, v: Ints, register: Register) -> Codes:
    hours, rest = np.divmod(t - base_t, HOUR_MS)
    allowed = register.max_per_hour * hours + register.max_per_hour * rest // HOUR_MS
    d = v - base_v
    wrapped = d + register.modulus
    rollover = (10 * base_v >= 9 * register.modulus) & (wrapped >= 0) & (wrapped <= allowed)
    forward = np.where(d <= allowed, ADVANCE, SPIKE)
    codes: Codes = np.where(d >= 0, forward, np.where(rollover, ROLLOVER, BACKWARD)).astype(np.int8)
    return codes


def _boundaries(times_ms: Ints, grid_offset_ms: int) -> tuple[Ints, Ints]:
    """Positions of the boundary readings and their grid instants."""
    near = np.flatnonzero(boundary_mask(times_ms, grid_offset_ms))
    instants = times_ms[near] - (times_ms[near] + grid_offset_ms) % HOUR_MS
    first = np.ones(len(near), np.bool_)
    first[1:] = instants[1:] != instants[:-1]
    return near[first], instants[first]


def _product(values: Ints, register: Register) -> Ints:
    """values × multiplier, halves up. Split at 10000, so that only a result beyond 64 bits overflows."""
    multiplier = register.multiplier_e4
    largest = int(np.abs(values).max(initial=0))
    if (largest // _MULTIPLIER_UNIT + 1) * multiplier >= 2**62:
        raise OverflowError(f"{largest} times {multiplier}/10000 is beyond 64 bits")
    whole, rest = np.divmod(values, _MULTIPLIER_UNIT)
    product: Ints = whole * multiplier + (rest * multiplier + _MULTIPLIER_UNIT // 2) // _MULTIPLIER_UNIT
    return product
