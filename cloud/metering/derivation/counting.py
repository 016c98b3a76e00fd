"""Counting the rows that a derivation adds; no trigger does. What it changes and removes is counted by triggers."""

from typing import LiteralString

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import Conn
from cloud.metering.derivation.reads import Registers
from cloud.metering.derivation.usage import Ints, Rows, shaped
from cloud.metering.records import MEDIA
from cloud.metering.rollups.counting import Sums, by_day, by_hour, by_month, over_registers, within_hours

_ADD_HOURS: LiteralString = """
    SELECT gm.add_hours(%(projects)s, %(media)s, %(channels)s, %(starts)s, %(sums)s, %(top_sums)s)
"""
_ADD_ROWS: LiteralString = """
    SELECT gm.add_rows(%(meters)s, %(channels)s, %(starts)s, %(projects)s, %(lengths)s, %(quantities)s, %(methods)s)
"""
_ADD_DAYS: LiteralString = """
    SELECT gm.add_days(%(step)s, %(meters)s, %(channels)s, %(days)s, %(projects)s, %(quantities)s, %(counts)s,
                       %(covered)s, %(estimated)s)
"""


async def count(conn: Conn, registers: Registers, rows: Rows, which: Ints) -> None:
    """Adds some of the rows, by register and start, to the sums of hours, days and months.

    Those that a local hour holds whole are added up here; the others are few, and the database says what they reach.
    """
    whole = within_hours(
        registers.zone[rows.series[which]], rows.start_ms[which], rows.length_ms[which], registers.zones
    )
    await _add_whole(conn, registers, rows, which[whole])
    await _add_wide(conn, registers, rows, which[~whole])


async def _add_whole(conn: Conn, registers: Registers, rows: Rows, which: Ints) -> None:
    if not len(which):
        return
    series, seconds = rows.series[which], rows.length_ms[which] // 1000
    estimated = np.where(shaped(rows.method[which]), seconds, 0)
    each = Sums(
        series, registers.zone[series], rows.start_ms[which], rows.quantity[which], np.ones(len(which), np.int64),
        seconds, estimated,
    )  # fmt: skip
    hours = by_hour(each, registers.zones)
    await _add_hours(conn, registers, hours)
    days = by_day(hours, registers.zones)
    await _add_days(conn, registers, "day", days)
    await _add_days(conn, registers, "month", by_month(days))


async def _add_wide(conn: Conn, registers: Registers, rows: Rows, which: Ints) -> None:
    if not len(which):
        return
    series = rows.series[which]
    query = {
        **registers.keys(series),
        "starts": TimeColumn(rows.start_ms[which]),
        "projects": Int8Column(registers.project[series]),
        "lengths": Int8Column(rows.length_ms[which] // 1000),
        "quantities": Int8Column(rows.quantity[which]),
        "methods": Int2Column(rows.method[which]),
    }
    await conn.execute(_ADD_ROWS, query)


async def _add_hours(conn: Conn, registers: Registers, hours: Sums) -> None:
    names = np.stack([registers.project, registers.medium, registers.channel], axis=1)
    kinds, kind = np.unique(names, axis=0, return_inverse=True)
    which, starts, sums, top_sums = over_registers(hours, kind.reshape(-1), registers.top)
    query = {
        "projects": Int8Column(kinds[which, 0]),
        "media": [MEDIA[n] for n in kinds[which, 1].tolist()],
        "channels": Int2Column(kinds[which, 2]),
        "starts": TimeColumn(starts),
        "sums": Int8Column(sums),
        "top_sums": Int8Column(top_sums),
    }
    await conn.execute(_ADD_HOURS, query)


async def _add_days(conn: Conn, registers: Registers, step: str, sums: Sums) -> None:
    query = {
        "step": step,
        **registers.keys(sums.register),
        "days": Int8Column(sums.begin),
        "projects": Int8Column(registers.project[sums.register]),
        "quantities": Int8Column(sums.quantity),
        "counts": Int8Column(sums.rows),
        "covered": Int8Column(sums.covered_s),
        "estimated": Int8Column(sums.estimated_s),
    }
    await conn.execute(_ADD_DAYS, query)
