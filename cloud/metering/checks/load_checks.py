"""V10, second half: a register that stands still while the meter itself tells that power (or water) flows."""

from collections.abc import Sequence
from typing import Final, LiteralString

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, from_wire_time
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.metering.derivation.judging import KEY_SHIFT
from cloud.metering.records import Medium
from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Found, Ints, Rows
from cloud.metering.validation.subjects import Subject, column, weighed
from gateway.contract.quantities import BY_CODE, Quantity

LOAD_CHANNEL: Final[dict[Medium, Quantity]] = {
    "electricity": BY_CODE["power_active_total"],
    "water": BY_CODE["flow"],
    "heat": BY_CODE["power_heat"],
}
"""What tells that the billed register must move: its unit is that of the register for each hour."""
LOAD_NUMBERS: Final = frozenset(quantity.number for quantity in LOAD_CHANNEL.values())

_LOADS: LiteralString = """
    SELECT w.nth - 1, r.taken_at, r.value
    FROM unnest(%(meters)s, %(channels)s, %(from)s, %(until)s)
         WITH ORDINALITY AS w (meter_id, channel, from_at, until_at, nth)
    JOIN store.reading r ON r.meter_id = w.meter_id AND r.channel = w.channel
     AND r.taken_at >= w.from_at AND r.taken_at < w.until_at
"""


async def still_under_load(conn: Conn, subjects: Sequence[Subject], rows: Rows, day_edges: Ints) -> Found:
    """V10 over the rows of many registers; found: power or flow, expected: the least at which each interval must show.

    Only where a register stood still for as many intervals as count is its load read at all.
    """
    repeats = column(subjects, lambda one: one.thresholds.frozen_intervals)
    still = rows.real & (rows.quantity == 0) & weighed(subjects, "frozen")[rows.which]
    run = intervals.run_lengths(rows, still.astype(np.int64))
    ends = np.ones(len(run), np.bool_)
    ends[:-1] = run[1:] == 1
    last = np.flatnonzero(still & ends & (run >= repeats[rows.which]))
    first = last - run[last] + 1
    power = await _least_power(conn, subjects, rows, first, last)
    return intervals.still_under_load(rows, day_edges, power, column(subjects, _smallest), repeats)


def _smallest(subject: Subject) -> int:
    """The power at which the register advances by a step in every interval, and at least the threshold."""
    step_e4 = subject.resolution * subject.multiplier_e4
    return max(subject.thresholds.frozen_load, -(-step_e4 * 3600 // (subject.interval_s * 10_000)))


async def _least_power(conn: Conn, subjects: Sequence[Subject], rows: Rows, first: Ints, last: Ints) -> Ints:
    """The smallest load read in each row of the stretches [first, last], multiplier applied; 0 without a reading."""
    power = np.zeros(len(rows.which), np.int64)
    if not len(first):
        return power
    which = rows.which[first]
    query = {
        "meters": Int8Column(column(subjects, lambda one: one.meter_id)[which]),
        "channels": Int2Column(column(subjects, lambda one: LOAD_CHANNEL[one.medium].number)[which]),
        "from": TimeColumn(rows.start_ms[first]),
        "until": TimeColumn(rows.start_ms[last] + rows.length_ms[last]),
    }
    nth, taken, value = await columns_of(conn, _LOADS, query, ("int8", "timestamptz", "int8"))
    if not len(nth):
        return power
    keys = (rows.which << KEY_SHIFT) + rows.start_ms
    at = np.searchsorted(keys, (which[nth] << KEY_SHIFT) + from_wire_time(taken), "right") - 1
    least = np.full(len(power), np.int64(2**62))
    np.minimum.at(least, at, value)
    seen = np.flatnonzero(least < 2**62)
    multiplier = column(subjects, lambda one: one.multiplier_e4)[rows.which[seen]]
    power[seen] = np.maximum(least[seen], 0) * multiplier // 10_000
    return power
