"""A slow reading of the rules of usage, one register and one reading at a time, with Python's integers."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Final

from cloud.metering.derivation.judging import (
    ADVANCE,
    BACKWARD,
    CLOCK,
    IGNORED,
    NEGATIVE,
    OPENING,
    RESTART,
    ROLLOVER,
    SPIKE,
)
from cloud.metering.derivation.usage import (
    METHOD_DIFFERENCE,
    METHOD_EXCHANGE,
    METHOD_GAP,
    METHOD_LINEAR,
    METHOD_ROLLOVER,
    TOLERANCE_S,
)

HOUR: Final = 3_600_000
SHAPED: Final = 5
"""What the tests fill gaps with: shares in proportion to time."""


@dataclass(frozen=True, slots=True)
class InForce:
    """One epoch."""

    start: int
    stop: int
    modulus: int = 1_000_000
    max_per_hour: int = 1_000
    multiplier_e4: int = 10_000
    opening: int | None = None
    closing: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """One reading."""

    time: int
    value: int
    forced: bool = False
    ignored: bool = False


Row = tuple[int, int, int, int]


def times(value: int, epoch: InForce) -> int:
    product = Decimal(value) * epoch.multiplier_e4 / 10_000
    return int((product + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


def judge_one(base: Read, reading: Read, epoch: InForce) -> int:
    allowed = Decimal(epoch.max_per_hour) * (reading.time - base.time) / HOUR
    d = reading.value - base.value
    if d < 0:
        wraps = Decimal(base.value) >= Decimal("0.9") * epoch.modulus
        rolls = wraps and 0 <= d + epoch.modulus <= allowed
        return ROLLOVER if rolls else RESTART if reading.forced else BACKWARD
    return SPIKE if d > allowed and not reading.forced else ADVANCE


def possible(reading: Read, epoch: InForce) -> bool:
    return not reading.ignored and 0 <= reading.value < epoch.modulus


def judge_from(base: Read | None, readings: Sequence[Read], epoch: InForce) -> list[int]:
    codes = []
    for reading in readings:
        if reading.ignored:
            codes.append(IGNORED)
        elif not possible(reading, epoch):
            codes.append(NEGATIVE if reading.value < 0 else SPIKE)
        else:
            codes.append(ADVANCE if base is None else judge_one(base, reading, epoch))
            if codes[-1] < BACKWARD:
                base = reading
    return codes


def judge(readings: Sequence[Read], epoch: InForce) -> list[int]:
    """Codes of all readings of one epoch."""
    forced = next((n for n, r in enumerate(readings) if r.forced and possible(r, epoch)), len(readings))
    deciding = [n for n in range(min(OPENING, forced)) if possible(readings[n], epoch)]
    if not deciding:
        return judge_from(None, readings, epoch)

    def support(n: int) -> int:
        later = [readings[m] for m in deciding if m > n]
        return sum(code < BACKWARD for code in judge_from(readings[n], later, epoch))

    start = max(deciding, key=lambda n: (support(n), -n))
    before = []
    for reading in readings[:start]:
        code = judge_from(None, [reading], epoch)[0]
        before.append(code if code != ADVANCE else SPIKE if reading.value > readings[start].value else BACKWARD)
    return [*before, ADVANCE, *judge_from(readings[start], readings[start + 1 :], epoch)]


@dataclass(slots=True)
class _Accepted:
    reading: Read
    code: int
    epoch: InForce
    made: bool
    counted: int = 0
    joined: bool = False
    grid: int = 0


def accepted(readings: Sequence[Read], epochs: Sequence[InForce]) -> tuple[list[_Accepted], list[int]]:
    """Accepted readings, those at exchanges among them, and the codes of the readings given."""
    codes: dict[int, int] = {}
    found: list[_Accepted] = []
    for epoch in epochs:
        mine = [r for r in readings if epoch.start <= r.time < epoch.stop]
        opening = [] if epoch.opening is None else [Read(epoch.start, epoch.opening, forced=True)]
        closing = [] if epoch.closing is None else [Read(epoch.stop, epoch.closing, forced=True)]
        everything = [*opening, *mine, *closing]
        for n, (reading, code) in enumerate(zip(everything, judge(everything, epoch), strict=True)):
            made = n < len(opening) or n >= len(opening) + len(mine)
            if not made:
                codes[reading.time] = code
            if code < BACKWARD:
                found.append(_Accepted(reading, code, epoch, made))
    return found, [codes.get(r.time, IGNORED if r.ignored else CLOCK) for r in readings]


def link(found: list[_Accepted], grid: Sequence[int]) -> None:
    """How each came from the one before, and which instant it is the boundary of."""
    for before, after in pairwise(found):
        after.joined = before.epoch is after.epoch or (
            before.made and after.made and before.reading.time == after.reading.time
        )
        if before.epoch is after.epoch and after.code != RESTART:
            epoch = after.epoch
            after.counted = times(after.reading.value, epoch) - times(before.reading.value, epoch)
            if after.code == ROLLOVER:
                after.counted += ceil(Fraction(epoch.modulus * epoch.multiplier_e4, 10_000))
    taken = set()
    for one in found:
        instant = grid[bisect_right(grid, one.reading.time) - 1]
        one.grid = one.reading.time
        if not one.made and one.reading.time - instant < TOLERANCE_S * 1000 and instant not in taken:
            taken.add(instant)
            one.grid = instant
            for other in found:
                if other.made and instant <= other.reading.time <= one.reading.time:
                    other.grid = instant - 1


def share(advance: int, part: int, whole: int) -> int:
    return (2 * advance * part + whole) // (2 * whole)


def position_between(before: _Accepted, after: _Accepted, instant: int) -> tuple[int, int]:
    """How far the count is at an instant between two readings, and by which method."""
    part, whole = instant - before.grid, after.grid - before.grid
    if whole > 2 * HOUR:
        return share(after.counted, part, whole), SHAPED
    advance = after.reading.value - before.reading.value + (after.code == ROLLOVER) * after.epoch.modulus
    ran = 0 if after.code == RESTART else advance * part // whole
    value = before.reading.value
    return times(value + ran, after.epoch) - times(value, after.epoch), METHOD_LINEAR


def reference(readings: Sequence[Read], epochs: Sequence[InForce], grid: Sequence[int]) -> tuple[list[Row], list[int]]:
    """Rows (start, length, quantity, method) and codes. `grid`: all instants that matter, in order."""
    found, codes = accepted(readings, epochs)
    link(found, grid)
    rows: list[Row] = []
    # instant, position, method, rollovers, exchanges
    last: tuple[int, int, int, int, int] | None = None
    position = rollovers = exchanges = 0
    for n, one in enumerate(found):
        rollovers += one.code == ROLLOVER
        if one.joined:
            exchanges += one.epoch is not found[n - 1].epoch
            begin = found[n - 1].grid
            if one.grid - begin > 100 * 24 * HOUR:
                begin = one.grid - 1
        else:
            last, begin = None, one.grid - 1
        for instant in grid[bisect_right(grid, begin) : bisect_right(grid, one.grid)]:
            told = instant == one.grid
            rise, method = (one.counted, 0) if told else position_between(found[n - 1], one, instant)
            here = (instant, position + rise, method, rollovers, exchanges)
            if last is not None:
                rows.append(row_between(last, here, grid))
            last = here
        position += one.counted
    return rows, codes


def row_between(last: tuple[int, int, int, int, int], here: tuple[int, int, int, int, int], grid: Sequence[int]) -> Row:
    if grid[bisect_right(grid, last[0])] != here[0]:
        method = METHOD_GAP
    elif max(last[2], here[2]):
        method = max(last[2], here[2])
    elif here[4] > last[4]:
        method = METHOD_EXCHANGE
    else:
        method = METHOD_ROLLOVER if here[3] > last[3] else METHOD_DIFFERENCE
    return last[0], here[0] - last[0], here[1] - last[1], method
