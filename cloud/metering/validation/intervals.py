"""Rules about usage rows: V8 spike, V10 frozen, V11 zero, V12 inactive, V14 to V17; and V4 by day. Pure numpy int64.

Thresholds are columns with one value per register. Estimated rows are never judged: they say what we think, not what
the meter did.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cloud.metering.validation.segments import (
    Days,
    Found,
    Ints,
    Mask,
    Rows,
    above,
    by_day,
    day_maxima,
    day_sums,
    of_days,
)

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


def spike(rows: Rows, day_edges: Ints, tolerance_permille: Ints, floor: Ints) -> Found:
    """V8: per local day `(P1 − P3) / P3 > tolerance`, P1 and P3 its highest and third-highest interval, and P1 > floor.

    found: P1, expected: P3; both in base units per interval. Days with fewer than three real rows are not judged.
    """
    days = by_day(rows, day_edges)
    quantity = np.where(rows.real, rows.quantity, -1)
    highest = day_maxima(quantity, days)
    third = highest
    for _ in range(2):
        quantity = _without_highest(quantity, third, days)
        third = day_maxima(quantity, days)
    tolerance = tolerance_permille[days.which]
    far = above(highest - third, third, tolerance) & (third >= 0) & (highest > floor[days.which])
    return of_days(days, far, day_edges, highest, third)


def _without_highest(quantity: Ints, highest: Ints, days: Days) -> Ints:
    """The same without one of the highest rows of each day."""
    at = np.flatnonzero(quantity == highest[days.group])
    once = np.ones(len(at), np.bool_)
    once[1:] = days.group[at][1:] != days.group[at][:-1]
    rest = quantity.copy()
    rest[at[once]] = -1
    return rest


def frozen(rows: Rows, day_edges: Ints, intervals: Ints, smallest: Ints) -> Found:
    """V10: the same usage in at least `intervals` intervals running, and at least `smallest` in each: no real load does
    that. One finding per local day in which such a run goes on; found: the usage per interval, expected: `intervals`.
    """
    run = run_lengths(rows, rows.quantity)
    stuck = rows.real & (run >= intervals[rows.which]) & (rows.quantity >= np.maximum(smallest[rows.which], 1))
    days = by_day(rows, day_edges)
    repeated = day_maxima(np.where(stuck, rows.quantity, -1), days)
    return of_days(days, repeated >= 0, day_edges, repeated, intervals[days.which])


def still_under_load(rows: Rows, day_edges: Ints, power: Ints, smallest: Ints, intervals: Ints) -> Found:
    """V10: no movement in at least `intervals` intervals running while the power was at least `smallest` in each.

    `power`: smallest power seen in each row (W, or flow in mL/h), 0 where none was read. found: the largest of them in
    the day since the stretch is so long, expected: `smallest`.
    """
    still = (rows.quantity == 0) & (power >= np.maximum(smallest[rows.which], 1))
    run = run_lengths(rows, still.astype(np.int64))
    stuck = rows.real & still & (run >= intervals[rows.which])
    days = by_day(rows, day_edges)
    found = day_maxima(np.where(stuck, power, -1), days)
    return of_days(days, found >= 0, day_edges, found, smallest[days.which])


def run_lengths(rows: Rows, values: Ints) -> Ints:
    """How many real, adjoining rows with the same value end at each row, itself among them."""
    breaks = np.ones(len(values), np.bool_)
    breaks[1:] = (
        (rows.which[1:] != rows.which[:-1])
        | (values[1:] != values[:-1])
        | (rows.start_ms[:-1] + rows.length_ms[:-1] != rows.start_ms[1:])
        | (rows.length_ms[1:] != rows.length_ms[:-1])
        | ~rows.real[1:]
        | ~rows.real[:-1]
    )
    position = np.arange(len(values))
    since = np.maximum.accumulate(np.where(breaks, position, 0)) if len(values) else position
    length: Ints = position - since + 1
    return length


def zero(last_used_ms: Ints, known_until_ms: Ints, occupied: Mask, days: Ints) -> Mask:
    """V11: nothing used for at least `days` days in an occupied unit.

    `last_used_ms`: end of the last row with usage, or when the unit was occupied if that is later.
    `known_until_ms`: end of the last real row, so that silence is not taken for rest.
    """
    mask: Mask = occupied & (known_until_ms - last_used_ms >= days * DAY_MS)
    return mask


def inactive(day_usage: Ints, in_use: Mask, floor: Ints) -> Mask:
    """V12: more than `floor` used in a day in which nobody should: unit vacant, supply cut, meter removed."""
    mask: Mask = ~in_use & (day_usage > floor)
    return mask


def register_sum(total: Ints, parts: Ints, multiplier_e4: Ints, resolution: Ints) -> Mask:
    """V14: `|total − Σ parts| > 2 · multiplier · resolution`: intervals against the advance of the register, or the
    registers of the periods against the total. Totals in base units with multiplier, resolution without."""
    difference = np.abs(total - parts)
    # Rounded up: the difference is an integer, so nothing is lost.
    bound = -(-2 * multiplier_e4 * resolution // 10_000)
    exact = 2 * multiplier_e4 * resolution % 10_000 == 0
    mask: Mask = np.where(exact, difference > bound, difference >= bound)
    return mask


def sibling(real_rows: Ints, real_before: Ints, of_meter: Ints) -> Mask:
    """V15: a channel without any real row in a day, that had some the day before, while another channel of the same
    meter has some. Columns by channel; `of_meter`: position of the meter of each."""
    meters = np.zeros(int(of_meter.max(initial=-1)) + 1, np.int64)
    np.add.at(meters, of_meter, real_rows)
    mask: Mask = (real_rows == 0) & (real_before > 0) & (meters[of_meter] > 0)
    return mask


def prolonged_estimate(last_real_ms: Ints, now_ms: int, days: Ints) -> Mask:
    """V16: more than `days` days since the last usage between two readings."""
    mask: Mask = now_ms - last_real_ms > days * DAY_MS
    return mask


@dataclass(frozen=True, slots=True)
class Leaks:
    """Local days by register: those with a leak, and those where estimates leave open whether there is one."""

    found: Found
    unsure: Found


def leak(rows: Rows, day_edges: Ints, per_hour: Ints) -> Leaks:
    """V17: more than `per_hour` (mL) in every hour of a local day; found: the smallest hour, expected: `per_hour`.

    An hour with an estimated row, or that is not covered, is not known: it neither makes a leak nor ends one. A day
    without any known hour at or below the threshold, but with unknown ones, is `unsure`.
    """
    days = by_day(rows, day_edges)
    hour = (rows.start_ms - day_edges[days.day][days.group]) // HOUR_MS
    key = days.group * 32 + hour
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    first = np.flatnonzero(new)
    if not len(first):
        nothing = of_days(days, np.zeros(0, np.bool_), day_edges, first, first)
        return Leaks(nothing, nothing)
    covered = np.add.reduceat(np.where(rows.real, rows.length_ms, 0), first)
    used = np.add.reduceat(rows.quantity, first)
    known = covered == HOUR_MS
    group = days.group[first]
    hours = np.bincount(group[known], minlength=len(days.first))
    lowest = np.full(len(days.first), np.int64(2**62))
    np.minimum.at(lowest, group[known], used[known])
    bound = per_hour[days.which]
    flowing = lowest > bound
    whole = hours * HOUR_MS == np.diff(day_edges)[days.day]
    return Leaks(
        of_days(days, flowing & whole, day_edges, lowest, bound),
        of_days(days, flowing & ~whole, day_edges, lowest, bound),
    )


def day_usage(rows: Rows, day_edges: Ints) -> tuple[Days, Ints, Ints]:
    """Usage of each register's day and how many ms of it real rows cover."""
    days = by_day(rows, day_edges)
    return days, day_sums(rows.quantity, days), day_sums(np.where(rows.real, rows.length_ms, 0), days)
